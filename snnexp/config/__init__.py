"""A composed configuration: found, checked before anything runs, and turned into objects."""

from snnexp.config.arguments import KINDS
from snnexp.config.check import check
from snnexp.config.keys import NAMED, STAGES, suggest
from snnexp.config.nodes import (
    directory,
    flatten,
    instantiate,
    is_choice,
    naming_keys,
    own_folders,
    search_path,
    split,
    taken,
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
