"""Sweeps in this process, whose trials are what a test says."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
import optuna
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from snnexp import config
from snnexp.sweeper import plugin, report

SWEEP = (
    "-m",
    "hydra/sweeper=snnexp",
    "hydra.sweeper.study=s",
    "hydra.sweeper.figures=false",
    "hydra.sweeper.sampler=random",
)


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable:
    """Runs `python train.py -m ...` with a function of the configuration instead of a training.

    Gives the study, in `outputs/sweeps/s` of a folder of its own, which the process stands in.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(task: Callable, *overrides: str) -> optuna.Study:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["train.py", *SWEEP, *overrides])
        plugin.register()
        decorate = hydra.main(
            config_path=str(config.directory()),
            config_name="train",
            execution_whitelist=config.whitelist(),
        )
        try:
            decorate(task)()
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            for handler in set(root.handlers) - set(handlers):
                handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
        return report.load(Path("outputs/sweeps/s"))

    return run
