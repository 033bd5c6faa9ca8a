"""What a sweep found, at its end or at any time: table, best trials, figures, TensorBoard."""

import csv
import shutil
from collections import Counter
from itertools import starmap
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.table import Table

from snnexp import results
from snnexp.errors import RunError
from snnexp.sweeper import commands, storages, terminal
from snnexp.sweeper.front import hypervolumes, spread
from snnexp.sweeper.study import IDENTITY, attempts, identity

COSTS = ("seconds", "seconds_train", "epochs", "batches")
SHOWN = 12  # rows of the table in the terminal


def load(folder: Path, storage: str | None = None) -> optuna.Study:
    """The study of a sweep's folder; RunError if there is none, or its storage is out of reach.

    storage: where it is, if its URL has a password, which the folder does not keep.
    """
    path = folder / IDENTITY
    if not path.is_file():
        raise RunError(f"{folder}: this is no sweep's folder; it has no {IDENTITY}")
    record = identity(folder)
    place = storage or record["storage"]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storages.naming_storage(place):
        connected = storages.connect(place, folder)
        return optuna.load_study(study_name=record["study"], storage=connected)


def write(study: optuna.Study, folder: Path, figures: bool) -> None:
    """Write `trials.csv`, `best.txt`, `tensorboard/` and `plots/` into the folder; print the best.

    All of them are made anew from the storage.
    """
    trials = study.get_trials(deepcopy=False)
    write_table(study, trials, folder / "trials.csv")
    best = best_trials(study)
    lines = [command_of(study, trial) for trial in best]
    texts = [f"# trial {trial.number}\n{line}\n" for trial, line in zip(best, lines, strict=True)]
    (folder / "best.txt").write_text("".join(texts))
    counts = Counter(trial.state.name.lower() for trial in trials)
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    if best:
        _print_best(study, best)
        print("\n".join(lines[:SHOWN]))
        _write_hparams(study, trials, folder / "tensorboard")
    if figures and best:
        from snnexp.sweeper import figures as drawn

        drawn.save_all(study, folder / "plots")
    print(f"sweep in {folder}")


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, or the Pareto set in the order of the first objective."""
    best = study.best_trials
    sign = -1 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1
    ordered = sorted(best, key=lambda trial: (sign * trial.values[0], trial.number))
    unlike = {tuple(trial.values): trial for trial in reversed(ordered)}
    return [trial for trial in ordered if unlike[tuple(trial.values)] is trial]


def command_of(study: optuna.Study, trial: FrozenTrial) -> str:
    """The command line that runs a trial again, on its own and with the test split."""
    words = study.user_attrs.get("command", [])
    seeds = study.user_attrs.get("definition", {}).get("seeds")
    return commands.command(words, trial.params, seeds)


def write_table(study: optuna.Study, trials: list[FrozenTrial], file: Path) -> None:
    """One row a trial, of any state."""
    names = objective_names(study)
    params = list(dict.fromkeys(key for trial in trials for key in trial.params))
    volumes = hypervolumes(study, trials) if len(names) > 1 else None
    with file.open("w", newline="") as stream:
        heads = [*names, *(f"{name} sd" for name in names), *COSTS, "attempts"]
        writer = csv.writer(stream)
        writer.writerow(
            ["trial", "state", "reason", *params, *heads, *(["hypervolume"] if volumes else [])]
        )
        for index, trial in enumerate(trials):
            row: list[Any] = [trial.number, trial.state.name, trial.user_attrs.get("reason", "")]
            row += [trial.params.get(key, "") for key in params]
            complete = trial.state == TrialState.COMPLETE
            row += trial.values if complete else [""] * len(names)
            row += ["" if s is None else s for s in spread(trial, len(names))]
            row += [trial.user_attrs.get(name, "") for name in COSTS]
            row += [attempts(trial.user_attrs), *([volumes[index]] if volumes else [])]
            writer.writerow(row)


def objective_names(study: optuna.Study) -> list[str]:
    """The objectives' names."""
    return study.metric_names or [f"objective {i}" for i in range(len(study.directions))]


def _print_best(study: optuna.Study, best: list[FrozenTrial]) -> None:
    names = objective_names(study)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("trial", *names, "parameters"):
        table.add_column(heading, overflow="fold")
    for trial in best[:SHOWN]:
        rows = zip(names, trial.values, spread(trial, len(names)), strict=True)
        table.add_row(str(trial.number), *starmap(_cell, rows), terminal.parameters(trial))
    if len(best) > SHOWN:
        table.caption = f"and {len(best) - SHOWN} more, in best.txt"
    results.console().print(table)
    if len(names) > 1:
        volume = hypervolumes(study, study.get_trials(deepcopy=False))[-1]
        print(f"hypervolume {volume:.6g}")


def _cell(name: str, value: float, deviation: float | None) -> str:
    text = terminal.shown(name, value)
    return f"{text} ± {terminal.shown(name, deviation)}" if deviation else text


def _write_hparams(study: optuna.Study, trials: list[FrozenTrial], folder: Path) -> None:
    """TensorBoard's HPARAMS: a run a completed trial, with the searched parameters alone."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    names = objective_names(study)
    with SummaryWriter(str(folder)) as writer:
        for trial in trials:
            if trial.state == TrialState.COMPLETE:
                values = dict(zip(names, trial.values, strict=True))
                writer.add_hparams(dict(trial.params), values, run_name=str(trial.number))
