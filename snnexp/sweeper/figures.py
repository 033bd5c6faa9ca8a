"""Figures of a sweep; Optuna's own where it has them."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import optuna
from matplotlib.figure import Figure
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from snnexp.errors import RunError
from snnexp.figures.style import GREY, OKABE_ITO, colour_bar, empty_figure, style_axes
from snnexp.sweeper import report
from snnexp.sweeper.front import hypervolumes, spread

Range = tuple[float, float] | None


def save_all(study: optuna.Study, folder: Path) -> None:
    """Every figure that the study has enough trials for, as PNG."""
    folder.mkdir(exist_ok=True)
    names = report.objective_names(study)
    drawn: dict[str, Figure] = {"history": history(study)}
    if len(names) == 2:
        drawn["pareto"] = pareto(study)
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
    if len(completed(study)) > 1:
        for index, name in enumerate(names):
            _save_optunas(study, index, name, folder)


def pareto(study: optuna.Study) -> Figure:
    """Two objectives against each other: trials, the Pareto set, deviations over seeds."""
    y_name, x_name = report.objective_names(study)
    figure = empty_figure(5.6, 4.2)
    panel = figure.subplots()
    best = report.best_trials(study)
    others = [trial for trial in completed(study) if trial not in best]
    panel.plot(*_columns(others), ".", color=GREY, label="trials", markersize=5)
    x, y = _columns(best)
    deviations = [[d or 0.0 for d in spread(trial, 2)] for trial in best]
    y_errors, x_errors = zip(*deviations, strict=True)
    has_seeds = any(any(row) for row in deviations)
    panel.errorbar(
        x,
        y,
        xerr=x_errors if has_seeds else None,
        yerr=y_errors if has_seeds else None,
        fmt="o",
        color=OKABE_ITO[0],
        markersize=5,
        elinewidth=0.8,
        capsize=2,
        label="Pareto set" + (" ± deviation over seeds" if has_seeds else ""),
    )
    order = sorted(range(len(x)), key=lambda index: x[index])
    panel.step(
        [x[i] for i in order],
        [y[i] for i in order],
        where="post",
        color=OKABE_ITO[0],
        linewidth=0.8,
    )
    style_axes(panel, x_name, y_name)
    panel.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def history(study: optuna.Study) -> Figure:
    """How the best value, or the hypervolume of several objectives, grew with the trials."""
    figure = empty_figure(5.6, 3.6)
    panel = figure.subplots()
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    names = report.objective_names(study)
    numbers = [trial.number for trial in trials]
    if len(names) > 1:
        panel.step(numbers, hypervolumes(study, trials), where="post", color=OKABE_ITO[0])
        style_axes(panel, "trial", "hypervolume")
        return figure
    ended = completed(study)
    values = [trial.values[0] for trial in ended]
    better = max if study.direction == StudyDirection.MAXIMIZE else min
    best = [better(values[: count + 1]) for count in range(len(values))]
    where = [trial.number for trial in ended]
    panel.plot(where, values, ".", color=GREY, label="trials")
    panel.step(where, best, where="post", color=OKABE_ITO[0], label="best so far")
    style_axes(panel, "trial", names[0])
    panel.legend(frameon=False, fontsize=8)
    return figure


def scatter(
    study: optuna.Study,
    x: str,
    y: str,
    colour: str,
    x_range: Range = None,
    y_range: Range = None,
    clip: Range = None,
) -> Figure:
    """Two quantities of the completed trials against each other, a third as colour.

    A quantity is a parameter, an objective or a cost. x_range, y_range: of the axes. clip: of the
    colour, whose ends stand for what lies beyond. Raises RunError for an unknown quantity.
    """
    found = (quantities(study, name) for name in (x, y, colour))
    rows = [row for row in zip(*found, strict=True) if None not in row]
    figure = empty_figure(5.6, 4.2)
    panel = figure.subplots()
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    low, high = clip or (None, None)
    texts = sorted({value for value in columns[2] if isinstance(value, str)})
    shades = [texts.index(v) if v in texts else v for v in columns[2]]
    dots = panel.scatter(
        columns[0], columns[1], c=shades, vmin=low, vmax=high, cmap="viridis", s=22
    )
    colour_bar(panel, dots, colour)
    style_axes(panel, x, y)
    panel.set_xscale(_scale(study, x))
    panel.set_yscale(_scale(study, y))
    if x_range:
        panel.set_xlim(*x_range)
    if y_range:
        panel.set_ylim(*y_range)
    return figure


def _scale(study: optuna.Study, name: str) -> str:
    """The scale of an axis: logarithmic for what was searched so."""
    found = [trial.distributions.get(name) for trial in study.get_trials(deepcopy=False)]
    return "log" if any(getattr(distribution, "log", False) for distribution in found) else "linear"


def quantities(study: optuna.Study, name: str) -> list[Any]:
    """A parameter, an objective or a cost of each completed trial; None for one that has none.

    Raises RunError for a name of which no trial has one.
    """
    trials, names = completed(study), report.objective_names(study)
    if name in names:
        return [trial.values[names.index(name)] for trial in trials]
    if name in report.COSTS:
        return [trial.user_attrs.get(name) for trial in trials]
    known = {key for trial in study.get_trials(deepcopy=False) for key in trial.params}
    if name not in known:
        there = ", ".join([*names, *sorted(known), *report.COSTS])
        raise RunError(f"{name!r} is no quantity; there are {there}")
    return [trial.params.get(name) for trial in trials]


def _save_optunas(study: optuna.Study, index: int, name: str, folder: Path) -> None:
    """Optuna's figures for one objective."""
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as own

    def target(trial: FrozenTrial) -> float:
        return trial.values[index]

    def cost(trial: FrozenTrial) -> float:  # PED-ANOVA asks what makes a target low
        sign = -1 if study.directions[index] == StudyDirection.MAXIMIZE else 1
        return sign * trial.values[index]

    plots: dict[str, Callable[..., Any]] = {
        "importance": own.plot_param_importances,
        "slices": own.plot_slice,
        "parallel": own.plot_parallel_coordinate,
    }
    for kind, plot in plots.items():
        of = cost if kind == "importance" else target
        if kind == "parallel" and len(study.directions) == 1:
            of = None  # of a target Optuna draws the least values darkest
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes")
                axes = plot(study, target=of, target_name=name)
        except (ValueError, RuntimeError) as error:  # too few trials, or all alike
            print(f"no figure {kind} of {name}: {error}")
        else:
            panel = axes if not hasattr(axes, "flat") else axes.flat[0]
            if kind == "parallel":  # room for the ticks of each parameter
                panel.figure.set_size_inches(2.2 * len(panel.get_xticks()), 5)
            path = folder / f"{kind}_{name.replace('/', '_')}.png"
            panel.figure.savefig(path, dpi=120, bbox_inches="tight")
        pyplot.close("all")


def completed(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have values, in the order of their numbers."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _columns(trials: Sequence[FrozenTrial]) -> tuple[list[float], list[float]]:
    """The second objective, for the x axis, and the first."""
    return [trial.values[1] for trial in trials], [trial.values[0] for trial in trials]
