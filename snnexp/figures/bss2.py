"""The figures that BrainScaleS-2's Yin-Yang tutorial calls for, by the names that it calls."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter
from torch import Tensor

from snnexp.checks import require_positive, require_whole
from snnexp.figures.style import (
    GREY,
    INK,
    NAMED_COLOURS,
    PALE,
    empty_figure,
    style_axes,
    whole_numbers,
)


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


def plot_training(
    n_hidden: int, t_sim: float, dt: float
) -> tuple[Callable[[], Figure], Callable[..., None], Callable[..., None]]:
    """A training as it goes: (update, update_train, update_test) to call on the way.

    update() draws what was told so far, gives the figure, and shows it in a notebook.
    update_train(n_batches, loss, acc, rate) tells of a batch, one of n_batches in an epoch.
    update_test(spikes_in, spikes_h, traces, data, target, scores, loss, acc, rate) tells of a test:
    input spikes [time, batch, channel], hidden spikes and output traces of the last batch, whose
    first sample is drawn; values [sample, feature], labels and scores [sample, class] of all.
    acc in percent, rate in hidden spikes a sample; t_sim, of a run, and dt in s.
    """
    require_whole(1, n_hidden=n_hidden)
    require_positive("s", t_sim=t_sim, dt=dt)
    training = _Training(n_hidden, t_sim, dt)
    return training.update, training.update_train, training.update_test


Point = tuple[float, float, float, float]
CURVES = ("loss", "accuracy (%)", "hidden spikes\na sample")


class _Training:
    """What was told: (epoch, loss, accuracy, rate) of batches and tests, and the last test."""

    def __init__(self, n_hidden: int, t_sim: float, dt: float):
        self.n_hidden, self.t_sim, self.dt = n_hidden, t_sim, dt
        self.epoch = 0.0
        self.batches: list[Point] = []
        self.tests: list[Point] = []
        self.sample: tuple[Tensor, Tensor, Tensor] | None = None
        self.points: tuple[Tensor, Tensor] | None = None

    def update_train(self, n_batches: int, loss: float, acc: float, rate: float) -> None:
        self.epoch += 1 / n_batches
        self.batches.append((self.epoch, loss, acc, rate))

    def update_test(
        self,
        spikes_in: Float[Tensor, "time batch channel"],
        spikes_h: Float[Tensor, "time batch neuron"],
        traces: Float[Tensor, "time batch class"],
        data: Float[Tensor, "sample feature"],
        target: Int[Tensor, " sample"],
        scores: Float[Tensor, "sample class"],
        loss: float,
        acc: float,
        rate: float,
    ) -> None:
        self.tests.append((self.epoch, loss, acc, rate))
        first = [part[:, 0].detach().cpu() for part in (spikes_in, spikes_h, traces)]
        self.sample = (first[0], first[1], first[2])
        self.points = data.detach().cpu(), scores.detach().cpu()

    def update(self) -> Figure:
        figure = Figure(figsize=(7, 12), dpi=100, layout="constrained")
        blocks: Any = figure.subfigures(3, 1, height_ratios=(5, 3, 6))
        above, middle, below = blocks
        self._draw_curves(above)
        if self.points is not None and self.sample is not None:
            _draw_shares(middle, *self.points)
            self._draw_sample(below, *self.sample)
        _show(figure)
        return figure

    def _draw_curves(self, block: SubFigure) -> None:
        panels = block.subplots(3, 1, sharex=True)
        for index, (panel, label) in enumerate(zip(panels, CURVES, strict=True), start=1):
            if self.batches:
                epochs, values = [row[0] for row in self.batches], [r[index] for r in self.batches]
                panel.plot(epochs, values, color="tab:blue", alpha=0.5, label="training, by batch")
            if self.tests:
                epochs, values = [row[0] for row in self.tests], [r[index] for r in self.tests]
                panel.plot(epochs, values, "o-", color="tab:red", markersize=4, label="test")
            style_axes(panel, "epoch" if index == 3 else "", label)
        panels[1].set_yscale("log")
        panels[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
        panels[1].yaxis.set_major_formatter(ScalarFormatter())
        panels[1].yaxis.set_minor_locator(NullLocator())
        panels[2].xaxis.set_major_locator(whole_numbers())
        if panels[0].lines:
            panels[0].legend(frameon=False, fontsize=8)

    def _draw_sample(self, block: SubFigure, inputs: Tensor, hidden: Tensor, out: Tensor) -> None:
        sent, spiking, reading = block.subplots(3, 1, sharex=True, height_ratios=(2, 3, 3))
        self._raster(sent, inputs, "input channel", inputs.shape[1])
        self._raster(spiking, hidden, "hidden neuron", self.n_hidden)
        times = [1e6 * self.dt * step for step in range(len(out))]
        for trace, (name, colour) in zip(out.T, NAMED_COLOURS.items(), strict=True):
            reading.plot(times, trace.tolist(), color=colour, linewidth=1.2, label=name)
        style_axes(reading, "time (\N{MICRO SIGN}s)", "output trace")
        reading.legend(frameon=False, fontsize=8)
        reading.set_xlim(0, 1e6 * self.t_sim)

    def _raster(self, panel: Axes, spikes: Tensor, label: str, channels: int) -> None:
        step, channel = spikes.nonzero().T.tolist()
        times = [1e6 * self.dt * s for s in step]
        panel.scatter(times, channel, s=12, marker="|", color=INK, linewidths=1)
        style_axes(panel, "", label)
        panel.set_ylim(-0.5, channels - 0.5)


def _draw_shares(block: SubFigure, data: Tensor, scores: Tensor) -> None:
    """The points, as opaque as their class' share of the scores; scores below 0 count as 0.

    Where no score is above 0, all classes have the same share.
    """
    positive = scores.clamp(min=0)
    total = positive.sum(1, keepdim=True)
    shares = torch.where(total > 0, positive / total, 1 / scores.shape[1])
    x, y = data[:, :2].T.tolist()
    panels = block.subplots(1, len(NAMED_COLOURS), sharey=True)
    for panel, share, (name, colour) in zip(panels, shares.T, NAMED_COLOURS.items(), strict=True):
        panel.scatter(x, y, s=10, color=colour, alpha=share.tolist(), linewidths=0)
        style_axes(panel, "x", "y" if panel is panels[0] else "", grid=False)
        panel.set_aspect("equal")
        panel.set_title(name, fontsize=10)


def _show(figure: Figure) -> None:
    """In a notebook, where nothing else shows a figure that is drawn within a cell."""
    notebook = sys.modules.get("IPython")
    if notebook is not None and notebook.get_ipython() is not None:
        notebook.display.display(figure)
