"""The search space: Hydra's grammar of sweeps as Optuna's distributions."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from snnexp.errors import ConfigError
from snnexp.sweeper.expressions import evaluate

CONDITIONS = ("when", "low", "high")
Value = None | bool | int | float | str


class NothingLeft(ConfigError):
    """The bounds by earlier parameters leave no value."""


@dataclass(frozen=True)
class Parameter:
    """A key with what it may be, and expressions over earlier parameters that narrow it.

    text: as it was written. conditions: `when` it is there at all, its `low` and its `high`.
    """

    key: str
    text: str
    distribution: BaseDistribution
    conditions: Mapping[str, str]

    def suggest(self, trial: Trial, earlier: Mapping[str, Value], base: DictConfig) -> Value:
        """The value for a trial, within the bounds that the earlier parameters leave.

        Raises ConfigError where they leave none.
        """
        distribution = self._within(earlier, base)
        match distribution:
            case IntDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_int(self.key, low, high, step=step, log=log)
            case FloatDistribution(low=low, high=high, step=step, log=log):
                return trial.suggest_float(self.key, low, high, step=step, log=log)
            case CategoricalDistribution(choices=choices):
                return trial.suggest_categorical(self.key, choices)
        raise TypeError(distribution)

    def applies(self, earlier: Mapping[str, Value], base: DictConfig) -> bool:
        """Whether the trial has this parameter."""
        return "when" not in self.conditions or bool(self._condition("when", earlier, base))

    def first(self, earlier: Mapping[str, Value], base: DictConfig) -> Value:
        """A value that it may have; where its bounds leave none, the least without them."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[0]
        try:
            return self._within(earlier, base).low  # type: ignore[attr-defined]
        except NothingLeft:
            return self.distribution.low  # type: ignore[attr-defined]

    def last(self) -> Value:
        """The greatest number, or the last choice."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[-1]
        return self.distribution.high  # type: ignore[attr-defined]

    def _within(self, earlier: Mapping[str, Value], base: DictConfig) -> BaseDistribution:
        names = [name for name in self.conditions if name != "when"]
        if not names:
            return self.distribution
        bounds = {name: self._condition(name, earlier, base) for name in names}
        return _narrow(self.key, self.distribution, **bounds)

    def _condition(self, name: str, earlier: Mapping[str, Value], base: DictConfig) -> Any:
        try:
            return evaluate(self.conditions[name], lambda key: look_up(key, earlier, base))
        except ConfigError as error:
            raise ConfigError(f"hydra.sweeper.conditions.{self.key}.{name}: {error}") from error

    def choices(self) -> list[Value]:
        """The options of a choice; none for numbers between bounds."""
        found = self.distribution
        return list(found.choices) if isinstance(found, CategoricalDistribution) else []

    def values(self) -> list[Value]:
        """All values; ConfigError if they cannot be counted."""
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                return list(choices)
            case IntDistribution(low=low, high=high, step=step, log=False):
                return list(range(low, high + 1, step))
            case FloatDistribution(low=low, high=high, step=float(step)):
                return [_on_step(low, step, n) for n in range(round((high - low) / step) + 1)]
        raise ConfigError(
            f"{self.key}: {self.text} has no finite number of values, which a grid needs; "
            "use a choice(...) or range(...), or another hydra.sweeper.sampler"
        )


def suggest(parameters: list[Parameter], trial: Trial, base: DictConfig) -> dict[str, Value]:
    """The values of a trial by key, in the order of the parameters."""
    values: dict[str, Value] = {}
    for parameter in parameters:
        if parameter.applies(values, base):
            values[parameter.key] = parameter.suggest(trial, values, base)
    return values


def tried(
    parameters: list[Parameter], base: DictConfig
) -> list[tuple[dict[str, Value], dict[str, Value]]]:
    """Points that between them have every choice, and every parameter that conditions allow.

    With each stands what sets it apart: the choices that are not the first ones.
    """
    found = [({}, _point(parameters, {}, base))]
    for parameter in parameters:
        fixed = next((fixed for fixed, point in found if parameter.key in point), None)
        if fixed is None:
            continue
        seen = {key for _, point in found for key in point}
        others = parameter.choices()[1:]
        if not others and any(other.key not in seen for other in parameters):
            others = [parameter.last()]  # there may be parameters that only great numbers bring
        for value in others:
            changed = fixed | {parameter.key: value}
            found.append((changed, _point(parameters, changed, base)))
    return found


def _point(
    parameters: list[Parameter], fixed: Mapping[str, Value], base: DictConfig
) -> dict[str, Value]:
    """The fixed values and the first ones of all other parameters that there are with them."""
    values: dict[str, Value] = {}
    for parameter in parameters:
        if parameter.applies(values, base):
            key = parameter.key
            values[key] = fixed[key] if key in fixed else parameter.first(values, base)
    return values


def grid(parameters: list[Parameter], base: DictConfig) -> Iterator[dict[str, Value]]:
    """Every combination of the parameters' values, without repeats."""
    seen: list[dict[str, Value]] = []
    for combination in itertools.product(*(parameter.values() for parameter in parameters)):
        values: dict[str, Value] = {}
        for parameter, value in zip(parameters, combination, strict=True):
            if parameter.applies(values, base):
                values[parameter.key] = value
        if values not in seen:
            seen.append(values)
            yield values


def as_override(key: str, value: Value) -> str:
    """A value as a word of the command line."""
    if value is None or isinstance(value, bool):
        return f"{key}={'null' if value is None else str(value).lower()}"
    return f"{key}={value}"


def read(
    params: Mapping[str, str],
    arguments: list[str],
    conditions: Mapping[str, Mapping[str, str]],
    loader: Any,
) -> tuple[list[Parameter], list[str]]:
    """The parameters, and the overrides that all trials share.

    params: the configured ones by key; an override of the same key on the command line, whether a
    sweep or one value, replaces them. Raises ConfigError for what is no search space.
    """
    parser = OverridesParser.create(config_loader=loader)
    given = parser.parse_overrides(arguments)
    taken = {override.get_key_element() for override in given}
    configured = []
    for key, text in params.items():
        try:
            (override,) = parser.parse_overrides([f"{key}={text}"])
        except HydraException as error:
            lines = [line for line in str(error).splitlines() if not line.startswith("See ")]
            raise _bad(key, text, lines[-1]) from error
        if not override.is_sweep_override():
            raise _bad(key, text, "give interval(...), range(...) or choice(...)")
        if override.get_key_element() not in taken:
            configured.append(override)
    swept = [*configured, *(override for override in given if override.is_sweep_override())]
    shared = [str(override.input_line) for override in given if not override.is_sweep_override()]
    known = {override.get_key_element() for override in swept}
    _refuse_bad_conditions(conditions, known | taken)
    parameters = [
        Parameter(key, text, _distribution(override, key, text), dict(conditions.get(key, {})))
        for override in swept
        for key, text in [str(override.input_line).split("=", 1)]
    ]
    return parameters, shared


def _refuse_bad_conditions(conditions: Mapping[str, Any], known: set[str]) -> None:
    for key, names in conditions.items():
        where = f"hydra.sweeper.conditions.{key}"
        if key not in known:
            raise ConfigError(f"{where}: no parameter of this name; there are {sorted(known)}")
        for name, expression in names.items():
            if name not in CONDITIONS or not isinstance(expression, str):
                raise ConfigError(f"{where}.{name}: give when, low or high, each an expression")


def _distribution(override: Override, key: str, text: str) -> BaseDistribution:
    value = override.value()
    tags = set(getattr(value, "tags", ()))
    if tags - {"log"}:
        raise _bad(key, text, f"the tag {min(tags - {'log'})!r} is unknown; known is log")
    match value:
        case IntervalSweep(start=low, end=high):
            if low is None or high is None or low >= high:
                raise _bad(key, text, "the first bound must be below the second")
            if "log" in tags and low <= 0:
                raise _bad(key, text, "a logarithmic interval must begin above 0")
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log="log" in tags)
            return FloatDistribution(float(low), float(high), log="log" in tags)
        case RangeSweep() | ChoiceSweep() if "log" in tags:
            raise _bad(key, text, "the tag log goes with interval(...) only")
        case RangeSweep():
            return _range_distribution(override, key, text)
    return _choice_distribution(override, key, text)


def _range_distribution(override: Override, key: str, text: str) -> BaseDistribution:
    values = [value for value in override.sweep_iterator() if isinstance(value, int | float)]
    if not values:
        raise _bad(key, text, "it is empty; the end of a range is left out")
    low, high = min(values), max(values)
    step = abs(override.value().step)  # type: ignore[union-attr]
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(low), int(high), step=int(step))
    return FloatDistribution(low, high, step=float(step))


def _choice_distribution(override: Override, key: str, text: str) -> BaseDistribution:
    """Numbers stay numbers; anything else is kept as it would be written."""
    pairs = zip(override.sweep_iterator(), override.sweep_string_iterator(), strict=True)
    plain = [v if isinstance(v, bool | int | float) else written for v, written in pairs]
    if len({str(value) for value in plain}) < len(plain) or not plain:
        raise _bad(key, text, "each choice must be there once")
    return CategoricalDistribution(plain)


def _narrow(
    key: str, distribution: BaseDistribution, low: float | None = None, high: float | None = None
) -> BaseDistribution:
    where = f"hydra.sweeper.conditions.{key}"
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        raise ConfigError(f"{where}: a choice has no bounds; use when")
    least = distribution.low if low is None else max(low, distribution.low)
    most = distribution.high if high is None else min(high, distribution.high)
    step = distribution.step
    if step:  # both bounds stay on the steps that are counted from the widest one's first
        first = distribution.low
        least = _on_step(first, step, math.ceil((least - first) / step - ROUNDING))
        most = _on_step(first, step, math.floor((most - first) / step + ROUNDING))
    if least > most:
        raise NothingLeft(f"{where}: nothing is left between {least:g} and {most:g}")
    if isinstance(distribution, IntDistribution):
        return IntDistribution(int(least), int(most), log=distribution.log, step=distribution.step)
    return FloatDistribution(least, most, log=distribution.log, step=distribution.step)


ROUNDING = 1e-9
"""Of a step: (0.7 - 0.1) / 0.1 is below 6 in floats."""


def _on_step(first: float, step: float, count: int) -> float:
    """Step number `count` from the first, in decimals as they are written: 0.1 + 2 x 0.1 is 0.3."""
    return float(Decimal(str(first)) + count * Decimal(str(step)))


def look_up(key: str, earlier: Mapping[str, Value], base: DictConfig) -> Any:
    """The value of a key with earlier parameters' values; of a group, the option that is chosen."""
    plain = re.sub(r"\[(\d+)\]", r".\1", key)
    if plain in earlier:
        return _read(plain, earlier[plain])
    settled = deepcopy(base) if earlier else base
    for name, value in earlier.items():
        is_group = "/" in name or isinstance(OmegaConf.select(settled, name), DictConfig)
        if not is_group:  # an option's own values are seen in a trial alone
            OmegaConf.update(settled, name, _read(name, value), force_add=True)
    found = OmegaConf.select(settled, plain)
    choices = OmegaConf.select(base, "hydra.runtime.choices")
    return (choices or {}).get(plain, found) if isinstance(found, DictConfig) else found


def _read(key: str, value: Value) -> Any:
    """A choice that is kept as it would be written, such as a list, as what it means."""
    if not isinstance(value, str):
        return value
    return OverridesParser.create().parse_override(as_override(key, value)).value()


def _bad(key: str, text: str, why: str) -> ConfigError:
    return ConfigError(f"hydra.sweeper: {key}={text}: {why}")
