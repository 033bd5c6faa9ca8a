"""A composed configuration: found, checked before anything runs, and turned into objects."""

from snnexp.config.check import check, suggest, taken
from snnexp.config.nodes import directory, flatten, instantiate, naming_keys, whitelist

__all__ = [
    "check",
    "directory",
    "flatten",
    "instantiate",
    "naming_keys",
    "suggest",
    "taken",
    "whitelist",
]
