"""Finished runs read from disk: grouped by configuration, averaged and compared over seeds."""

import difflib
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from yaml import YAMLError

from snnexp.checks import is_number
from snnexp.comparison import summarize
from snnexp.errors import RunError
from snnexp.folders import CONFIG, SUMMARY
from snnexp.folders import summary as read_summary

METRICS = (
    "test/accuracy",
    "val/accuracy",
    "test/rate_hz",
    "test/spikes_per_sample",
    "test/synops_ac_per_sample",
    "seconds/total",
)
"""What a table shows where nothing else is asked for."""

IGNORED = ("seed", "reference", "energy")
"""Keys of a configuration that do not tell one variant from another."""


@dataclass(frozen=True)
class Run:
    """A complete run. `setting` is its configuration without the seed, see `setting_of`."""

    folder: Path
    config: dict[str, Any]
    overrides: tuple[str, ...]
    summary: dict[str, Any]
    setting: dict[str, Any]

    @property
    def seed(self) -> int:
        return self.config["seed"]


@dataclass(frozen=True)
class Group:
    """Runs of one setting, one a seed, in the order of the seeds; `repeats` were left out."""

    label: str
    runs: tuple[Run, ...]
    repeats: int = 0

    def values(self, metric: str) -> dict[int, float]:
        """The metric of every seed that has it as a number."""
        found = {run.seed: run.summary[metric] for run in self.runs if metric in run.summary}
        return {seed: float(value) for seed, value in found.items() if is_number(value)}


def find_runs(folders: Sequence[Path | str]) -> tuple[list[Run], list[Path]]:
    """The complete runs in the given folders and below, and the folders of the incomplete ones."""
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        for run in _walk(folder):
            found.setdefault(run.resolve(), run)
    complete = [read_run(folder) for folder in found.values() if is_complete(folder)]
    return complete, [folder for folder in found.values() if not is_complete(folder)]


def require_runs(folders: Sequence[Path | str]) -> tuple[list[Run], list[Path]]:
    """As `find_runs`; RunError where no complete run is found."""
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise RunError(f"{folder}: no such folder; name a run, a multirun or outputs/")
    runs, unfinished = find_runs(folders)
    if not runs:
        ways = "\n".join(continuation(folder) for folder in unfinished)
        way = f"continue an incomplete one:\n{ways}" if ways else "start one: python train.py"
        raise RunError(f"{', '.join(map(str, folders))}: no complete run there; {way}")
    return runs, unfinished


def is_complete(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / SUMMARY).is_file() and (folder / CONFIG).is_file()


def continuation(folder: Path) -> str:
    """The command that continues an incomplete run."""
    return f"python train.py {shlex.quote(f'resume={folder}')}"


def read_run(folder: Path) -> Run:
    """The run of a complete folder; RunError where a file of it cannot be read."""
    config, setting = _read_config(folder)
    summary = read_summary(folder) or {}
    path = folder / ".hydra" / "overrides.yaml"
    try:
        overrides = OmegaConf.load(path) if path.is_file() else ()
    except (OSError, ValueError, YAMLError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); delete this file alone, which only labels the run"
        ) from error
    return Run(folder, config, tuple(map(str, overrides)), summary, setting)


def read_setting(folder: Path) -> dict[str, Any]:
    """The setting of a run, complete or not."""
    return _read_config(folder)[1]


def setting_of(config: DictConfig) -> dict[str, Any]:
    """What all seeds of a variant share: plain containers, without `IGNORED`.

    Resolved with a fixed seed, so that a `${seed}` elsewhere makes no difference either.
    """
    stored = cast(dict[str, Any], OmegaConf.to_container(config, resolve=False))
    neutral = OmegaConf.create(stored | {"seed": 0})
    return {key: value for key, value in _plain(neutral).items() if key not in IGNORED}


def fingerprint(setting: Mapping[str, Any]) -> str:
    """A short hash of a setting; the order of its keys does not matter."""
    text = json.dumps(setting, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:12]


def describe_groups(runs: Sequence[Run]) -> list[Group]:
    """Runs by setting, in the order met, labelled by what differs; the newest of a seed counts."""
    settings: dict[str, list[Run]] = {}
    for run in runs:
        settings.setdefault(fingerprint(run.setting), []).append(run)
    groups = []
    for members in settings.values():
        by_age = sorted(members, key=lambda run: str(run.summary.get("finished", "")))
        newest = {run.seed: run for run in by_age}
        groups.append([newest[seed] for seed in sorted(newest)])
    return [
        Group(label, tuple(kept), len(members) - len(kept))
        for label, kept, members in zip(describe(groups), groups, settings.values(), strict=True)
    ]


def describe(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A label for each group: the overrides that not all share, else how the settings differ."""
    changes = [_changes(members[0]) for members in groups]
    shared = set.intersection(*map(set, changes)) if len(changes) > 1 else set()
    labels = [" ".join(word for word in words if word not in shared) for words in changes]
    for label in {label for label in labels if labels.count(label) > 1}:
        places = [index for index, other in enumerate(labels) if other == label]
        told = _differences([groups[index][0].setting for index in places])
        for index, text in zip(places, told, strict=True):
            labels[index] = f"{label} {text}".strip()
    return [label or "default" for label in labels]


def told_apart(groups: Sequence[Group], key: str) -> list[str]:
    """How the settings of groups differ below a key, one text a group; empty if they do not."""
    parts = [{key: group.runs[0].setting.get(key)} for group in groups]
    return _differences(parts) if any(part != parts[0] for part in parts) else []


def present(groups: Sequence[Group], metrics: Sequence[str]) -> list[str]:
    """Those metrics that at least one run has."""
    return [name for name in metrics if any(group.values(name) for group in groups)]


def require_metric(groups: Sequence[Group], metric: str) -> None:
    """Raise RunError, with close matches, where no run has the metric."""
    names = sorted({name for group in groups for run in group.runs for name in run.summary})
    if not present(groups, [metric]):
        close = difflib.get_close_matches(metric, names, n=3, cutoff=0.5) or names
        raise RunError(f"metric {metric!r}: no run has it as a number; choose {', '.join(close)}")


def table(groups: Sequence[Group], metrics: Sequence[str]) -> Table:
    """One row a group: its label, its number of seeds, mean ± deviation of what some group has."""
    metrics = present(groups, metrics)
    built = Table(box=SIMPLE_HEAD, pad_edge=False)
    built.add_column("configuration", overflow="fold")
    for heading in ("n", *metrics):
        narrow = heading.replace("/", "/\n").replace("_per_", "_\nper_")
        built.add_column(narrow, justify="right", overflow="fold")
    for group in groups:
        cells = [_cell(group, metric) for metric in metrics]
        # a Text, since rich reads the brackets of `regularizer=[readout]` as markup
        built.add_row(Text(group.label), str(len(group.runs)), *cells)
    if repeats := sum(group.repeats for group in groups):
        built.caption = f"the newest run of a seed counts; older ones left out: {repeats}"
    return built


def console() -> Console:
    """The terminal; what goes to a file or a pipe is wide enough for a table."""
    return Console() if sys.stdout.isatty() else Console(width=200)


def _walk(folder: Path) -> Iterator[Path]:
    if (folder / CONFIG).is_file():
        yield folder
        return
    children = folder.iterdir() if folder.is_dir() else ()
    for child in sorted(children, key=_natural):
        if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
            yield from _walk(child)


def _natural(path: Path) -> list[tuple[str, int]]:
    """Job 2 before job 10."""
    return [(text, int(part or 0)) for text, part in re.findall(r"(\D*)(\d*)", path.name)]


def _read_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resolved configuration of a run, and its setting."""
    path = folder / CONFIG
    try:
        stored = OmegaConf.load(path)
        if not isinstance(stored, DictConfig) or not isinstance(stored.get("seed"), int):
            raise ValueError("no whole number as seed")
        return _plain(stored), setting_of(stored)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); put back the run's own, or run it again in another "
            "folder"
        ) from error


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def _changes(run: Run) -> list[str]:
    keys = {word: word.lstrip("+~").partition("=")[0] for word in run.overrides}
    return [
        word
        for word, key in keys.items()
        if key != "seed" and not key.startswith(("hydra.", "hydra/"))
    ]


def _differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between settings; of a node of another class the class says enough."""
    flat = [dict(_leaves(setting, "")) for setting in settings]
    keys = sorted({key for leaves in flat for key in leaves})
    changed = [key for key in keys if len({repr(leaves.get(key, ...)) for leaves in flat}) > 1]
    nodes = tuple(key.removesuffix("_target_") for key in changed if key.endswith("._target_"))
    short = [key for key in changed if not key.startswith(nodes) or key.endswith("._target_")]
    told = [_tell(leaves, short) for leaves in flat]
    return told if len(set(told)) == len(told) else [_tell(leaves, changed) for leaves in flat]


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, child in value.items():
            yield from _leaves(child, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _tell(leaves: Mapping[str, Any], keys: Sequence[str]) -> str:
    return " ".join(_word(key, str(leaves[key])) for key in keys if key in leaves)


def _word(key: str, value: str) -> str:
    node = key.removesuffix("._target_")
    return f"{key}={value}" if node == key else f"{node}={value.rpartition('.')[2]}"


def _cell(group: Group, metric: str) -> str:
    values = list(group.values(metric).values())
    if not values:
        return "-"
    return f"{summarize(values)}" + (f" (n={len(values)})" if len(values) < len(group.runs) else "")
