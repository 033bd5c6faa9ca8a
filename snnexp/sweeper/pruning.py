"""Ends a poor trial while it trains: the run reports to its trial in the study's storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import optuna

_current: ContextVar[optuna.Trial | None] = ContextVar("trial", default=None)


@contextmanager
def reporting(trial: optuna.Trial) -> Iterator[None]:
    """Within, `report` is about this trial."""
    token = _current.set(trial)
    try:
        yield
    finally:
        _current.reset(token)


def report(value: float, step: int) -> None:
    """Store a value of the objective so far; raises optuna.TrialPruned if the pruner says so.

    Outside a sweep it does nothing: a trial's configuration can be run on its own.
    """
    trial = _current.get()
    if trial is None:
        return
    trial.report(value, step)
    if trial.should_prune():
        raise optuna.TrialPruned(f"after epoch {step} at {value:.4g}")
