"""Maps of data sets that lie in the plane."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from snnexp.figures.style import class_styles, colour_bar, empty_figure, legend_beside, style_axes

PLANE = ("first feature (no unit)", "second feature (no unit)")
Extent = tuple[float, float, float, float]
"""The outer edges of a map: left, right, bottom, top."""


def plane_data(
    values: Float[Tensor, "sample feature"],
    labels: Int[Tensor, " sample"],
    class_names: Sequence[str],
) -> Figure:
    """The samples in the plane of their first two features, coloured by class."""
    figure = empty_figure(5, 4)
    panel = figure.subplots()
    draw_points(panel, values, labels, class_names, size=12)
    style_axes(panel, *PLANE)
    legend_beside(panel)
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
    figure = empty_figure(5.2, 4.2)
    panel = figure.subplots()
    colours = torch.tensor([to_rgb(colour) for _, colour, *_ in class_styles(class_names)])
    outside = scores.isnan().any(-1, keepdim=True)
    tints = 1 - 0.4 * (1 - colours[scores.nan_to_num().argmax(-1)])
    image = tints.masked_fill(outside, 1)
    panel.imshow(image.numpy(), extent=extent, origin="lower", interpolation="nearest")
    wrong = decisions != labels
    draw_points(panel, values[~wrong], labels[~wrong], class_names, size=5)
    points = values[wrong, :2].T
    panel.scatter(*points, s=22, c=colours[labels[wrong]].tolist(), linewidths=0)
    panel.scatter(*points, s=22, c="none", edgecolors="black", linewidths=1.2, label="error")
    style_axes(panel, *PLANE, grid=False)
    legend_beside(panel)
    share = 100 * int(wrong.sum()) / max(len(labels), 1)
    panel.set_title(f"{wrong.sum()} errors of {len(labels)} samples ({share:.1f} %)", fontsize=10)
    return figure


def score_maps(
    scores: Float[Tensor, "row column class"], extent: Extent, class_names: Sequence[str]
) -> Figure:
    """Each class's score over the plane; where it is NaN the map stays white."""
    columns = min(len(class_names), 4)
    lines = -(-len(class_names) // 4)
    figure = empty_figure(3.2 * columns, 2.8 * lines)
    for index, name in enumerate(class_names):
        panel = figure.add_subplot(lines, columns, index + 1)
        image = panel.imshow(scores[..., index].numpy(), extent=extent, origin="lower")
        colour_bar(panel, image, "score (no unit)")
        style_axes(panel, *PLANE, grid=False)
        panel.set_title(name, fontsize=10)
    return figure


def draw_points(
    panel: Axes,
    values: Float[Tensor, "sample feature"],
    labels: Int[Tensor, " sample"],
    class_names: Sequence[str],
    size: float,
) -> None:
    """The samples of each class at their first two features; `size` in points squared."""
    for index, (name, colour, _, marker) in enumerate(class_styles(class_names)):
        points = values[labels == index, :2].T
        panel.scatter(*points, s=size, color=colour, marker=marker, linewidths=0, label=name)
    panel.set_aspect("equal")
