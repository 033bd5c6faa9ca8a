"""Several processes that train one model: as one process with the batches put together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import TINY

ROOT = Path(__file__).resolve().parents[1]
SIZES = ("dataset.sizes={train: 40, val: 11, test: 10}",)


def train_together(folder, *settings):
    """Train in two processes of half the batch each; what they print, and the summary."""
    together = ("trainer=ddp", "backend=cpu", "backend.devices=2", "batch_size=4")
    command = [sys.executable, "train.py", *TINY, *SIZES, *together, *settings]
    ended = subprocess.run(
        [*command, f"hydra.run.dir={folder}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, json.loads((folder / "summary.json").read_text())


def test_two_processes_are_as_one_with_the_doubled_batch(train, tmp_path):
    """Also where the validation points cannot be halved: 11 of them."""
    alone = train(*SIZES, "trainer.max_epochs=2", "batch_size=8", folder="alone").metrics
    printed, summary = train_together(tmp_path / "together", "trainer.max_epochs=2")
    assert printed.count("epoch 2/2") == printed.count("saved in") == 1
    compared = [
        name
        for name in alone
        if name.startswith(("val/", "test/", "train/")) and name != "train/samples_per_second"
    ]
    assert "val/accuracy" in compared and "val/synops_ac_per_sample" in compared
    for name in compared:
        assert summary[name] == pytest.approx(alone[name], abs=1e-5), name


def test_two_processes_stand_still_after_the_same_epoch(train, tmp_path):
    """By the losses of whole batches: by those of its half one would end, and the other wait."""
    settings = ("callback=[standstill]", "callback.standstill.patience=12", "optimizer.lr=0.02")
    epochs = "trainer.max_epochs=20"
    alone = train(*SIZES, *settings, epochs, "batch_size=8", folder="alone").metrics
    _, summary = train_together(tmp_path / "together", *settings, epochs)
    assert summary["epoch/last"] == alone["epoch/last"] < 20


@pytest.mark.parametrize("process", ["first", "second"])
def test_a_signal_to_one_process_ends_both_with_the_message(process, tmp_path):
    """The output ends only once both processes have: both hold its pipe.

    Lightning, which kills the first a while after the second has failed, does so without a while.
    """
    folder = tmp_path / "run"
    (tmp_path / "sitecustomize.py").write_text(
        "from lightning_fabric.strategies.launchers import subprocess_script\n"
        "subprocess_script._ChildProcessObserver.__init__.__defaults__ = (0.001,)\n"
    )
    settings = ("trainer=ddp", "backend=cpu", "backend.devices=2", "trainer.max_epochs=1000")
    first = subprocess.Popen(
        [sys.executable, "train.py", *TINY, *settings, f"hydra.run.dir={folder}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        while not (folder / "checkpoints" / "last.ckpt").exists() and first.poll() is None:
            time.sleep(0.05)
        os.kill(first.pid if process == "first" else second_of(first.pid), signal.SIGTERM)
        output, _ = first.communicate(timeout=60)
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
    message = "error: interrupted; the last finished epoch is kept; continue with python train.py "
    assert output.count("error: interrupted") == 1
    assert output.strip().splitlines()[-1] == f"{message}resume={folder}"
    assert first.returncode == 1


def second_of(first: int) -> int:
    """The process that the first one began, by its words: Hydra's words for it name no option."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True
    )
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    (second,) = [
        int(pid) for pid, parent, words in rows if int(parent) == first and "train.py" in words
    ]
    return second
