"""Accuracy against operations: `python scripts/frontier.py LABEL=FILE... --figure FILE`.

Each FILE is the `trials.csv` of a sweep with the objectives `val/accuracy` and
`val/synops_effective_per_sample`; beside a point stands the trial's value of `--beside`.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from snnexp.figures.style import LOOKS, OKABE_ITO, empty_figure, picture, style_axes

ACCURACY, OPERATIONS = "val/accuracy", "val/synops_effective_per_sample"
Trials = Sequence[Mapping[str, str]]


def main(argv: list[str] | None = None) -> int:
    """Draw the figure; 2 for a file without trials of these objectives."""
    parser = argparse.ArgumentParser(description="Accuracy against effective operations.")
    parser.add_argument("sweeps", nargs="+", metavar="LABEL=FILE")
    parser.add_argument("--beside", default="model.hidden_sizes.0", metavar="PARAMETER")
    parser.add_argument("--figure", type=picture, required=True, metavar="FILE")
    arguments = parser.parse_args(argv)
    sweeps = {}
    for word in arguments.sweeps:
        label, _, file = word.rpartition("=")
        try:
            sweeps[label or Path(file).stem] = read(Path(file), arguments.beside)
        except (OSError, ValueError) as error:
            print(f"{word}: {error}", file=sys.stderr)
            return 2
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "snnexp"}):
        kept = {"Date": None} if arguments.figure.suffix == ".svg" else None
        arguments.figure.parent.mkdir(parents=True, exist_ok=True)
        draw(sweeps, arguments.beside).savefig(arguments.figure, metadata=kept)
    return 0


def read(file: Path, beside: str) -> Trials:
    """The completed trials, the fewest operations first."""
    with file.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("state") == "COMPLETE"]
    missing = [key for key in (ACCURACY, OPERATIONS, beside) if not rows or key not in rows[0]]
    if missing:
        raise ValueError(f"no completed trials with {', '.join(missing)}")
    return sorted(rows, key=lambda row: float(row[OPERATIONS]))


def draw(sweeps: Mapping[str, Trials], beside: str) -> Figure:
    """A line a sweep over a logarithmic axis of operations."""
    figure = empty_figure(5, 3.2)
    panel = figure.subplots()
    for (label, trials), colour, (_, marker) in zip(
        sweeps.items(), OKABE_ITO * len(sweeps), LOOKS * len(sweeps), strict=False
    ):
        points = [(float(row[OPERATIONS]), 100 * float(row[ACCURACY])) for row in trials]
        panel.plot(*zip(*points, strict=True), "-", marker=marker, color=colour, label=label)
        for row, point in zip(trials, points, strict=True):
            place = {"textcoords": "offset points", "xytext": (4, -9), "fontsize": 7}
            panel.annotate(row[beside], point, color=colour, **place)
    panel.set_xscale("log")
    style_axes(panel, "effective operations of a sample", "validation accuracy (%)")
    panel.set_title(f"beside the points: {beside}", fontsize=8)
    panel.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    sys.exit(main())
