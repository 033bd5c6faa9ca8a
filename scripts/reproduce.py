"""Experiments against their reference values: `python scripts/reproduce.py yinyang_bss2`.

An experiment states what it should score:

    reference:
      source: "Title, year, table"
      seeds: [0, 1, 2]
      metric: test/accuracy
      value: 0.978
      tolerance: 0.005      # a mean below value - tolerance fails
      direction: maximize   # the default; minimize turns it round

Seeds without a row in `results/EXPERIMENT.csv` are run; what follows `--` goes to every run.
`--markdown` prints the README's table of the rows that there are, and runs nothing.
Exit status: 0 all within tolerance, 1 one is outside or a run failed, 2 bad input.
"""

import argparse
import csv
import difflib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from snnexp import comparison, config, folders, results
from snnexp.errors import ConfigError, RunError, UserError

ROOT = Path(__file__).resolve().parent.parent
KEPT = (
    "test/accuracy",
    "val/accuracy",
    "test/loss",
    "test/rate_hz",
    "test/spikes_per_sample",
    "test/synops_ac_per_sample",
    "test/synops_mac_per_sample",
    "epoch/best",
    "seconds/train",
    "seconds/total",
    "device",
    "commit",
    "finished",
)
"""What of a summary a row keeps, besides the metric of the reference."""

TOLD = {
    "spikes": "test/spikes_per_sample",
    "ACs": "test/synops_ac_per_sample",
    "MACs": "test/synops_mac_per_sample",
    "seconds": "seconds/total",
}
"""Columns of the README's table, of which it has the means."""

COLUMNS: tuple[str, ...] = (
    "experiment",
    "seed",
    "configuration",
    "metric",
    "value",
    *KEPT,
    "torch",
)

Compose = Callable[[str, Sequence[str]], DictConfig]
Execute = Callable[[list[str]], int]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What an experiment should score, and from where that is known."""

    source: str
    seeds: tuple[int, ...]
    metric: str
    value: float
    tolerance: float
    direction: str = "maximize"

    def holds(self, mean: float) -> bool:
        """Whether a mean is within tolerance; never for a mean that is not a number."""
        sign = 1 if self.direction == "maximize" else -1
        return sign * (mean - self.value) >= -self.tolerance - 1e-12


@dataclass(frozen=True)
class Plan:
    """One experiment: what to run, and the fingerprint that its rows must have."""

    name: str
    reference: Reference
    seeds: tuple[int, ...]
    fingerprint: str
    extra: tuple[str, ...]
    file: Path


def main(argv: list[str] | None = None) -> int:
    """Run, compare, and say by the exit status whether all references hold."""
    words = sys.argv[1:] if argv is None else list(argv)
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description="Experiments against their reference values.")
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT")
    parser.add_argument("--seeds", type=_seeds, metavar="N,...", help="instead of the reference's")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="DIR")
    parser.add_argument("--markdown", action="store_true", help="print the README's table alone")
    parser.epilog = "Overrides for every run follow after --."
    arguments = parser.parse_args(words[:split])
    extra = words[split + 1 :]
    try:
        plans = [
            prepare(name, arguments.seeds, extra, arguments.results, compose)
            for name in dict.fromkeys(arguments.experiments)
        ]
        if arguments.markdown:
            print("\n".join(tell(plans)))
            return 0
        return reproduce(plans, ROOT, execute)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def execute(command: list[str]) -> int:
    """Run a command at the root of the checkout; its exit status."""
    sys.stdout.flush()  # what was printed so far comes before what the command prints
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def compose(name: str, extra: Sequence[str]) -> DictConfig:
    """The configuration of an experiment; ConfigError for an unknown name or override."""
    import hydra
    from hydra.errors import HydraException

    folder = config.directory() / "experiment"
    known = sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml"))
    if name not in known:
        close = difflib.get_close_matches(name, known) or known
        raise ConfigError(f"experiment={name}: unknown; choose {', '.join(close) or '(none yet)'}")
    place = str(config.directory())
    try:
        with hydra.initialize_config_dir(config_dir=place):
            return hydra.compose("train", overrides=[f"experiment={name}", *extra])
    except HydraException as error:
        raise ConfigError(f"experiment={name}: cannot be composed; {error}") from error


def prepare(
    name: str, seeds: tuple[int, ...] | None, extra: Sequence[str], folder: Path, compose: Compose
) -> Plan:
    """The plan of an experiment; everything that can be wrong in the input is refused here."""
    for word in extra:
        if word.lstrip("+").partition("=")[0] in ("seed", "experiment", "hydra.run.dir"):
            raise ConfigError(f"{word}: set by this script; leave it out, or use --seeds")
    cfg = compose(name, extra)
    reference = read_reference(name, cfg)
    mark = results.fingerprint(results.setting_of(cfg))
    file = folder / f"{name}.csv"
    return Plan(name, reference, seeds or reference.seeds, mark, tuple(extra), file)


def read_reference(name: str, cfg: DictConfig) -> Reference:
    """The `reference:` of a composed experiment, checked."""
    place = f"conf/experiment/{name}.yaml, reference"
    node = OmegaConf.select(cfg, "reference")
    if not isinstance(node, DictConfig):
        raise ConfigError(f"{place}: {node!r}; give source, seeds, metric, value and tolerance")
    values = cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))
    names = [field.name for field in fields(Reference)]
    missing = [key for key in names if key not in values and key != "direction"]
    unknown = [key for key in values if key not in names]
    if missing or unknown:
        faults = [f"{key}: missing" for key in missing] + [f"{key}: unknown" for key in unknown]
        raise ConfigError(
            f"{place}: {', '.join(faults)}; give {', '.join(names[:-1])} (and direction)"
        )
    _check_reference(place, values)
    values["seeds"] = tuple(values["seeds"])
    return Reference(**values)


def reproduce(plans: Sequence[Plan], root: Path, execute: Execute) -> int:
    """Measure what has no row yet, print the table; 1 where a reference does not hold."""
    report = Table("experiment")
    for heading in ("metric", "measured", "n", "reference", "tolerance", "verdict", "seconds"):
        report.add_column(heading, justify="right")
    known = {plan.name: read_rows(plan) for plan in plans}  # a bad file is refused before a run
    all_hold = True
    for plan in plans:
        rows = measure(plan, known[plan.name], root, execute)
        cells, holds = judge(plan, rows)
        report.add_row(plan.name, *cells)
        all_hold = all_hold and holds
    results.console().print(report)
    return 0 if all_hold else 1


def tell(plans: Sequence[Plan]) -> list[str]:
    """The lines of the README's table: of each experiment that has current rows, their means."""
    lines = ["| `python train.py` | test accuracy | seeds | " + " | ".join(TOLD) + " |"]
    lines.append("|---" * (3 + len(TOLD)) + "|")
    for plan in plans:
        current = read_rows(plan)
        rows = [current[seed] for seed in plan.seeds if seed in current]
        if not rows:
            raise RunError(
                f"{plan.name}: no current row in {plan.file}; run it without --markdown first"
            )
        accuracy = comparison.summarize([100 * float(row["test/accuracy"]) for row in rows])
        spread = "" if accuracy.deviation is None else f" ± {accuracy.deviation:.2f}"
        cells = [f"`experiment={plan.name}`", f"{accuracy.mean:.2f}{spread} %", str(len(rows))]
        for key in TOLD.values():
            known = [float(row[key]) for row in rows if row[key]]
            cells.append(f"{sum(known) / len(known):,.0f}" if known else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def measure(plan: Plan, rows: dict[int, dict[str, Any]], root: Path, execute: Execute) -> list:
    """The row of every seed that has one or could be run; new ones are added to the file."""
    found = []
    for seed in plan.seeds:
        row = rows.get(seed)
        if row is None:
            run = run_seed(plan, seed, root, execute)
            if run is None:
                continue
            row = make_row(plan, run)
            append_row(plan.file, row)
        else:
            commit = row["commit"] or "unknown"
            print(f"{plan.name}, seed {seed}: row of {plan.file} used, measured at commit {commit}")
        found.append(row)
    return found


def run_seed(plan: Plan, seed: int, root: Path, execute: Execute) -> results.Run | None:
    """The run of a seed, read where it is complete, else run or continued; None if it failed."""
    place = choose_folder(plan, seed, root)
    folder = root / place
    if results.is_complete(folder):
        return results.read_run(folder)
    command = [sys.executable, "train.py", f"experiment={plan.name}", f"seed={seed}"]
    status = execute([*command, f"hydra.run.dir={place.as_posix()}", *plan.extra])
    if status or not results.is_complete(folder):
        print(f"{plan.name}, seed {seed}: failed with exit status {status}; see {folder}")
        return None
    run = results.read_run(folder)
    if results.fingerprint(run.setting) != plan.fingerprint:
        print(f"{plan.name}, seed {seed}: failed, {folder} is of another configuration")
        return None
    return run


def choose_folder(plan: Plan, seed: int, root: Path) -> Path:
    """Where a seed is run, from the root; a folder of another configuration is left alone."""
    place = Path("outputs") / "reproduce" / plan.name / str(seed)
    if not (root / place / folders.CONFIG).is_file():
        return place
    if results.fingerprint(results.read_setting(root / place)) == plan.fingerprint:
        return place
    other = place.with_name(f"{seed}-{plan.fingerprint}")
    print(f"{plan.name}, seed {seed}: {place} is of another configuration; using {other}")
    return other


def make_row(plan: Plan, run: results.Run) -> dict[str, Any]:
    """What the CSV keeps of a run."""
    metric = plan.reference.metric
    results.require_metric([results.Group(plan.name, (run,))], metric)
    versions = run.summary.get("versions") or {}
    return {
        "experiment": plan.name,
        "seed": run.seed,
        "configuration": plan.fingerprint,
        "metric": metric,
        "value": run.summary[metric],
        **{key: run.summary.get(key, "") for key in KEPT},
        "torch": versions.get("torch", ""),
    }


def read_rows(plan: Plan) -> dict[int, dict[str, Any]]:
    """The rows by seed that were measured with the current configuration."""
    if not plan.file.is_file():
        return {}
    with plan.file.open(newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise RunError(f"{plan.file}: not the columns of this version; move the file away")
        rows = list(reader)
    current, others = {}, set()
    for line, row in enumerate(rows, start=2):
        try:
            row |= {"seed": int(row["seed"]), "value": float(row["value"])}
        except (TypeError, ValueError) as error:
            raise RunError(f"{plan.file}, line {line}: {error}; correct or remove it") from error
        if (row["configuration"], row["metric"]) == (plan.fingerprint, plan.reference.metric):
            current[row["seed"]] = row
        elif row["seed"] in plan.seeds:
            others.add(row["seed"])
    if stale := sorted(others - current.keys()):
        print(
            f"{plan.name}: the rows of seed {', '.join(map(str, stale))} in {plan.file} are of "
            f"another configuration or metric (now {plan.fingerprint}): not used"
        )
    return current


def append_row(file: Path, row: dict[str, Any]) -> None:
    """Add a row, under a header where the file is new."""
    file.parent.mkdir(parents=True, exist_ok=True)
    is_new = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def judge(plan: Plan, rows: Sequence[dict[str, Any]]) -> tuple[list[str], bool]:
    """The cells of the table, and whether every seed ran and the mean is within tolerance."""
    reference, failed = plan.reference, len(plan.seeds) - len(rows)
    known = [f"{reference.value:g}", f"{reference.tolerance:g}"]
    if not rows:
        return [reference.metric, "-", "0", *known, "no run finished", "-"], False
    measured = comparison.summarize([float(row["value"]) for row in rows])
    holds = reference.holds(measured.mean)
    verdict = "within" if holds else "OUTSIDE"
    if failed:
        verdict += f", {failed} of {len(plan.seeds)} seeds failed"
    seconds = [
        float(row["seconds/total"]) for row in rows if row["seconds/total"] not in ("", None)
    ]
    total = f"{sum(seconds):.0f}" if seconds else "-"
    cells = [reference.metric, str(measured), str(measured.count), *known, verdict, total]
    return cells, holds and not failed


def _check_reference(place: str, values: dict[str, Any]) -> None:
    seeds = values["seeds"]
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"{place}.seeds: {seeds!r}; give different whole numbers, as [0, 1, 2]")
    for key in ("value", "tolerance"):
        if type(values[key]) not in (int, float):
            raise ConfigError(f"{place}.{key}: {values[key]!r}; it must be a number")
    if not values["tolerance"] >= 0:
        raise ConfigError(f"{place}.tolerance: {values['tolerance']}; it must be at least 0")
    if values.get("direction", "maximize") not in ("maximize", "minimize"):
        raise ConfigError(
            f"{place}.direction: {values['direction']!r}; choose maximize or minimize"
        )


def _seeds(text: str) -> tuple[int, ...]:
    """The argument of --seeds."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}; give whole numbers, such as 0,1,2")
    return tuple(dict.fromkeys(int(part) for part in parts))


if __name__ == "__main__":
    sys.exit(main())
