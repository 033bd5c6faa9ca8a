"""Hydra's complaints about a command line, in one line with what was meant."""

import re
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnexp import config
from snnexp.errors import ConfigError


def refuse_null(overrides: Sequence[str]) -> None:
    """Raise ConfigError where null is chosen of a group, for which Hydra has only a traceback."""
    for text in overrides:
        key, _, value = text.partition("=")
        group = key.lstrip("+").partition("@")[0]
        if "null" not in value.split(",") or not (group and _folder(group).is_dir()):
            continue
        if "/" in group:
            way = f"; to leave the part out, set {group.replace('/', '.')}=null"
        elif group in config.NAMED:
            way = f"; for none of them, choose {group}=[]"
        elif group in ("experiment", "sweep"):
            way = "; leave the word out"
        else:
            way = config.suggest("null", _options(group))
        raise ConfigError(f"{group}: there is no option null{way}")


def refuse_flags(overrides: Sequence[str], instead: str) -> None:
    """Raise ConfigError where a flag of Hydra's command line stands among overrides.

    instead: what there is in the place of `--config-dir`.
    """
    for text in overrides:
        if text.startswith("-"):
            way = f"; {instead}" if text.startswith(("--config-dir", "-cd")) else ""
            raise ConfigError(f"{text}: only the command line of train.py takes flags{way}")


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """One line: an unknown option or key with the nearest one, else the complaint's first line."""
    text = str(error)
    if found := re.search(r"Could not (?:find|load) '(.+)/([^/']+)'", text):
        group, option = found.groups()
        return f"{group}: there is no option {option!r}{config.suggest(option, _options(group))}"
    if (found := re.search(r"Multiple values for (\S+)\. To", text)) and _folder(found[1]).is_dir():
        return f"{found[1]}: chosen twice; without +, the second choice replaces the first"
    if found := re.search(r"Ambiguous value for argument '([^=]+)=(.+)'", text):
        key, values = found.groups()
        return (
            f"{key}: {values!r} are several values; give one, a list as in {key}=[{values}], or "
            "begin a run for each by -m"
        )
    if found := re.search(r"Error when parsing index: \d+, string: ([^=]*) out of \[", text):
        return f"{found[1]}: a word here is key=value, without spaces round the ="
    found = re.search(r"Could not override '([^'@]+)", text) or re.search(r"full_key: (\S+)", text)
    if found and ("Could not override" in text or "not in struct" in text):
        key = found.group(1)
        if key in config.NAMED:
            return f"{key}: options are chosen by name, as in {_by_name(key, overrides)}"
        misspelt = "/" in key and not _folder(key).is_dir()
        if not misspelt and (added := _if_added(key, overrides)):
            return added
        if "/" in key and _folder(key).is_dir():
            return f"{key}: {_of_others(key)}"
        return f"{key}: unknown key{_suggest_key(key, overrides)}"
    return text.strip().splitlines()[0]


def _folder(group: str) -> Path:
    return config.directory() / group


def _options(group: str) -> list[str]:
    return sorted(path.stem for path in _folder(group).glob("*.yaml"))


def _composed(words: Sequence[str]) -> DictConfig:
    """Of a command line's overrides alone."""
    overrides = [text for text in words if re.match(r"~|[^-].*=", text)]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(config.directory())):
        return hydra.compose("train", overrides=overrides)


def _if_added(key: str, overrides: Sequence[str]) -> str | None:
    """What the check says of the key with a + before it, or that this is all it takes."""
    added = [f"+{text}" for text in overrides if text.startswith(f"{key}=")]
    try:
        config.check(_composed([*(text for text in overrides if f"+{text}" not in added), *added]))
    except ConfigError as error:
        faults = {line.partition(":")[0]: line for line in str(error).splitlines()}
        own = [line for place, line in faults.items() if f"{key}.".startswith(f"{place}.")]
        return own[0] if own else None
    except (HydraException, OmegaConfBaseException, ValueError):
        return None
    known = _suggest_key(key, overrides)
    meant = known if known.endswith("?") else ""
    return f"{key}: there is none to be changed; to add it, write {' '.join(added)}{meant}"


def _by_name(group: str, overrides: Sequence[str]) -> str:
    """The choice of those options that the words name, or of the first one."""
    typed = " ".join(text for text in overrides if text.startswith(f"{group}="))
    known = _options(group)
    named = [name for name in known if re.search(rf"\b{name}\b", typed.partition("=")[2])]
    return f"{group}=[{','.join(named or known[:1])}]"


def _of_others(group: str) -> str:
    """That the chosen option has no such part, and which options have one."""
    parent, _, part = group.partition("/")
    entry = re.compile(rf"^  - (override )?(/?{parent}/)?{part}(@\S+)?:", re.MULTILINE)
    files = {option: _folder(parent) / f"{option}.yaml" for option in _options(parent)}
    having = [option for option, file in files.items() if entry.search(file.read_text())]
    known = f"; choose one that has: {', '.join(f'{parent}={o}' for o in having)}" if having else ""
    return f"the chosen {parent} has no such part{known}"


def _suggest_key(key: str, overrides: Sequence[str]) -> str:
    """The nearest key beside the unknown one, in a composition of the other overrides."""
    parent, _, name = key.rpartition(".")
    try:
        node = _composed([text for text in overrides if not text.startswith(key)])
        node = OmegaConf.select(node, parent) if parent else node
    except (HydraException, OmegaConfBaseException, ValueError):
        return ""
    names = [str(known) for known in node] if isinstance(node, DictConfig) else []
    if not parent:
        root = config.directory()
        names += [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()]
    return config.suggest(name, sorted(set(names)))
