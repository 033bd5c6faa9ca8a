"""Where configurations lie, what they may name, and how their nodes become objects.

Configurations may come from strangers: Hydra gets the same whitelist for every call of
`instantiate`, and `check` matches names against it before anything is imported.
"""

import importlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from snnexp.errors import ConfigError

WHITELIST = (
    "snnexp.*",
    "torch.optim.*",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.trainer.trainer.Trainer",
    "pytorch_lightning.callbacks.*",
    "pytorch_lightning.loggers.*",
)


def directory() -> Path:
    """The folder of configurations: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def own_folders(runtime: DictConfig) -> list[Path]:
    """The folders of options that a command line named, of what Hydra noted, if they are there."""
    sources = runtime.get("config_sources", ())
    named = [s.path for s in sources if "command-line" in s.provider and s.schema == "file"]
    return [path for path in map(Path, named) if path.is_dir()]


def search_path(folders: Sequence[Path]) -> list[str]:
    """The override by which Hydra finds options in these folders; none for no folder."""
    quoted = ['"file://' + str(folder).replace('"', r"\"") + '"' for folder in folders]
    return [f"hydra.searchpath=[{','.join(quoted)}]"] if folders else []


def is_choice(override: Override, own: Sequence[Path] = ()) -> bool:
    """Whether an override chooses an option of a group, ours or one in folders of a user's own."""
    is_group = any((root / override.key_or_group).is_dir() for root in (directory(), *own))
    return is_group and not isinstance(override.value(), dict)


def whitelist() -> list[str]:
    """What a `_target_` may name: `WHITELIST`, and packages in SNNEXP_ALLOW, comma-separated."""
    own = [name.strip() for name in os.environ.get("SNNEXP_ALLOW", "").split(",")]
    return [*WHITELIST, *(f"{name}.*" for name in own if name)]


def allowed(name: str) -> bool:
    """Whether a configuration may name this target."""
    return any(fnmatchcase(name, pattern) for pattern in whitelist())


def locate(target: str) -> Any:
    """Import the longest module prefix of a dotted path, then follow its attributes."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        return found
    raise ImportError(f"no module named {parts[0]!r}")


def canonical(found: Any) -> str:
    """The dotted path of where it was defined, by whichever path it was found."""
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"


def taken(node: Mapping[str, Any], **offered: Any) -> dict[str, Any]:
    """Those of the offered arguments that the class of a checked node takes."""
    known = inspect.signature(locate(node["_target_"])).parameters
    return {name: value for name, value in offered.items() if name in known}


def instantiate(node: Any, **arguments: Any) -> Any:
    """The object of a node; ConfigError names the key if its constructor refuses a value."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as build

    with naming_keys():
        try:
            return build(node, **arguments, _convert_="all", _execution_whitelist_=whitelist())
        except InstantiationException as error:
            raise ConfigError(str(error)) from error


def split(cfg: DictConfig, key: str, name: str) -> tuple[DictConfig, dict[str, Any]]:
    """The node `key` without its entry `name`, and that as plain containers; {} if it has none."""
    if name not in cfg[key]:
        return cfg[key], {}
    entry: Any = OmegaConf.to_container(cfg[key][name], resolve=True)
    without = deepcopy(cfg)  # all of it, since Hydra looks a node up from the root
    with open_dict(without):
        del without[key][name]
    return without[key], entry


@contextmanager
def naming_keys() -> Iterator[None]:
    """Turn a complaint about a value into ConfigError with the key of its node in front.

    Hydra notes the key on what a constructor raises, the innermost first; a factory (`_partial_`)
    notes it when it is called.
    """
    try:
        yield
    except Exception as error:
        foreign = type(error).__name__ == "MisconfigurationException"  # Lightning's; no import here
        if not (foreign or isinstance(error, ValueError | TypeError)):
            raise
        notes = [note for note in getattr(error, "__notes__", []) if note.startswith("full_key: ")]
        if not notes:
            raise
        key, message = notes[0].removeprefix("full_key: "), str(error)
        joint = "." if re.match(r"[\w.\[\]]+: ", message) else ": "
        raise ConfigError(f"{key}{joint}{message}") from error


def flatten(cfg: DictConfig | ListConfig) -> dict[str, int | float | str | bool]:
    """Every leaf of a configuration by its dotted key, None as text."""
    flat: dict[str, int | float | str | bool] = {}

    def visit(value: Any, key: str) -> None:
        if isinstance(value, Mapping):
            for name, child in value.items():
                visit(child, f"{key}.{name}" if key else str(name))
        else:
            flat[key] = value if isinstance(value, int | float | str | bool) else str(value)

    visit(OmegaConf.to_container(cfg, resolve=True), "")
    return flat
