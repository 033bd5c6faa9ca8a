"""What survives the chip: `python scripts/robustness.py multirun/bss2_robustness --csv FILE`.

Of the runs of `sweep=bss2_robustness` one row a preset and one column a way of training: test
accuracy, mean ± sample standard deviation over chips, in per cent, and the number of chips. A
chip's accuracy is the mean of its repeated tests. `--figure FILE` draws every chip.
"""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path

from rich.table import Table

from snnexp import figures, results
from snnexp.comparison import summarize
from snnexp.errors import UserError
from snnexp.figures.style import picture

Cells = dict[tuple[str, str], list[float]]


def main(argv: list[str] | None = None) -> int:
    """Print the table; 2 where the folder has no runs."""
    parser = argparse.ArgumentParser(description="Accuracy by preset and way of training.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table there")
    parser.add_argument("--figure", type=picture, metavar="FILE", help="also draw every chip there")
    arguments = parser.parse_args(argv)
    try:
        runs, unfinished = results.require_runs([arguments.folder])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    cells = collect(runs)
    results.console().print(table(cells))
    if unfinished:
        print(f"{len(unfinished)} runs are incomplete and left out")
    for file in filter(None, (arguments.csv, arguments.figure)):
        file.parent.mkdir(parents=True, exist_ok=True)
    if arguments.csv:
        write_csv(arguments.csv, cells)
    if arguments.figure:
        figures.accuracy_over_chips(cells).savefig(arguments.figure)
    return 0


def collect(runs: list[results.Run]) -> Cells:
    """Accuracies of single chips by preset and way of training, from runs on a chip."""
    cells: Cells = defaultdict(list)
    for run in runs:
        backend = run.setting["backend"]
        if backend.get("level") == "chip":
            one = [run.summary["test/accuracy"]]
            chips = run.summary.get("test/accuracy_chips", one)
            cells[backend["preset"]["name"], backend["training"]] += chips
    return cells


def table(cells: Cells) -> Table:
    """Presets down, ways of training across, in the order of the runs."""
    ways = list(dict.fromkeys(way for _, way in cells))
    built = Table("preset", *ways)
    for preset in dict.fromkeys(preset for preset, _ in cells):
        built.add_row(preset, *(_cell(cells.get((preset, way), [])) for way in ways))
    return built


def _cell(accuracies: list[float]) -> str:
    if not accuracies:
        return "-"
    found = summarize([100 * accuracy for accuracy in accuracies])
    spread = "" if found.deviation is None else f" ± {found.deviation:.2f}"
    return f"{found.mean:.2f}{spread} ({found.count})"


def write_csv(file: Path, cells: Cells) -> None:
    """One row a cell."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["preset", "training", "accuracy mean", "accuracy sd", "chips", "each"])
        for (preset, way), accuracies in cells.items():
            found = summarize(accuracies)
            each = " ".join(map(str, accuracies))
            writer.writerow([preset, way, found.mean, found.deviation, found.count, each])


if __name__ == "__main__":
    sys.exit(main())
