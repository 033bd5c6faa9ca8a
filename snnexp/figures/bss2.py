"""The figures that BrainScaleS-2's Yin-Yang tutorial calls for, by the names that it calls."""

import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from snnexp.figures.style import GREY, INK, NAMED_COLOURS, PALE, empty_figure, style_axes


def plot_data(
    example: Float[Tensor, " feature"],
    data: Float[Tensor, "sample feature"],
    target: Int[Tensor, " sample"],
) -> Figure:
    """Points of the plane by class, 0 yin, 1 yang, 2 dot, and one example as a black diamond."""
    figure = empty_figure(6, 6)
    panel = figure.subplots()
    style_axes(panel, "x", "y", grid=False)
    panel.set_aspect("equal")
    for label, (name, colour) in enumerate(NAMED_COLOURS.items()):
        x, y = data[target == label, :2].T.tolist() or ([], [])
        panel.scatter(x, y, s=12, color=colour, linewidths=0, label=name)
    x, y = example[:2].tolist()
    panel.scatter([x], [y], s=70, color="black", marker="D", label="example", zorder=3)
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False, fontsize=9)
    return figure


def plot_input_encoding(
    spikes: Float[Tensor, "time channel"],
    t_early: float,
    t_late: float,
    t_bias: float,
    t_sim: float,
    dt: float,
) -> Figure:
    """Input spikes over a run of `t_sim`, with the times that the encoding names; all in s."""
    figure = empty_figure(8, 4)
    panel = figure.subplots()
    style_axes(panel, "time", "input channel", grid=False)
    step, channel = spikes.nonzero().T
    times = step.to(torch.float64) * dt
    panel.scatter(times.tolist(), channel.tolist(), s=160, marker="|", color=INK, linewidths=2)
    panel.axvspan(t_early, t_late, color=PALE, zorder=-1)
    marks = {0.0: "$0$", t_early: r"$t_\mathrm{early}$", t_bias: r"$t_\mathrm{bias}$"}
    marks |= {t_late: r"$t_\mathrm{late}$", t_sim: r"$T$"}
    for time in (t_early, t_bias, t_late):
        panel.axvline(time, color=GREY, linestyle=":", linewidth=1)
    panel.set_xticks(list(marks), list(marks.values()))
    panel.set_yticks(range(spikes.shape[1]))
    panel.set_xlim(-0.02 * t_sim, 1.02 * t_sim)
    panel.set_ylim(spikes.shape[1] - 0.5, -0.5)
    return figure
