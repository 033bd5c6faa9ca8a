"""A run that was killed ends, once continued, with the numbers of one that was not."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from snnexp import checkpoints, experiment, folders, session, stopwatch
from snnexp.classifier import Classifier
from snnexp.errors import UserError
from tests.conftest import TINY

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 6
OVERRIDES = [
    *TINY,
    "dataset.sizes={train: 400, val: 50, test: 50}",
    f"trainer.max_epochs={EPOCHS}",
    "encoder=poisson",  # draws, so that the randomness of each epoch is put to the test
    "optimizer.lr=1e-2",
]


def numbers(folder: Path) -> dict[str, float]:
    """What must agree: every metric of the summary and of every epoch that is not a time."""
    summary = json.loads((folder / "summary.json").read_text())
    kept = {k: v for k, v in summary.items() if k.startswith(("test/", "val/", "train/", "epoch/"))}
    with (folder / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            kept |= {f"{row['epoch']}:{name}": value for name, value in row.items()}
    return {name: value for name, value in kept.items() if "samples_per_second" not in name}


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def epochs_in(folder: Path) -> int:
    table = folder / "metrics.csv"
    return len(table.read_text().splitlines()) - 1 if table.exists() else 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, float]:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = start(*OVERRIDES, f"hydra.run.dir={folder}")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return numbers(folder)


@pytest.mark.parametrize("attempt", range(2))
def test_killed_runs_end_with_the_same_numbers(attempt, uninterrupted, tmp_path):
    folder, moment = tmp_path / "run", random.Random(attempt)
    process = start(*OVERRIDES, f"hydra.run.dir={folder}")
    for _ in range(2):
        target = epochs_in(folder) + moment.randint(1, 2)
        while epochs_in(folder) < target and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moment.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (folder / "summary.json").exists():
            break
        process = start(f"resume={folder}")
    output, _ = process.communicate(timeout=120)
    assert (folder / "summary.json").exists(), output
    assert numbers(folder) == uninterrupted


def test_a_checkpoint_reproduces_the_test_metrics_in_a_new_process(train, tmp_path):
    result = train()
    checkpoint = torch.load(checkpoints.path_of(result.folder, "best"), weights_only=True)
    assert checkpoint["state_dict"]
    command = [sys.executable, "-m", "snnexp.evaluate", f"run={result.folder}"]
    subprocess.run(
        command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120
    )
    (evaluation,) = (result.folder / "evaluations").glob("*.json")
    measured = json.loads(evaluation.read_text())
    expected = {k: v for k, v in result.metrics.items() if k.startswith("test/")}
    assert expected == {k: v for k, v in measured.items() if k.startswith("test/")}


def test_a_run_stopped_between_epochs_continues_in_process(train, tmp_path):
    whole = train("trainer.max_epochs=3", folder="whole")
    part = train("trainer.max_epochs=3", folder="part")
    for name in ("summary.json",):
        (part.folder / name).unlink()
    again = session.resume(part.folder)
    for name, value in whole.metrics.items():
        if name.startswith(("test/", "val/")):
            assert again.metrics[name] == value
    assert folders.saved_config(part.folder) == folders.saved_config(whole.folder)


def test_a_damaged_summary_is_made_again_from_the_checkpoints(train):
    whole = train("trainer.max_epochs=2")
    (whole.folder / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"delete this file alone.*resume="):
        folders.summary(whole.folder)
    (whole.folder / "summary.json").unlink()
    again = session.resume(whole.folder).metrics
    for name, value in whole.metrics.items():
        if name.startswith(("val/", "test/", "epoch/")):
            assert again[name] == value


@pytest.mark.parametrize(
    "override",
    [
        *("scheduler=plateau", "scheduler=step", "scheduler=one_cycle", "scheduler=cosine"),
        "scheduler.monitor=val/loss",  # which a cosine does not watch
    ],
)
def test_every_schedule_goes_on_where_it_was(override, train, monkeypatch):
    """A plateau that never improves lowers the rate each epoch, after the checkpoint is saved."""
    overrides = [override, "trainer.max_epochs=5", "optimizer.lr=1e-2"]
    if override == "scheduler=plateau":
        overrides += [f"scheduler.schedule.{name}" for name in ("patience=0", "mode=min")]
    whole = train(*overrides, folder="whole")
    stop_before_epoch(3, monkeypatch)
    with pytest.raises(ZeroDivisionError):
        train(*overrides, folder="part")
    monkeypatch.undo()
    again = session.resume(whole.folder.parent / "part")
    assert again.metrics["train/lr"] == whole.metrics["train/lr"]
    assert numbers(again.folder) == numbers(whole.folder)


@pytest.mark.parametrize("way", ["moved", "copied"])
def test_the_best_epoch_stays_the_best_in_another_folder(way, train, monkeypatch, tmp_path):
    """By a metric that never changes the first epoch is the best one."""
    overrides = ["best.metric=val/footprint_bytes", "trainer.max_epochs=4"]
    whole = train(*overrides, folder="whole")
    assert whole.metrics["epoch/best"] == 1
    stop_before_epoch(2, monkeypatch)
    with pytest.raises(ZeroDivisionError):
        train(*overrides, folder="part")
    monkeypatch.undo()
    shutil.copytree(tmp_path / "part", tmp_path / "there")
    if way == "moved":
        shutil.rmtree(tmp_path / "part")
    left = {path: path.read_bytes() for path in tmp_path.glob("part/**/*") if path.is_file()}
    again = session.resume(tmp_path / "there")
    assert numbers(again.folder) == numbers(whole.folder)
    assert left == {p: p.read_bytes() for p in tmp_path.glob("part/**/*") if p.is_file()}


def test_a_run_that_had_stopped_early_stays_stopped(train):
    overrides = ["callback=[early_stopping]", "callback.early_stopping.patience=1"]
    overrides += ["callback.early_stopping.min_delta=9", "trainer.max_epochs=6"]
    whole = train(*overrides)
    before = numbers(whole.folder)
    assert whole.metrics["epoch/last"] == 2
    (whole.folder / "summary.json").unlink()
    session.resume(whole.folder)
    assert numbers(whole.folder) == before


def test_dropout_goes_on_where_it_was(train, monkeypatch):
    """A loader is begun before a continued epoch's start, and behind any other one's."""
    overrides = ["+model.dropout=0.5", "model.hidden_sizes=[6, 6]", "model/init=kaiming"]
    overrides += ["model.neuron.threshold=0.1", "trainer.max_epochs=4"]
    whole = train(*overrides, folder="whole")
    assert whole.metrics["val/rate_hz/hidden2"] > 0
    stop_before_epoch(2, monkeypatch)
    with pytest.raises(ZeroDivisionError):
        train(*overrides, folder="part")
    monkeypatch.undo()
    assert numbers(session.resume(whole.folder.parent / "part").folder) == numbers(whole.folder)


def stop_before_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Classifier.on_train_epoch_start

    def stop(self):
        if self.current_epoch == epoch:
            raise ZeroDivisionError
        start(self)

    monkeypatch.setattr(Classifier, "on_train_epoch_start", stop)


@pytest.mark.parametrize(
    ("knows", "train_seconds", "total_seconds"), [(1, 400, 420), (0, 200, 210)]
)
def test_seconds_are_those_of_all_processes_of_a_run(
    knows, train_seconds, total_seconds, train, monkeypatch, tmp_path
):
    """By a clock on which each process takes 10 s to build, and 100 s an epoch.

    Of four epochs the first process ends two, and loses 50 s in the third. Of a checkpoint that
    holds no seconds only those of the second process are known.
    """
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(stopwatch, "time", clock)
    build, begin = experiment.build, Classifier.on_train_epoch_start

    def slow_build(*arguments):
        clock.now += 10
        return build(*arguments)

    def slow_epoch(self):
        clock.now += 100
        begin(self)

    monkeypatch.setattr(experiment, "build", slow_build)
    monkeypatch.setattr(Classifier, "on_train_epoch_start", slow_epoch)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        stop_before_epoch(2, patched)
        train("trainer.max_epochs=4")
    clock.now += 50
    if not knows:
        last = checkpoints.path_of(tmp_path / "run", "last")
        older = checkpoints.load(last)
        del older["callbacks"]["Stopwatch"]
        torch.save(older, last)
    metrics = session.resume(tmp_path / "run").metrics
    assert (metrics["seconds/train"], metrics["seconds/total"]) == (train_seconds, total_seconds)
