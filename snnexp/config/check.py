"""All faults of a composed configuration in one message, before anything is built."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnexp.config.arguments import faults_below, stage_faults
from snnexp.config.keys import NAMED, OPTIONAL, PLAIN, STAGES, TIMES, suggest
from snnexp.config.plain import plain_faults
from snnexp.errors import ConfigError


def check(cfg: DictConfig) -> None:
    """Raise ConfigError with all faults of a composed configuration in one message."""
    faults = list(_faults(cfg))
    if faults:
        raise ConfigError("\n".join(faults))


def _faults(cfg: DictConfig) -> Iterator[str]:
    known = [*STAGES, *NAMED, *PLAIN]
    for key in cfg:
        if key not in known and key not in OPTIONAL:
            yield f"{key}: unknown key{suggest(str(key), known)}"
    for key in known:
        if key not in cfg:
            yield f"{key}: missing"
    try:
        values: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        yield f"{getattr(error, 'full_key', '') or 'configuration'}: {str(error).splitlines()[0]}"
        return
    read = re.findall(r"\$\{time\.(\w+)", OmegaConf.to_yaml(cfg))
    for key, names in (("time", {*TIMES, *read}), ("best", {"metric", "mode"})):
        for name in values[key] if isinstance(values.get(key), Mapping) else ():
            if name not in names:
                yield f"{key}.{name}: unknown key{suggest(name, sorted(names))}"
    yield from plain_faults(values)
    for key, value in values.items():
        if key in STAGES:
            yield from stage_faults(value, key)
        elif key in NAMED and isinstance(value, Mapping):
            for name, node in value.items():
                yield from stage_faults(node, f"{key}.{name}")
        else:
            yield from faults_below(value, str(key))
