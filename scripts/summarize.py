"""Tables from disk: `python scripts/summarize.py outputs/ --metric test/accuracy --csv table.csv`.

One row a configuration: mean ± sample standard deviation over its seeds.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from snnexp import comparison, results
from snnexp.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Print the table; 2 where the folders or metrics are not there."""
    parser = argparse.ArgumentParser(description="Finished runs as a table, one row a variant.")
    parser.add_argument("folders", nargs="+", metavar="DIR", type=Path, help="searched for runs")
    parser.add_argument("--metric", nargs="+", action="extend", metavar="NAME", dest="metrics")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table there")
    arguments = parser.parse_args(argv)
    try:
        summarize(arguments.folders, arguments.metrics, arguments.csv)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def summarize(folders: Sequence[Path], metrics: Sequence[str] | None, file: Path | None) -> None:
    """Print the table of the runs below some folders, and what is incomplete there."""
    runs, unfinished = results.require_runs(folders)
    groups = results.describe_groups(runs)
    for metric in metrics or ():
        results.require_metric(groups, metric)
    shown = results.present(groups, metrics or results.METRICS)
    results.console().print(results.table(groups, shown))
    if unfinished:
        count = "1 run is" if len(unfinished) == 1 else f"{len(unfinished)} runs are"
        print(f"{count} incomplete (killed, or still running) and left out; continue by")
        print("\n".join(f"  {results.continuation(folder)}" for folder in unfinished))
    if file:
        write_csv(file, groups, shown)


def write_csv(file: Path, groups: Sequence[results.Group], metrics: Sequence[str]) -> None:
    """One row a group; a metric has three columns: its mean, its deviation, its number of seeds."""
    parts = ("mean", "sd", "n")
    heads = [f"{metric} {part}" for metric in metrics for part in parts]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["configuration", "n", *heads])
        for group in groups:
            row: list[str | float | None] = [group.label, len(group.runs)]
            for metric in metrics:
                values = list(group.values(metric).values())
                found = comparison.summarize(values) if values else comparison.Statistic(0, None, 0)
                row += [found.mean if values else None, found.deviation, found.count]
            writer.writerow(row)


if __name__ == "__main__":
    sys.exit(main())
