"""Pictures, one function each: takes tensors on the CPU, gives a matplotlib figure.

They are drawn with matplotlib's objects, without pyplot: no global state, nothing to close.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

OKABE_ITO = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#000000", "#F0E442"),
)
NAMED_COLOURS = {"yin": "#6392EB", "yang": "#D97C75", "dot": "#65AD68"}
STAGE_COLOURS = {"train": "#0072B2", "val": "#D55E00"}
LOOKS = (("-", "o"), ("--", "^"), (":", "s"))
INK, GREY, PALE = "#222222", "#888888", "#E8E8E8"
PLANE = ("first feature (no unit)", "second feature (no unit)")
CURVES = {
    "loss (no unit)": (1, {"loss": ""}),
    "accuracy (%)": (100, {"accuracy": ""}),
    "mean firing rate (Hz)": (1, {"rate_hz": ""}),
    "synaptic operations (per sample)": (
        1,
        {"synops_ac_per_sample": " accumulates", "synops_mac_per_sample": " multiply-accumulates"},
    ),
}
"""The panels of `learning_curves`: label, factor to its unit, metrics and what tells them apart."""

Extent = tuple[float, float, float, float]
"""The outer edges of a map: left, right, bottom, top."""


def learning_curves(rows: list[dict[str, float]]) -> Figure:
    """Loss, accuracy, rate and operations by epoch; a row an epoch, which may lack metrics."""
    figure = _figure(7.5, 5.2)
    panels = figure.subplots(2, 2).flat
    for panel, (label, (factor, metrics)) in zip(panels, CURVES.items(), strict=True):
        for (line_style, _), (metric, suffix) in zip(LOOKS, metrics.items(), strict=False):
            for stage, colour in STAGE_COLOURS.items():
                seen = [row for row in rows if f"{stage}/{metric}" in row]
                epochs = [row["epoch"] for row in seen]
                values = [row[f"{stage}/{metric}"] * factor for row in seen]
                if seen:
                    (line,) = panel.plot(epochs, values, line_style, label=stage + suffix)
                    line.set(color=colour, linewidth=1.2, markersize=3)
                    line.set_marker("o" if len(seen) <= 30 else "")
        _style(panel, "epoch", label)
        panel.xaxis.set_major_locator(_whole_numbers())
        if panel.lines:
            panel.legend(frameon=False, fontsize=8)
    return figure


def input_encoding(
    spikes: Float[Tensor, "time channel"], dt: float, marks: dict[str, float]
) -> Figure:
    """The input channels over time; dt and the marked times in s, t_early to t_late shaded."""
    figure = _figure(6.5, 3.4)
    panel = figure.subplots()
    factor, unit = _time_unit(len(spikes) * dt)
    _style(panel, f"time ({unit})", "input channel")
    _draw_channels(panel, spikes, dt * factor)
    if "t_early" in marks and "t_late" in marks:
        panel.axvspan(marks["t_early"] * factor, marks["t_late"] * factor, color=PALE, zorder=-1)
    names: dict[float, list[str]] = {}
    for name, time in marks.items():
        names.setdefault(time * factor, []).append(name)
    gaps = torch.tensor(sorted(names)).diff()
    crowded = bool((gaps < 0.15 * len(spikes) * dt * factor).any())
    tilt, side = (40, "left") if crowded else (0, "center")
    above = panel.get_xaxis_transform()  # x in time, y in heights of the panel
    for time, same in names.items():
        panel.axvline(time, color=GREY, linestyle=":", linewidth=1, zorder=0.6)
        text = panel.text(time, 1.02, ", ".join(same), transform=above, fontsize=8)
        text.set(rotation=tilt, horizontalalignment=side)
    return figure


def activity(
    inputs: Float[Tensor, "time channel"],
    hidden: dict[str, Float[Tensor, "time neuron"]],
    readout: Float[Tensor, "time class"],
    dt: float,
    class_names: Sequence[str],
    label: int,
    decision: int,
    threshold: float | None = None,
) -> Figure:
    """One sample on its way through a network, dt in s; the threshold is the readout's."""
    heights = [1.2, *[1.6] * len(hidden), 1.8]
    figure = _figure(7, sum(heights) + 0.8)
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    factor, unit = _time_unit(len(readout) * dt)
    layers = {"input\nchannel": inputs} | {f"{name}\nneuron": z for name, z in hidden.items()}
    for panel, (name, spikes) in zip(panels, layers.items(), strict=False):
        _style(panel, "", name)
        _draw_channels(panel, spikes, dt * factor)
    _draw_traces(panels[-1], readout, dt * factor, class_names)
    if threshold is not None:
        panels[-1].axhline(threshold, color=INK, linestyle=":", linewidth=1, label="threshold")
    _style(panels[-1], f"time ({unit})", "readout\n(no unit)")
    _legend_beside(panels[-1])
    verdict = "right" if decision == label else "wrong"
    title = f"label {class_names[label]}, decision {class_names[decision]} ({verdict})"
    panels[0].set_title(title, fontsize=10)
    return figure


def rate_histogram(rates: dict[str, Float[Tensor, " neuron"]]) -> Figure:
    """How the neurons' mean rates in Hz are distributed, a panel a layer."""
    columns = min(len(rates), 3)
    lines = -(-len(rates) // 3)
    figure = _figure(max(3.4 * columns, 1), max(2.8 * lines, 1))
    for place, (name, values) in enumerate(rates.items(), start=1):
        panel = figure.add_subplot(lines, columns, place)
        panel.hist(values, bins=30, range=(0, values.max().item() or 1), color="#0072B2")
        panel.set_title(f"{name}: {(values == 0).sum()} of {len(values)} dead", fontsize=10)
        _style(panel, "mean rate (Hz)", "number of neurons")
        panel.yaxis.set_major_locator(_whole_numbers())
    return figure


def confusion_matrix(counts: Int[Tensor, "class class"], class_names: Sequence[str]) -> Figure:
    """Number of samples by true class (row) and decision (column), coloured by share of the row."""
    size = len(counts)
    side = 3.2 + 0.18 * min(size, 20)
    figure = _figure(side + 0.6, side)
    panel = figure.subplots()
    shares = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    image = panel.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
    _colour_bar(panel, image, "share of the true class (%)")
    if size <= 20:
        for row, column in torch.cartesian_prod(torch.arange(size), torch.arange(size)).tolist():
            colour = "white" if shares[row, column] > 55 else INK
            text = str(int(counts[row, column]))
            panel.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)
    _style(panel, "decided class", "true class", grid=False)
    ticks = range(0, size, -(-size // 40))
    names = [class_names[tick] for tick in ticks]
    panel.set_xticks(ticks, names, rotation=90 if sum(map(len, names)) > 40 else 0)
    panel.set_yticks(ticks, names)
    total = int(counts.sum())
    accuracy = 100 * int(counts.trace()) / max(total, 1)
    panel.set_title(f"accuracy {accuracy:.1f} % of {total} samples", fontsize=10)
    return figure


def plane_data(
    values: Float[Tensor, "sample feature"],
    labels: Int[Tensor, " sample"],
    class_names: Sequence[str],
) -> Figure:
    """The samples in the plane of their first two features, coloured by class."""
    figure = _figure(5, 4)
    panel = figure.subplots()
    _draw_points(panel, values, labels, class_names, size=12)
    _style(panel, *PLANE)
    _legend_beside(panel)
    return figure


def decision_map(
    scores: Float[Tensor, "row column class"],
    extent: Extent,
    values: Float[Tensor, "sample feature"],
    labels: Int[Tensor, " sample"],
    decisions: Int[Tensor, " sample"],
    class_names: Sequence[str],
) -> Figure:
    """The plane coloured by the class of the highest score, and on it the samples by true class.

    Rows go up the second feature, columns along the first; where scores are NaN it stays white.
    Wrongly decided samples are ringed in black.
    """
    figure = _figure(5.2, 4.2)
    panel = figure.subplots()
    colours = torch.tensor([to_rgb(colour) for _, colour, *_ in _class_styles(class_names)])
    outside = scores.isnan().any(-1, keepdim=True)
    tints = 1 - 0.4 * (1 - colours[scores.nan_to_num().argmax(-1)])
    image = tints.masked_fill(outside, 1)
    panel.imshow(image.numpy(), extent=extent, origin="lower", interpolation="nearest")
    wrong = decisions != labels
    _draw_points(panel, values[~wrong], labels[~wrong], class_names, size=5)
    points = values[wrong, :2].T
    panel.scatter(*points, s=22, c=colours[labels[wrong]].tolist(), linewidths=0)
    panel.scatter(*points, s=22, c="none", edgecolors="black", linewidths=1.2, label="error")
    _style(panel, *PLANE, grid=False)
    _legend_beside(panel)
    share = 100 * int(wrong.sum()) / max(len(labels), 1)
    panel.set_title(f"{wrong.sum()} errors of {len(labels)} samples ({share:.1f} %)", fontsize=10)
    return figure


def score_maps(
    scores: Float[Tensor, "row column class"], extent: Extent, class_names: Sequence[str]
) -> Figure:
    """Each class's score over the plane; where it is NaN the map stays white."""
    columns = min(len(class_names), 4)
    lines = -(-len(class_names) // 4)
    figure = _figure(3.2 * columns, 2.8 * lines)
    for index, name in enumerate(class_names):
        panel = figure.add_subplot(lines, columns, index + 1)
        image = panel.imshow(scores[..., index].numpy(), extent=extent, origin="lower")
        _colour_bar(panel, image, "score (no unit)")
        _style(panel, *PLANE, grid=False)
        panel.set_title(name, fontsize=10)
    return figure


def _figure(width: float, height: float) -> Figure:
    """An empty figure; sizes in inches."""
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _style(panel: Axes, x_label: str, y_label: str, grid: bool = True) -> None:
    """Label the axes and leave little ink beside the data."""
    panel.set_xlabel(x_label, fontsize=9)
    panel.set_ylabel(y_label, fontsize=9)
    panel.tick_params(labelsize=8, width=0.6, length=3)
    panel.yaxis.get_offset_text().set_fontsize(8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_linewidth(0.6)
    if grid:
        panel.grid(color=PALE, linewidth=0.5)
        panel.set_axisbelow(True)


def _whole_numbers() -> MaxNLocator:
    """Ticks at whole numbers only."""
    return MaxNLocator(6, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)


def _time_unit(duration: float) -> tuple[float, str]:
    """Factor from s and name of the unit in which a duration in s is a readable number."""
    for factor, name in ((1.0, "s"), (1e3, "ms")):
        if duration * factor >= 1:
            return factor, name
    return 1e6, "\N{MICRO SIGN}s"


def _class_styles(class_names: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Name, colour, line style and marker of each class; the last two change every 8 classes."""
    for index, name in enumerate(class_names):
        times_used, place = divmod(index, len(OKABE_ITO))
        line_style, marker = LOOKS[times_used % len(LOOKS)]
        yield name, NAMED_COLOURS.get(name, OKABE_ITO[place]), line_style, marker


def _draw_channels(panel: Axes, values: Float[Tensor, "time channel"], step: float) -> None:
    """A raster of whole numbers, by colour where some exceed 1; of other values an image.

    step: the time step in the unit of the panel's time axis.
    """
    steps, channels = values.shape
    extent = (-0.5 * step, (steps - 0.5) * step, -0.5, channels - 0.5)
    if ((values >= 0) & (values == values.round())).all():
        time, channel = values.nonzero(as_tuple=True)
        height = panel.get_window_extent().height * 72 / panel.figure.dpi  # in points
        look = {"marker": "|", "s": max(1.5, 0.6 * height / channels) ** 2}
        colours = values[time, channel] if values.max() > 1 else INK
        width = min(1.3, max(0.6, 150 / steps))
        ticks = panel.scatter(time * step, channel, c=colours, linewidths=width, **look)
        if values.max() > 1:
            _colour_bar(panel, ticks, "spikes per step", _whole_numbers())
    else:
        area = {"aspect": "auto", "origin": "lower", "extent": extent}
        image = panel.imshow(values.T.numpy(), cmap="Greys", **area)
        panel.grid(False)
        _colour_bar(panel, image, "value (no unit)")
    panel.set(xlim=extent[:2], ylim=extent[2:])
    panel.yaxis.set_major_locator(_whole_numbers())


def _draw_traces(
    panel: Axes, traces: Float[Tensor, "time class"], step: float, class_names: Sequence[str]
) -> None:
    """The trace of each class; `step` in the unit of the panel's time axis."""
    times = torch.arange(len(traces)) * step
    styles = _class_styles(class_names)
    for trace, (name, colour, line_style, _) in zip(traces.T, styles, strict=True):
        panel.plot(times, trace, line_style, color=colour, linewidth=1.2, label=name)


def _draw_points(
    panel: Axes,
    values: Float[Tensor, "sample feature"],
    labels: Int[Tensor, " sample"],
    class_names: Sequence[str],
    size: float,
) -> None:
    """The samples of each class at their first two features; `size` in points squared."""
    for index, (name, colour, _, marker) in enumerate(_class_styles(class_names)):
        points = values[labels == index, :2].T
        panel.scatter(*points, s=size, color=colour, marker=marker, linewidths=0, label=name)
    panel.set_aspect("equal")


def _colour_bar(
    panel: Axes, image: ScalarMappable, label: str, ticks: MaxNLocator | None = None
) -> None:
    """Beside the panel, and not taken from it: stacked panels keep a common time axis."""
    beside = panel.inset_axes((1.02, 0, 0.03, 1))
    bar = panel.figure.colorbar(image, cax=beside, ticks=ticks)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7, width=0.6, length=2)
    bar.outline.set_visible(False)


def _legend_beside(panel: Axes) -> None:
    """A legend to the right of the panel, in two columns if it is long."""
    columns = 1 if len(panel.get_legend_handles_labels()[1]) <= 10 else 2
    look = {"ncols": columns, "labelspacing": 0.3, "frameon": False, "fontsize": 8}
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1), **look)
