"""What `hydra/sweeper=snnexp` can be told, checked."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from snnexp.checks import is_whole
from snnexp.config import suggest
from snnexp.errors import ConfigError
from snnexp.sweeper.study import Objective

SAMPLERS = {"tpe": "TPESampler", "nsga2": "NSGAIISampler", "random": "RandomSampler"}
PRUNERS = {
    "median": "MedianPruner",
    "hyperband": "HyperbandPruner",
    "halving": "SuccessiveHalvingPruner",
}
GRID = "grid"
ENDING_THEMSELVES = ("GridSampler", "BruteForceSampler")
"""They stop the study from within Optuna's own loop, which workers do not use."""

Sampler = optuna.samplers.BaseSampler


@dataclass(frozen=True)
class Options:
    """The options of a sweep; `conf/hydra/sweeper/snnexp.yaml` says what they mean."""

    study: str | None
    storage: str
    n_trials: int
    workers: int
    sampler: str
    sampler_options: Mapping[str, Any]
    seed: int
    seeds: Sequence[int] | None
    params: Mapping[str, str]
    conditions: Mapping[str, Mapping[str, str]]
    prune_if: str | None
    pruner: str | None
    pruner_options: Mapping[str, Any]
    max_failure_rate: float
    retries: int
    reference_point: Sequence[float] | None
    figures: bool

    def check(self, objectives: Sequence[Objective]) -> None:
        """Raise ConfigError for an option that cannot be."""
        if not self.study or "/" in str(self.study) or str(self.study).startswith("."):
            raise _bad("study", self.study, "give the study a name, which is its folder's too")
        for name, least in (("n_trials", 1), ("workers", 1), ("seed", 0), ("retries", 0)):
            value = getattr(self, name)
            if not is_whole(value) or value < least:
                raise _bad(name, value, f"it must be a whole number of at least {least}")
        if not 0 <= self.max_failure_rate <= 1:
            raise _bad("max_failure_rate", self.max_failure_rate, "it must be from 0 to 1")
        if self.seeds is not None and (
            not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0
        ):
            raise _bad("seeds", self.seeds, "give different whole numbers of at least 0, or null")
        point = self.reference_point
        if point is not None and len(point) != len(objectives):
            raise _bad("reference_point", point, f"give {len(objectives)} numbers, or null")
        for objective in objectives:
            if objective.name.startswith("test/"):
                raise ConfigError(
                    f"objectives: {objective.name!r}; a search never sees the test split, choose "
                    f"{objective.name.replace('test/', 'val/', 1)!r}"
                )
        self._check_pruner(objectives)
        self.make_sampler(0)

    def _check_pruner(self, objectives: Sequence[Objective]) -> None:
        if self.pruner is None:
            return
        if len(objectives) > 1:
            raise _bad("pruner", self.pruner, "Optuna prunes for one objective only; set null")
        if self.seeds is not None and len(self.seeds) > 1:
            raise _bad("pruner", self.pruner, "it goes with one seed a trial; set seeds to null")
        self.make_pruner()

    def make_sampler(self, number: int) -> Sampler:
        """The sampler that proposes trial `number`.

        Its seed depends on that number, so that neither a study that goes on nor a second worker
        proposes the same points again.
        """
        if self.sampler == GRID:
            return optuna.samplers.RandomSampler()
        found = _class("sampler", self.sampler, SAMPLERS, optuna.samplers, Sampler, (GRID,))
        names = inspect.signature(found).parameters
        given = dict(self.sampler_options)
        if "seed" in names and "seed" not in given:
            moving = not issubclass(found, optuna.samplers.QMCSampler)  # one sequence, one seed
            given["seed"] = self.seed * 1_000_003 + (number if moving else 0)
        return _made(found, given, "sampler")

    def make_pruner(self) -> optuna.pruners.BasePruner:
        """The pruner; one that never prunes where none is chosen."""
        if self.pruner is None:
            return optuna.pruners.NopPruner()
        base = optuna.pruners.BasePruner
        found = _class("pruner", self.pruner, PRUNERS, optuna.pruners, base, ())
        return _made(found, dict(self.pruner_options), "pruner")


def _class(
    option: str, name: str, short: Mapping[str, str], module: Any, base: type, more: Sequence[str]
) -> type:
    """A class of Optuna's by its short or own name, with or without its module."""
    plain = str(name).removeprefix(f"{module.__name__}.")
    own = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    found = own.get(short.get(plain, plain))
    if plain in ENDING_THEMSELVES:
        raise _bad(option, name, f"choose {GRID}, which tries every combination once")
    if found is None or not issubclass(found, base) or inspect.isabstract(found):
        classes = [key for key, value in own.items() if issubclass(value, base)]
        known = [*short, *more, *classes]
        raise _bad(option, name, f"there is none of this name{suggest(plain, known)}")
    return found


def _made(found: Callable[..., Any], given: Mapping[str, Any], option: str) -> Any:
    names = [name for name in inspect.signature(found).parameters]
    for name in given:
        if name not in names:
            raise ConfigError(
                f"hydra.sweeper.{option}_options.{name}: unknown{suggest(str(name), names)}"
            )
    try:
        return found(**given)
    except (TypeError, ValueError, ImportError) as error:
        raise _bad(option, found.__name__, str(error)) from error


def _bad(option: str, value: Any, why: str) -> ConfigError:
    return ConfigError(f"hydra.sweeper.{option}: {value!r}; {why}")


def stop_rule(
    options: Options, known: Sequence[optuna.trial.FrozenTrial]
) -> Callable[[Sequence[optuna.trial.FrozenTrial]], str | None]:
    """Says why a sweep has to stop, or None: a function of all trials.

    known: the trials as they are now, of which those that have ended do not count. Others may be
    waiting already, as all those of a grid are.
    """
    states = optuna.trial.TrialState
    forgiven = {trial.number for trial in known if trial.state.is_finished()}

    def reason(trials: Sequence[optuna.trial.FrozenTrial]) -> str | None:
        ended = [t for t in trials if t.state.is_finished() and t.number not in forgiven]
        failed = [trial for trial in ended if trial.state == states.FAIL]
        if len(failed) > options.max_failure_rate * max(len(ended), LEAST_ENDED):
            return (
                f"{len(failed)} of {len(ended)} trials failed, more than hydra.sweeper."
                f"max_failure_rate = {options.max_failure_rate:g} allows; the last: "
                f"{failed[-1].user_attrs.get('reason', '')}"
            )
        completed = sum(trial.state == states.COMPLETE for trial in ended)
        if len(ended) > MOST_ENDED * max(completed, math.ceil(options.n_trials / 4)):
            return (
                f"only {completed} of {len(ended)} trials completed; widen hydra.sweeper.params, "
                "or prune less"
            )
        return None

    return reason


LEAST_ENDED = 10
"""Below so many trials a rate of failures counts as if they were so many."""

MOST_ENDED = 20
"""So many trials may end for a completed one."""
