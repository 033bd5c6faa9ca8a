"""What a sweep prints: one line a trial."""

import statistics
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from snnexp.sweeper.study import Objective


def print_trial(
    trial: FrozenTrial, trials: Sequence[FrozenTrial], objectives: Sequence[Objective], total: int
) -> None:
    """Number, state, parameters, objectives and time of a trial, and how long the rest may take."""
    parts = [f"trial {trial.number:<4}{trial.state.name.lower():<9}", parameters(trial)]
    parts += [f"{o.name} {shown(o.name, v)}" for o, v in _pairs(trial, objectives)]
    parts.append(duration(trial.user_attrs.get("seconds", 0.0)))
    if reason := trial.user_attrs.get("reason"):
        parts.append(reason.splitlines()[0])
    parts.append(f"[{progress(trials, total)}]")
    print("  ".join(parts), flush=True)


def parameters(trial: FrozenTrial) -> str:
    """A trial's parameters in short: the last parts of their keys."""
    return " ".join(f"{short(name)}={number(v)}" for name, v in trial.params.items())


def short(key: str) -> str:
    """The last part of a key, with the one before it where that is an index."""
    parts = key.replace("/", ".").split(".")
    return ".".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])


def progress(trials: Sequence[FrozenTrial], total: int) -> str:
    """How many trials are done, and an estimate of the time for the others.

    From the mean of the last twenty, and from how many are run at once.
    """
    done = sum(trial.state == TrialState.COMPLETE for trial in trials)
    text, left = f"{done}/{total}", total - done
    seconds = [t.user_attrs.get("seconds", 0.0) for t in trials if t.state == TrialState.COMPLETE]
    running = 1 + sum(trial.state == TrialState.RUNNING for trial in trials)
    if left > 0 and seconds:
        text += f", about {duration(statistics.fmean(seconds[-20:]) * left / running)} left"
    return text


def duration(seconds: float) -> str:
    """A time in s, min or h."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def shown(metric: str, value: float) -> str:
    """A metric's value: accuracies in percent."""
    return f"{value:.2%}" if metric.rpartition("/")[2].startswith("accuracy") else number(value)


def number(value: object) -> str:
    """A parameter's or metric's value in short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pairs(trial: FrozenTrial, objectives: Sequence[Objective]) -> list[tuple[Objective, float]]:
    if trial.state != TrialState.COMPLETE:
        return []
    return list(zip(objectives, trial.values, strict=True))
