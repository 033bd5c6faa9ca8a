"""The command line that runs a trial on its own, without the sweep that found it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from snnexp import config
from snnexp.sweeper.space import Value, as_override

LEFT_OUT = ("hydra", "objectives", "logger")
LISTED = ("regularizer", "callback")
"""Groups of several options, whose names are the keys."""
PLAIN = re.compile(r"(?!(null|true|false|nan|inf)$)[a-z_][\w.]*", re.IGNORECASE | re.ASCII)
"""Texts that need no quotes to be read as texts."""


def base_words(swept: DictConfig, shared: Sequence[str]) -> list[str]:
    """Overrides that compose a sweep's configuration without its `sweep=` and `hydra.` ones.

    swept: the sweep's own composition. shared: the overrides that were typed. What both set is
    spelled out: first the options of groups, then the values that still differ. A typed value
    stands among the latter, since its key may be one that only the sweep's file brings. Folders of
    a user's own options, which `--config-dir` named, come first.
    """
    own = config.own_folders(swept.hydra.runtime)
    words = config.search_path(own) + [word for word in shared if _is_choice(word, own)]
    choices: Mapping[str, str | None] = swept.hydra.runtime.choices
    typed = {word.lstrip("+~").partition("=")[0] for word in words}
    default = _compose(words)
    for group, option in choices.items():
        known = default.hydra.runtime.choices
        if group == "sweep" or group.startswith("hydra") or group in typed or group not in known:
            continue
        if option is not None and known[group] != option:
            words.append(f"{group}={option}")
    for group in LISTED:
        names = [str(name) for name in swept[group]]
        if (
            group not in typed
            and set(names) - set(default[group])
            and _are_options(group, names, own)
        ):
            words.append(f"{group}=[{','.join(names)}]")
    return [*words, *_differences(_plain(_compose(words)), _plain(swept))]


def command(
    words: Sequence[str], params: Mapping[str, Value], seeds: Sequence[int] | None = None
) -> str:
    """The command that runs a trial again, in a folder of its own and with the test split.

    seeds: of the trial's runs, where it had several.
    """
    own = [as_override(key, value) for key, value in params.items()]
    start = "python train.py"
    if seeds is not None:
        own.append(f"seed={','.join(map(str, seeds))}")
        start += " -m" if len(seeds) > 1 else ""
    return " ".join([start, *map(shlex.quote, [*words, *own])])


def _is_choice(word: str, own: Sequence[Path]) -> bool:
    """Whether an override chooses an option of a group, other than of sweeps and of Hydra."""
    override = OverridesParser.create().parse_override(word)
    stage = override.key_or_group.partition("/")[0]
    return config.is_choice(override, own) and stage not in ("sweep", "hydra")


def _are_options(group: str, names: Sequence[str], own: Sequence[Path]) -> bool:
    roots = (config.directory(), *own)
    return all(any((r / group / f"{name}.yaml").is_file() for r in roots) for name in names)


def _compose(words: Sequence[str]) -> DictConfig:
    held = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(config_dir=str(config.directory())):
            return hydra.compose("train", overrides=list(words), return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = held


def _plain(cfg: DictConfig) -> dict[str, Any]:
    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in LEFT_OUT])
    return OmegaConf.to_container(kept, resolve=False)  # type: ignore[return-value]


def _differences(have: Any, want: Any, key: str = "") -> list[str]:
    """Overrides that make `have` into `want`."""
    if have == want:
        return []
    if isinstance(have, Mapping) and isinstance(want, Mapping):
        words = []
        for name in {**have, **want}:
            path = f"{key}.{name}" if key else str(name)
            if name not in want:
                if key == "callback":
                    continue  # figures, left out for speed, change no result
                words.append(f"~{path}")
            elif name not in have:
                words.append(f"+{path}={_written(want[name])}")
            else:
                words += _differences(have[name], want[name], path)
        return words
    return [f"{key}={_written(want)}"]


def _written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_written(v)}" for name, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else '"' + value.replace('"', r"\"") + '"'
    return as_override("", value).removeprefix("=")
