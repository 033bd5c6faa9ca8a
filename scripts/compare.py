"""Is A better than B? `python scripts/compare.py outputs/a outputs/b --metric test/accuracy`.

Paired by seed: two runs of one seed share their data and their random numbers, so their difference
spreads less than their values; where the data are not the same, a note says so. Two variants of one
multirun: `outputs/x:model=lif outputs/x:model=alif`.
"""

import argparse
import csv
import math
import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnexp import comparison, results
from snnexp.errors import RunError, UserError
from snnexp.figures.style import picture

CURVE = "val/accuracy"


def main(argv: list[str] | None = None) -> int:
    """Print the comparison and draw the curves; 2 where the folders do not allow it."""
    parser = argparse.ArgumentParser(description="Is A better than B? Paired by seed.")
    for name in ("a", "b"):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help="a folder of runs of one configuration, or DIR:OVERRIDE for a part of it",
        )
    parser.add_argument("--metric", default="test/accuracy")
    parser.add_argument(
        "--direction",
        choices=("maximize", "minimize"),
        help="what is better; by default maximize an accuracy, minimize its deviation and all else",
    )
    parser.add_argument("--plot", type=picture, default=Path("compare.png"), metavar="FILE")
    arguments = parser.parse_args(argv)
    is_spread = arguments.metric.endswith("_sd")
    default = "maximize" if "accuracy" in arguments.metric and not is_spread else "minimize"
    try:
        a, b = select(arguments.a), select(arguments.b)
        compare(a, b, arguments.metric, arguments.direction or default)
        plot(a, b, arguments.plot)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def select(place: str) -> results.Group:
    """The runs of `DIR` or `DIR:OVERRIDE[:OVERRIDE...]`, which must be of one configuration."""
    folder, *wanted = [place] if Path(place).exists() else place.split(":")
    runs, _ = results.require_runs([folder])
    chosen = [run for run in runs if set(wanted) <= {word.lstrip("+") for word in run.overrides}]
    if not chosen:
        known = sorted({word for run in runs for word in run.overrides})
        raise RunError(f"{place}: no run has these overrides; known are {', '.join(known)}")
    groups = results.describe_groups(chosen)
    if len(groups) > 1:
        labels = "\n".join(f"  {group.label}" for group in groups)
        raise RunError(
            f"{place}: holds {len(groups)} configurations:\n{labels}\n{_way(place, groups)}"
        )
    return replace(groups[0], label=place)


def _way(place: str, groups: Sequence[results.Group]) -> str:
    """How to choose a group: the first that one of its overrides tells from all others."""
    typed = [{w.lstrip("+") for w in group.runs[0].overrides if ":" not in w} for group in groups]
    for index, own in enumerate(typed):
        others = set().union(*typed[:index], *typed[index + 1 :])
        for word in sorted(own - others):
            if not word.startswith("seed="):
                return f"choose one by an override, as {shlex.quote(f'{place}:{word}')} does"
    folder = groups[0].runs[0].folder
    return f"choose one by its folder; {folder} is a run of the first one"


def compare(a: results.Group, b: results.Group, metric: str, direction: str) -> None:
    """Print both means, their difference with its interval, and a sentence."""
    values_a, values_b = (_values(group, metric) for group in (a, b))
    difference = comparison.paired_difference(values_a, values_b)
    seeds = difference.seeds
    print(f"{metric} ({'higher' if direction == 'maximize' else 'lower'} is better)")
    for name, label, values in zip("AB", _labels(a, b), (values_a, values_b), strict=True):
        print(f"  {name}: {comparison.summarize([values[seed] for seed in seeds])}   {label}")
    print(f"  A - B: {difference.statistic}, {_interval(difference)}")
    for name, own in (("A", difference.unpaired_a), ("B", difference.unpaired_b)):
        if own:
            print(f"  only {name} has seed {', '.join(map(str, own))}: left out")
    if data := results.told_apart([a, b], "dataset"):
        print(f"note: the data are not the same, which pairing supposes: A {data[0]}, B {data[1]}")
    print(verdict(difference, direction))


def verdict(difference: comparison.Difference, direction: str) -> str:
    """One sentence: which is better, or how many more seeds could tell."""
    count, mean = len(difference.seeds), difference.statistic.mean
    if difference.interval is None:
        return "It cannot be told: one common seed gives no interval; run at least 2 more seeds."
    if not math.isfinite(mean):
        return "It cannot be told: a value is not a finite number."
    low, high = difference.interval
    if low > 0 or high < 0:
        winner = "A" if (mean > 0) == (direction == "maximize") else "B"
        return f"{winner} is better, by {abs(mean):.3g} over {count} seeds."
    if mean == 0:
        return f"It cannot be told: over {count} seeds there is no difference at all."
    needed = comparison.seeds_needed(difference.statistic)
    if needed is None:
        return (
            "It cannot be told; if the difference is as it looks, "
            f"not even {comparison.MOST_SEEDS} seeds would tell."
        )
    more = max(1, needed - count)
    return (
        "It cannot be told; if the difference is as it looks, "
        f"roughly {more} more seed{'s' * (more > 1)} would tell ({needed} in all)."
    )


def plot(a: results.Group, b: results.Group, file: Path) -> None:
    """Draw the learning curves of the common seeds: each seed thin, the mean thick."""
    common = {run.seed for run in a.runs} & {run.seed for run in b.runs}
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    told = results.describe([a.runs, b.runs])
    labels = told if told[0] != told[1] else [a.label, b.label]
    for name, group, label, color in zip("AB", (a, b), labels, ("C0", "C1"), strict=True):
        curves = [read_curve(run.folder) for run in group.runs if run.seed in common]
        _draw(axes, [curve for curve in curves if curve], f"{name}: {label}", color)
    if not axes.lines:
        print(f"no curves drawn: no run has {CURVE} in its metrics.csv")
        return
    axes.set(xlabel="epoch", ylabel=CURVE)
    figure.legend(loc="outside lower center", fontsize="small")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    print(f"learning curves: {file}")


def read_curve(folder: Path) -> dict[int, float]:
    """`CURVE` by epoch; empty where the run wrote none."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return {}
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get(CURVE)]
    return {int(float(row["epoch"])): float(row[CURVE]) for row in rows}


def _draw(axes: Axes, curves: Sequence[Mapping[int, float]], label: str, color: str) -> None:
    for curve in curves:
        axes.plot(list(curve), list(curve.values()), color=color, linewidth=0.7, alpha=0.5)
    if curves:
        # only epochs that all seeds reached: elsewhere the mean would jump as seeds drop out
        epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
        means = [sum(curve[epoch] for curve in curves) / len(curves) for epoch in epochs]
        text = textwrap.fill(label, 60).replace("$", r"\$")
        axes.plot(epochs, means, color=color, linewidth=2.5, label=text)


def _labels(a: results.Group, b: results.Group) -> list[str]:
    """Where the runs are, and in what they differ."""
    told = results.describe([a.runs, b.runs])
    if told[0] == told[1]:
        return [a.label, b.label]
    return [f"{group.label} ({text})" for group, text in zip((a, b), told, strict=True)]


def _values(group: results.Group, metric: str) -> dict[int, float]:
    results.require_metric([group], metric)
    return group.values(metric)


def _interval(difference: comparison.Difference) -> str:
    seeds = ", ".join(map(str, difference.seeds))
    if difference.interval is None:
        return f"no interval from one seed ({seeds})"
    low, high = difference.interval
    return f"95 % interval [{low:.4g}, {high:.4g}], paired over the seeds {seeds}"


if __name__ == "__main__":
    sys.exit(main())
