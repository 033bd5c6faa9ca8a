"""How a training went: curves, rates, decisions."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from snnexp.figures.style import (
    INK,
    LOOKS,
    class_styles,
    colour_bar,
    empty_figure,
    style_axes,
    whole_numbers,
)
from snnexp.metrics import wilson_interval

STAGE_COLOURS = {"train": "#0072B2", "val": "#D55E00"}
CURVES = {
    "loss (no unit)": (1, {"loss": ""}),
    "accuracy (%)": (100, {"accuracy": ""}),
    "mean firing rate (Hz)": (1, {"rate_hz": ""}),
    "synaptic operations (per sample)": (
        1,
        {
            "synops_ac_per_sample": " accumulates",
            "synops_mac_per_sample": " multiply-accumulates",
            "synops_fanout_per_sample": " fanout",
        },
    ),
}
"""The panels of `learning_curves`: label, factor to its unit, metrics and what tells them apart."""


def learning_curves(rows: list[dict[str, float]]) -> Figure:
    """Loss, accuracy, rate and operations by epoch; a row an epoch, which may lack metrics."""
    figure = empty_figure(7.5, 5.2)
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
        style_axes(panel, "epoch", label)
        panel.xaxis.set_major_locator(whole_numbers())
        if panel.lines:
            panel.legend(frameon=False, fontsize=8)
    return figure


def accuracy_overlay(curves: Mapping[str, Mapping[int, float]], line: float, title: str) -> Figure:
    """Validation accuracies by epoch of several runs, and a dashed line; shares from 0 to 1.

    The legend gives each run's last accuracy.
    """
    figure = empty_figure(6, 3.8)
    panel = figure.subplots()
    panel.axhline(100 * line, color=INK, linestyle="--", linewidth=0.8)
    styles = class_styles(list(curves))
    for (label, shares), (_, colour, line_style, _) in zip(curves.items(), styles, strict=True):
        last = 100 * list(shares.values())[-1]
        percent = [100 * share for share in shares.values()]
        (drawn,) = panel.plot(list(shares), percent, line_style, label=f"{label}: {last:.1f} %")
        drawn.set(color=colour, linewidth=1)
    style_axes(panel, "epoch", "validation accuracy (%)")
    panel.set_ylim(0, 100)
    panel.set_yticks(range(0, 101, 10))
    panel.xaxis.set_major_locator(whole_numbers())
    panel.legend(frameon=False, fontsize=8, loc="lower right")
    panel.set_title(title, fontsize=10)
    return figure


def rate_range(rows: list[dict[str, float]]) -> Figure:
    """Validation loss after each epoch against the learning rate that the epoch began with.

    Both on log axes, the loss as long as it is positive: it explodes at the end of most ramps.
    """
    figure = empty_figure(5.5, 3.6)
    panel = figure.subplots()
    seen = [row for row in rows if "train/lr" in row and "val/loss" in row]
    rates, losses = [row["train/lr"] for row in seen], [row["val/loss"] for row in seen]
    (line,) = panel.plot(rates, losses, "o-")
    line.set(color=STAGE_COLOURS["val"], linewidth=1.2, markersize=3)
    panel.set_xscale("log")
    panel.set_yscale("log" if min(losses, default=0) > 0 else "linear")
    style_axes(panel, "learning rate (no unit)", "validation loss (no unit)")
    return figure


def accuracy_by_group(
    correct: Bool[Tensor, " sample"], group: Int[Tensor, " sample"], label: str
) -> Figure:
    """Share of right decisions in each group of samples, with its 95 % interval and size."""
    names = group.unique().tolist()
    figure = empty_figure(2.2 + 0.55 * len(names), 3.4)
    panel = figure.subplots()
    for place, name in enumerate(names):
        own = correct[group == name]
        hits, total = int(own.sum()), len(own)
        low, high = wilson_interval(hits, total)
        share = 100 * hits / total
        panel.bar(place, share, color="#56B4E9", width=0.7)
        reach = [[max(0.0, share - 100 * low)], [max(0.0, 100 * high - share)]]
        panel.errorbar(place, share, yerr=reach, color=INK, linewidth=1, capsize=3)
        panel.text(place, 2, f"n = {total}", rotation=90, fontsize=7, ha="center", color=INK)
    style_axes(panel, label, "accuracy (%)")
    panel.set_xticks(range(len(names)), [str(name) for name in names])
    panel.set_ylim(0, 100)
    return figure


def accuracy_over_time(
    correct: Bool[Tensor, "point sample"], stable: Float[Tensor, " sample"], times: Sequence[float]
) -> Figure:
    """Accuracy of decisions on what was seen so far, and when decisions stay; times in s."""
    figure = empty_figure(6, 3.6)
    panel = figure.subplots()
    panel.plot(times, 100 * correct.float().mean(1), "o-", markersize=3, label="accuracy so far")
    share = [100 * (stable <= time).float().mean().item() for time in times]
    panel.plot(times, share, "--", color=INK, linewidth=1, label="decisions that stay")
    style_axes(panel, "time seen (s)", "share of samples (%)")
    panel.set_ylim(0, 101)
    panel.legend(frameon=False, fontsize=8)
    median = stable.median().item()
    panel.set_title(f"half of the decisions stay from {median:.3g} s on", fontsize=10)
    return figure


def rate_histogram(rates: dict[str, Float[Tensor, " neuron"]]) -> Figure:
    """How the neurons' mean rates in Hz are distributed, a panel a layer."""
    columns = min(len(rates), 3)
    lines = -(-len(rates) // 3)
    figure = empty_figure(max(3.4 * columns, 1), max(2.8 * lines, 1))
    for place, (name, values) in enumerate(rates.items(), start=1):
        panel = figure.add_subplot(lines, columns, place)
        panel.hist(values, bins=30, range=(0, values.max().item() or 1), color="#0072B2")
        panel.set_title(f"{name}: {(values == 0).sum()} of {len(values)} dead", fontsize=10)
        style_axes(panel, "mean rate (Hz)", "number of neurons")
        panel.yaxis.set_major_locator(whole_numbers())
    return figure


def confusion_matrix(counts: Int[Tensor, "class class"], class_names: Sequence[str]) -> Figure:
    """Number of samples by true class (row) and decision (column), coloured by share of the row."""
    size = len(counts)
    side = 3.2 + 0.18 * min(size, 20)
    figure = empty_figure(side + 0.6, side)
    panel = figure.subplots()
    shares = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    image = panel.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
    colour_bar(panel, image, "share of the true class (%)")
    if size <= 20:
        for row, column in torch.cartesian_prod(torch.arange(size), torch.arange(size)).tolist():
            colour = "white" if shares[row, column] > 55 else INK
            text = str(int(counts[row, column]))
            panel.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)
    style_axes(panel, "decided class", "true class", grid=False)
    ticks = range(0, size, -(-size // 40))
    names = [class_names[tick] for tick in ticks]
    panel.set_xticks(ticks, names, rotation=90 if sum(map(len, names)) > 40 else 0)
    panel.set_yticks(ticks, names)
    total = int(counts.sum())
    accuracy = 100 * int(counts.trace()) / max(total, 1)
    panel.set_title(f"accuracy {accuracy:.1f} % of {total} samples", fontsize=10)
    return figure
