"""Hydra's complaints about a command line, in one line with what was meant."""

import re
from collections.abc import Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnexp import config


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """One line: an unknown option or key with the nearest one, else the complaint's first line."""
    text = str(error)
    if found := re.search(r"Could not find '(.+)/([^/']+)'", text):
        group, option = found.groups()
        options = sorted(path.stem for path in (config.directory() / group).glob("*.yaml"))
        return f"{group}: there is no option {option!r}{config.suggest(option, options)}"
    found = re.search(r"Could not override '([^'@]+)", text) or re.search(r"full_key: (\S+)", text)
    if found and ("Could not override" in text or "not in struct" in text):
        key = found.group(1)
        return f"{key}: unknown key{_suggest_key(key, overrides)}"
    return text.strip().splitlines()[0]


def _suggest_key(key: str, overrides: Sequence[str]) -> str:
    """The nearest key beside the unknown one, in a composition of the other overrides."""
    parent, _, name = key.rpartition(".")
    others = [text for text in overrides if not text.startswith(("-", key))]
    try:
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(config_dir=str(config.directory())):
            node = hydra.compose("train", overrides=others)
        node = OmegaConf.select(node, parent) if parent else node
    except (HydraException, OmegaConfBaseException, ValueError):
        return ""
    names = [str(known) for known in node] if isinstance(node, DictConfig) else []
    if not parent:
        root = config.directory()
        names += [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()]
    return config.suggest(name, sorted(set(names)))
