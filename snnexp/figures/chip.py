"""What a network became on the chip: traces, weights, places, accuracies."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from snnexp.figures.activity import time_unit
from snnexp.figures.style import (
    GREY,
    INK,
    OKABE_ITO,
    class_styles,
    empty_figure,
    legend_beside,
    style_axes,
    whole_numbers,
)

WIDE = 5
"""LSB of a bin of weights in floats."""


def chip_traces(
    hidden: tuple[Float[Tensor, " time"], Float[Tensor, " time"]],
    spikes: tuple[Float[Tensor, " one"], Float[Tensor, " other"]],
    readout: tuple[Float[Tensor, "time class"], Float[Tensor, "time class"]],
    dt: float,
    class_names: Sequence[str],
    name: str,
    threshold: float,
) -> Figure:
    """A hidden neuron and the readouts, each first in floats (dashed), then as the chip read them.

    spikes: the hidden neuron's, as times in s; dt in s. name: of the hidden neuron.
    """
    figure = empty_figure(7, 4.6)
    above, below = figure.subplots(2, 1, sharex=True)
    factor, unit = time_unit(len(readout[0]) * dt)
    looks = (("--", GREY, "floats"), ("-", OKABE_ITO[0], "chip"))
    top = max(threshold, *(float(trace.max()) for trace in hidden))
    for row, (trace, times, (style, colour, label)) in enumerate(
        zip(hidden, spikes, looks, strict=True)
    ):
        above.plot(_times(trace, dt * factor), trace, style, color=colour, linewidth=1.2)
        above.lines[-1].set_label(label)
        heights = torch.full_like(times, top * (1.16 - 0.08 * row))
        above.scatter(times * factor, heights, marker="|", s=40, color=colour)
        above.collections[-1].set_label(f"{label}, spikes")
    above.axhline(threshold, color=INK, linestyle=":", linewidth=1, label="threshold")
    style_axes(above, "", f"{name}\n(no unit)")
    for traces, (style, _, label) in zip(readout, looks, strict=True):
        for trace, (one, colour, *_) in zip(traces.T, class_styles(class_names), strict=True):
            below.plot(_times(trace, dt * factor), trace, style, color=colour, linewidth=1.2)
            below.lines[-1].set_label(f"{one}, {label}")
    style_axes(below, f"time ({unit})", "readout\n(no unit)")
    legend_beside(above)
    if len(class_names) <= 10:
        legend_beside(below)
    return figure


def _times(trace: Tensor, step: float) -> Tensor:
    return torch.arange(len(trace)) * step


def weight_histograms(
    weights: Mapping[str, tuple[Float[Tensor, "..."], Float[Tensor, "..."]]], limit: int
) -> Figure:
    """Weights of each layer before and after they became the chip's, in LSB up to `limit`.

    After: their number at each whole LSB; before: over `WIDE` LSB, which rounding does not change.
    """
    figure = empty_figure(max(3.6 * len(weights), 1), 3)
    for place, (name, pair) in enumerate(weights.items(), start=1):
        panel = figure.add_subplot(1, len(weights), place)
        before, after = (weight.flatten() for weight in pair)
        reach = int(max(limit, before.abs().max().ceil())) + 1
        coarse = torch.arange(-reach - WIDE / 2, reach + WIDE, WIDE).tolist()
        share = torch.full_like(before, 1 / WIDE)
        panel.hist(before, coarse, weights=share, histtype="step", color=INK, label="floats")
        whole = torch.arange(-reach - 0.5, reach + 1).tolist()
        panel.hist(after, whole, color="#56B4E9", zorder=0)
        panel.patches[-1].set_label("chip")
        for side in (-limit, limit):
            panel.axvline(side, color=GREY, linestyle=":", linewidth=1)
        beyond = int((before.abs() > limit).sum())
        panel.set_title(f"{name}: {beyond} of {len(before)} beyond {limit}", fontsize=10)
        style_axes(panel, "weight (LSB)", "weights per LSB" if place == 1 else "")
        panel.yaxis.set_major_locator(whole_numbers())
        panel.legend(frameon=False, fontsize=8)
    return figure


def placement(
    runs: Sequence[Mapping[str, Sequence[Sequence[tuple[int, int]]]]], rows: int, columns: int
) -> Figure:
    """The chip's circuits in each run, a panel a run: the neurons of each layer in its colour.

    runs: by layer's name each neuron's circuits as (row, column).
    """
    figure = empty_figure(8, max(0.55 + 0.75 * len(runs), 1.6))
    panels = figure.subplots(len(runs), 1, sharex=True, squeeze=False)[:, 0]
    names = list(dict.fromkeys(name for run in runs for name in run))
    colours = {name: colour for name, colour, *_ in class_styles(names)}
    for number, (panel, run) in enumerate(zip(panels, runs, strict=True), start=1):
        for name, neurons in run.items():
            _draw_neurons(panel, neurons, colours[name], name)
        style_axes(panel, "column" if number == len(runs) else "", "row", grid=False)
        panel.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), yticks=range(rows))
        taken = sum(len(circuits) for neurons in run.values() for circuits in neurons)
        title = f"run {number}: {taken} of {rows * columns} circuits"
        panel.set_title(title, fontsize=8, loc="left", pad=2)
        legend_beside(panel)
    return figure


def _draw_neurons(
    panel: Axes, neurons: Sequence[Sequence[tuple[int, int]]], colour: str, name: str
) -> None:
    """A square a circuit; neighbouring neurons differ in their shade."""
    for index, circuits in enumerate(neurons):
        for row, column in circuits:
            square = Rectangle((column - 0.5, row - 0.45), 1, 0.9, linewidth=0, color=colour)
            square.set_alpha(1.0 if index % 2 else 0.7)
            panel.add_patch(square)
    panel.scatter([], [], marker="s", s=30, color=colour, label=name)


def accuracy_over_chips(conditions: Mapping[tuple[str, str], Sequence[float]]) -> Figure:
    """Test accuracies of single chips, a strip a condition (preset, way of training), and means."""
    ways = list(dict.fromkeys(way for _, way in conditions))
    colours = dict(zip(ways, OKABE_ITO, strict=False))
    figure = empty_figure(1.8 + 0.6 * max(len(conditions), 4), 3.8)
    panel = figure.subplots()
    for place, ((_, way), accuracies) in enumerate(conditions.items()):
        shares = [100 * accuracy for accuracy in accuracies]
        spread = torch.linspace(-0.25, 0.25, len(shares)) if len(shares) > 1 else torch.zeros(1)
        panel.scatter(place + spread, shares, s=14, color=colours[way], alpha=0.7, linewidths=0)
        mean = sum(shares) / len(shares)
        panel.plot([place - 0.35, place + 0.35], [mean, mean], color=INK, linewidth=1)
    for way, colour in colours.items():
        panel.scatter([], [], s=14, color=colour, label=way)
    panel.plot([], [], color=INK, linewidth=1, label="mean")
    style_axes(panel, "preset", "test accuracy (%)")
    presets = [preset for preset, _ in conditions]
    panel.set_xticks(range(len(presets)), presets, rotation=60, horizontalalignment="right")
    legend_beside(panel)
    return figure
