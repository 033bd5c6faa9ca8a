"""What the figures look like."""

from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

OKABE_ITO = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#56B4E9", "#D55E00", "#000000", "#F0E442"),
)
NAMED_COLOURS = {"yin": "#6392EB", "yang": "#D97C75", "dot": "#65AD68"}
LOOKS = (("-", "o"), ("--", "^"), (":", "s"))
INK, GREY, PALE = "#222222", "#888888", "#E8E8E8"


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure; sizes in inches."""
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def style_axes(panel: Axes, x_label: str, y_label: str, grid: bool = True) -> None:
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


def whole_numbers() -> MaxNLocator:
    """Ticks at whole numbers only."""
    return MaxNLocator(6, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)


def class_styles(class_names: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Name, colour, line style and marker of each class; the last two change every 8 classes."""
    for index, name in enumerate(class_names):
        times_used, place = divmod(index, len(OKABE_ITO))
        line_style, marker = LOOKS[times_used % len(LOOKS)]
        yield name, NAMED_COLOURS.get(name, OKABE_ITO[place]), line_style, marker


def colour_bar(
    panel: Axes, image: ScalarMappable, label: str, ticks: MaxNLocator | None = None
) -> None:
    """Beside the panel, and not taken from it: stacked panels keep a common time axis."""
    beside = panel.inset_axes((1.02, 0, 0.03, 1))
    bar = panel.figure.colorbar(image, cax=beside, ticks=ticks)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7, width=0.6, length=2)
    bar.outline.set_visible(False)


def legend_beside(panel: Axes) -> None:
    """A legend to the right of the panel, in two columns if it is long."""
    columns = 1 if len(panel.get_legend_handles_labels()[1]) <= 10 else 2
    look = {"ncols": columns, "labelspacing": 0.3, "frameon": False, "fontsize": 8}
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1), **look)


def picture(name: str) -> Path:
    """A picture's file, as a script's argument; refused if its name says no format."""
    if Path(name).suffix.removeprefix(".") not in FigureCanvasBase.get_supported_filetypes():
        raise ArgumentTypeError(f"{name}: no such format; end the name with .png, .pdf or .svg")
    return Path(name)
