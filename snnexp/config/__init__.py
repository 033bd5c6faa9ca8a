"""A composed configuration: found, checked before anything runs, and turned into objects."""

from snnexp.config.check import KINDS, NAMED, STAGES, check, suggest, taken
from snnexp.config.nodes import (
    directory,
    flatten,
    instantiate,
    is_choice,
    naming_keys,
    own_folders,
    search_path,
    split,
    whitelist,
)

__all__ = [
    "KINDS",
    "NAMED",
    "STAGES",
    "check",
    "directory",
    "flatten",
    "instantiate",
    "is_choice",
    "naming_keys",
    "own_folders",
    "search_path",
    "split",
    "suggest",
    "taken",
    "whitelist",
]
