"""What one sample caused: rasters and traces."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from snnexp.figures.style import (
    GREY,
    INK,
    PALE,
    class_styles,
    colour_bar,
    empty_figure,
    legend_beside,
    style_axes,
    whole_numbers,
)


def input_encoding(
    spikes: Float[Tensor, "time channel"], dt: float, marks: dict[str, float]
) -> Figure:
    """The input channels over time; dt and the marked times in s, t_early to t_late shaded."""
    figure = empty_figure(6.5, 3.4)
    panel = figure.subplots()
    factor, unit = time_unit(len(spikes) * dt)
    style_axes(panel, f"time ({unit})", "input channel")
    draw_channels(panel, spikes, dt * factor)
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
    figure = empty_figure(7, sum(heights) + 0.8)
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    factor, unit = time_unit(len(readout) * dt)
    layers = {"input\nchannel": inputs} | {f"{name}\nneuron": z for name, z in hidden.items()}
    for panel, (name, spikes) in zip(panels, layers.items(), strict=False):
        style_axes(panel, "", name)
        draw_channels(panel, spikes, dt * factor)
    draw_traces(panels[-1], readout, dt * factor, class_names)
    if threshold is not None:
        panels[-1].axhline(threshold, color=INK, linestyle=":", linewidth=1, label="threshold")
    style_axes(panels[-1], f"time ({unit})", "readout\n(no unit)")
    legend_beside(panels[-1])
    verdict = "right" if decision == label else "wrong"
    title = f"label {class_names[label]}, decision {class_names[decision]} ({verdict})"
    panels[0].set_title(title, fontsize=10)
    return figure


def draw_channels(panel: Axes, values: Float[Tensor, "time channel"], step: float) -> None:
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
            colour_bar(panel, ticks, "spikes per step", whole_numbers())
    else:
        area = {"aspect": "auto", "origin": "lower", "extent": extent}
        image = panel.imshow(values.T.numpy(), cmap="Greys", **area)
        panel.grid(False)
        colour_bar(panel, image, "value (no unit)")
    panel.set(xlim=extent[:2], ylim=extent[2:])
    panel.yaxis.set_major_locator(whole_numbers())


def draw_traces(
    panel: Axes, traces: Float[Tensor, "time class"], step: float, class_names: Sequence[str]
) -> None:
    """The trace of each class; `step` in the unit of the panel's time axis."""
    times = torch.arange(len(traces)) * step
    styles = class_styles(class_names)
    for trace, (name, colour, line_style, _) in zip(traces.T, styles, strict=True):
        panel.plot(times, trace, line_style, color=colour, linewidth=1.2, label=name)


def time_unit(duration: float) -> tuple[float, str]:
    """Factor from s and name of the unit in which a duration in s is a readable number."""
    for factor, name in ((1.0, "s"), (1e3, "ms")):
        if duration * factor >= 1:
            return factor, name
    return 1e6, "\N{MICRO SIGN}s"
