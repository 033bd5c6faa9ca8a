"""Checks of constructor arguments: a message opens with the argument's name.

`snnexp.config` puts the key of the configuration node in front, so that a user reads
`encoder.t_late: ...`.
"""

import math
from collections.abc import Sequence
from typing import Any


def is_number(value: Any) -> bool:
    """Whether it is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message`, which opens with the argument's name, unless `condition`."""
    if not condition:
        raise ValueError(message)


def require_positive(unit: str = "", **values: float) -> tuple[float, ...]:
    """The values, each of which must be finite and above 0."""
    for name, value in values.items():
        require(
            is_number(value) and math.isfinite(value) and value > 0,
            f"{name}: {value!r}{unit and ' ' + unit}; it must be a finite number above 0",
        )
    return tuple(values.values())


def require_not_negative(**values: float) -> tuple[float, ...]:
    """The values, each of which must be finite and not below 0."""
    for name, value in values.items():
        require(
            is_number(value) and math.isfinite(value) and value >= 0,
            f"{name}: {value!r}; it must be a finite number and not negative",
        )
    return tuple(values.values())


def require_whole(minimum: int, **values: int) -> tuple[int, ...]:
    """The values, each of which must be a whole number of at least `minimum`."""
    for name, value in values.items():
        require(
            is_whole(value) and value >= minimum,
            f"{name}: {value!r}; it must be a whole number of at least {minimum}",
        )
    return tuple(values.values())


def require_between(low: float, high: float, **values: float) -> tuple[float, ...]:
    """The values, each of which must lie in [low, high]."""
    for name, value in values.items():
        require(
            is_number(value) and low <= value <= high,
            f"{name}: {value!r}; it must lie between {low:g} and {high:g}",
        )
    return tuple(values.values())


def require_choice(options: Sequence[str], **values: str) -> tuple[str, ...]:
    """The values, each of which must be one of `options`."""
    for name, value in values.items():
        require(value in options, f"{name}: {value!r}; choose one of {', '.join(options)}")
    return tuple(values.values())
