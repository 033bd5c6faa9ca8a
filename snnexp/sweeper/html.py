"""Interactive figures of a sweep, with a trial's parameters on hover; needs plotly."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from snnexp.errors import RunError
from snnexp.sweeper import report
from snnexp.sweeper.figures import Range, completed, quantities


def save_all(
    study: optuna.Study,
    folder: Path,
    plot: Sequence[str] | None = None,
    x_range: Range = None,
    y_range: Range = None,
    clip: Range = None,
) -> list[Path]:
    """Write the figures as HTML files that need no network; with `plot` only that scatter.

    Raises RunError where plotly is not installed.
    """
    try:
        import plotly.graph_objects as plotly
    except ImportError as error:
        raise RunError("interactive figures need plotly: pip install 'snnexp[html]'") from error
    folder.mkdir(exist_ok=True)
    if plot:
        drawn = {"scatter": _scatter(plotly, study, plot, x_range, y_range, clip)}
    else:
        drawn = dict(_optunas(study))
    paths = []
    for name, figure in drawn.items():
        paths.append(folder / f"{name}.html")
        figure.write_html(paths[-1], include_plotlyjs=True)
    return paths


def _optunas(study: optuna.Study) -> list[tuple[str, Any]]:
    names = report.objective_names(study)
    own = optuna.visualization
    found: list[tuple[str, Any]] = []
    if len(names) > 1:
        found.append(("pareto", own.plot_pareto_front(study)))
    kinds: dict[str, Callable[..., Any]] = {
        "slices": own.plot_slice,
        "parallel": own.plot_parallel_coordinate,
    }
    for index, name in enumerate(names):

        def target(trial: FrozenTrial, index: int = index) -> float:
            return trial.values[index]

        for kind, draw in kinds.items():
            figure = draw(study, target=target, target_name=name)
            found.append((f"{kind}_{name.replace('/', '_')}", figure))
    return found


def _scatter(
    plotly: Any,
    study: optuna.Study,
    names: Sequence[str],
    x_range: Range,
    y_range: Range,
    clip: Range,
) -> Any:
    x, y, colour = (quantities(study, name) for name in names)
    low, high = clip or (None, None)
    texts = [
        f"trial {trial.number}<br>" + "<br>".join(f"{k} = {v}" for k, v in trial.params.items())
        for trial in completed(study)
    ]
    shade = {"color": colour, "cmin": low, "cmax": high, "showscale": True}
    shade |= {"colorscale": "Viridis", "colorbar": {"title": names[2]}}
    dots = plotly.Scatter(x=x, y=y, mode="markers", marker=shade, hovertext=texts)
    layout = {"xaxis": {"title": names[0], "range": x_range}}
    layout["yaxis"] = {"title": names[1], "range": y_range}
    return plotly.Figure(dots, layout)
