"""The validation accuracy of several runs in one picture: `python scripts/overlay.py A B`.

The last figure of Spyx' SHD tutorial, which shows what gradient centralization does:

    python scripts/overlay.py outputs/GC outputs/NO_GC --labels "Gradient centralization" "None"
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from snnexp import figures, folders
from snnexp.errors import RunError, UserError
from snnexp.figures.style import picture
from snnexp.loggers import EpochTable


def main(argv: list[str] | None = None) -> int:
    """Draw the picture; 2 where a folder is no finished run with a table of its epochs."""
    parser = argparse.ArgumentParser(description="Validation accuracy of runs by epoch.")
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="DIR", help="folders of finished runs"
    )
    parser.add_argument("--labels", nargs="+", metavar="TEXT", help="one a run; by default its DIR")
    parser.add_argument("--line", type=float, default=0.9, metavar="SHARE", help="a dashed line")
    parser.add_argument("--plot", type=picture, default=Path("overlay.png"), metavar="FILE")
    arguments = parser.parse_args(argv)
    try:
        overlay(arguments.runs, arguments.labels, arguments.line, arguments.plot)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def overlay(runs: Sequence[Path], labels: Sequence[str] | None, line: float, file: Path) -> None:
    """Read the runs and write the picture; its title says which data they used."""
    names = list(labels or map(str, runs))
    if len(set(names)) != len(runs):
        raise RunError(f"--labels: {names} for {len(runs)} runs; give each one of its own")
    if not 0 <= line <= 1:
        raise RunError(f"--line: {line}; it must lie between 0 and 1")
    read = [_read(run) for run in runs]
    curves = {name: accuracies for name, (accuracies, _) in zip(names, read, strict=True)}
    title = ", ".join(dict.fromkeys(source for _, source in read if source))
    file.parent.mkdir(parents=True, exist_ok=True)
    figures.accuracy_overlay(curves, line, title).savefig(file, dpi=150)
    print(f"drawn in {file}")


def _read(run: Path) -> tuple[dict[int, float], str]:
    """The validation accuracy of each epoch, and the data's source, if it is known."""
    summary = folders.summary(run)
    if summary is None:
        raise RunError(f"{run}: no finished run; it has no {folders.SUMMARY}")
    rows = EpochTable(save_dir=str(run)).rows
    found = {n: row["val/accuracy"] for n, row in rows.items() if "val/accuracy" in row}
    if not found:
        raise RunError(f"{run}: no validation accuracies in metrics.csv; run with logger=[table]")
    return found, summary.get("dataset/source", "")


if __name__ == "__main__":
    raise SystemExit(main())
