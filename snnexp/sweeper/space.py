"""The search space: Hydra's grammar of sweeps as Optuna's distributions."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
        distribution = self.distribution
        bounds = {
            name: evaluate(expression, lambda key: _look_up(key, earlier, base))
            for name, expression in self.conditions.items()
            if name != "when"
        }
        if bounds:
            distribution = _narrow(self.key, distribution, **bounds)
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
        when = self.conditions.get("when")
        return when is None or bool(evaluate(when, lambda key: _look_up(key, earlier, base)))

    def first(self) -> Value:
        """A value that it may have."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[0]
        return self.distribution.low  # type: ignore[attr-defined]

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
                return [low + index * step for index in range(round((high - low) / step) + 1)]
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
    step = (high - low) / (len(values) - 1) if len(values) > 1 else 1
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(low), int(high), step=round(step))
    return FloatDistribution(low, high, step=step)


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
        least = distribution.low + -(-(least - distribution.low) // step) * step
        most = distribution.low + (most - distribution.low) // step * step
    if least > most:
        raise ConfigError(f"{where}: nothing is left between {least:g} and {most:g}")
    if isinstance(distribution, IntDistribution):
        return IntDistribution(int(least), int(most), log=distribution.log, step=distribution.step)
    return FloatDistribution(least, most, log=distribution.log, step=distribution.step)


def _look_up(key: str, earlier: Mapping[str, Value], base: DictConfig) -> Any:
    return earlier[key] if key in earlier else OmegaConf.select(base, key)


def _bad(key: str, text: str, why: str) -> ConfigError:
    return ConfigError(f"hydra.sweeper: {key}={text}: {why}")
