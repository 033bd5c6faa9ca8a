"""Whether a value suits an annotation, and how a message says what would."""

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from snnexp.checks import is_number, is_whole


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value suits an annotation; what cannot be judged passes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (isinstance(value, Mapping) and "_target_" in value):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is Callable:
        return False  # a factory is a node, and no other plain value can be called
    if hint is float:
        return is_number(value)
    if hint is int:
        return is_whole(value)
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list) or (_length(hint) not in (None, len(value))):
            return False
        return not arguments or all(fits(item, arguments[0]) for item in value)
    if origin in (dict, Mapping):
        entries = isinstance(value, Mapping)
        return entries and (not arguments or all(fits(v, arguments[1]) for v in value.values()))
    return not isinstance(hint, type) or isinstance(value, hint)


def _length(hint: Any) -> int | None:
    """Of a tuple with an annotation for each entry."""
    arguments = typing.get_args(hint)
    fixed = typing.get_origin(hint) is tuple and arguments and ... not in arguments
    return len(arguments) if fixed else None


def describe(hint: Any) -> str:
    """What a message calls the values that suit an annotation."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if hint in names:
        return names[hint]
    if hint is type(None):
        return "null"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(option) for option in arguments)
    if origin in (list, tuple, Sequence):
        kind = "a list" if _length(hint) is None else f"a list of {_length(hint)}"
        return f"{kind}, each entry {describe(arguments[0])}" if arguments else kind
    if origin in (dict, Mapping):
        return f"a mapping to {describe(arguments[1])}" if arguments else "a mapping"
    return "a node with a _target_"
