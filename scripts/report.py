"""The report of a sweep, at any time: `python scripts/report.py outputs/sweeps/yinyang_pareto`.

Makes `trials.csv`, `best.txt`, `plots/` and `tensorboard/` anew. Any two quantities against a third
as colour: `--plot X Y COLOUR`, with `--x-range`, `--y-range` and `--clip` for the colour.
"""

import argparse
import re
import sys
from pathlib import Path

from snnexp.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Write the report; 2 where there is no sweep or no such quantity."""
    parser = argparse.ArgumentParser(description="The table, best trials and figures of a sweep.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="outputs/sweeps/STUDY")
    parser.add_argument("--storage", metavar="URL", help="where the study is, if not as recorded")
    parser.add_argument("--no-figures", action="store_true")
    parser.add_argument("--html", action="store_true", help="interactive figures too, by plotly")
    parser.add_argument("--plot", nargs=3, metavar=("X", "Y", "COLOUR"))
    for name in ("x-range", "y-range", "clip"):
        parser.add_argument(f"--{name}", nargs=2, type=float, metavar=("LOW", "HIGH"))
    arguments = parser.parse_args(argv)
    try:
        run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Write what the arguments ask for."""
    from snnexp.sweeper import figures, report

    study = report.load(arguments.folder, arguments.storage)
    plots = arguments.folder / "plots"
    ranges = {
        "x_range": arguments.x_range and tuple(arguments.x_range),
        "y_range": arguments.y_range and tuple(arguments.y_range),
        "clip": arguments.clip and tuple(arguments.clip),
    }
    if not arguments.plot:
        report.write(study, arguments.folder, figures=not arguments.no_figures)
    else:
        plots.mkdir(exist_ok=True)
        words = [re.sub(r"[^a-z0-9]+", "-", name.lower()) for name in arguments.plot]
        path = plots / f"{'_'.join(words)}.png"
        figures.scatter(study, *arguments.plot, **ranges).savefig(path, dpi=150)
        print(path)
    if arguments.html:
        from snnexp.sweeper import html

        for path in html.save_all(study, plots, arguments.plot, **ranges):
            print(path)


if __name__ == "__main__":
    sys.exit(main())
