"""Several processes on one study, and what is left of them when they are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from snnexp.sweeper import report

APP = Path(__file__).with_name("app.py")
ROOT = APP.parents[2]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Begins the sweep of `app.py` in a process group of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, str(APP), "-m", "hydra/sweeper=snnexp", "hydra.sweeper.study=s"]
        command += ["optimizer.lr=interval(0.1,1)", "hydra.sweeper.figures=false", *overrides]
        surroundings = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        log = (tmp_path / "log").open("a")
        return subprocess.Popen(
            command, env=surroundings, stdout=log, stderr=log, start_new_session=True
        )

    return run


def study() -> optuna.Study:
    return report.load(Path("outputs/sweeps/s"))


def attempts(number: int) -> int:
    return len(Path(f"outputs/sweeps/s/{number}/attempts").read_text().split())


def states(found: optuna.Study) -> list[str]:
    return [trial.state.name for trial in found.trials]


def wait_for(what: Callable[[], bool]) -> None:
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError(Path("log").read_text())


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_two_workers_run_each_trial_once_and_exactly_so_many(begin, storage):
    options = ("hydra.sweeper.workers=2", "hydra.sweeper.n_trials=9")
    ended = begin(*options, f"hydra.sweeper.storage={storage}", MEET="1").wait(timeout=120)
    assert ended == 0, Path("log").read_text()
    assert states(study()) == ["COMPLETE"] * 9
    assert [attempts(number) for number in range(9)] == [1] * 9
    workers = {Path(f"outputs/sweeps/s/{n}/attempts").read_text() for n in range(9)}
    assert len(workers) == 2, "both had their share"


def test_a_killed_sweep_goes_on_and_overwrites_nothing(begin):
    options = ("hydra.sweeper.workers=1", "hydra.sweeper.n_trials=4")
    sweep = begin(*options, SECONDS="0.4")
    wait_for(Path("outputs/sweeps/s/1/attempts").exists)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait(timeout=60)
    assert states(study()) == ["COMPLETE", "RUNNING"]
    first = study().trials[0].value
    assert begin(*options).wait(timeout=120) == 0, Path("log").read_text()
    assert states(study()) == ["COMPLETE"] * 4
    assert study().trials[0].value == first
    assert [attempts(number) for number in range(4)] == [1, 2, 1, 1]
    assert study().trials[1].user_attrs["reason"] == "begun again after 1 kill(s)"


def test_a_trial_that_kills_its_worker_fails_after_its_retries_and_the_sweep_goes_on(begin):
    options = ("hydra.sweeper.workers=2", "hydra.sweeper.n_trials=2", "hydra.sweeper.retries=1")
    sweep = begin(*options, "hydra.sweeper.max_failure_rate=1", KILL_ABOVE="0.55")
    assert sweep.wait(timeout=120) == 0, Path("log").read_text()
    for trial in study().trials:
        kills = trial.params["optimizer.lr"] > 0.55
        assert trial.state.name == ("FAIL" if kills else "COMPLETE")
        assert trial.user_attrs["reason"] == ("killed in each of 2 attempts" if kills else "")
    assert states(study()).count("COMPLETE") == 2
    assert "FAIL" in states(study()), "the sampler's seed draws some above 0.55"
