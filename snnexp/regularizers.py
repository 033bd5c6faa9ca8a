"""Regularizers: `term(activity, scores, network)`, one number that is added to the loss."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp import synops
from snnexp.activity import Activity
from snnexp.checks import require, require_not_negative, require_positive
from snnexp.models import Network

Scores = Float[Tensor, "batch class"]


class Regularizer(ABC):
    """One term of the loss; `factor` is its weight there, not negative."""

    def __init__(self, *, factor: float):
        (self.factor,) = require_not_negative(factor=factor)

    def prepare(  # noqa: B027  (most terms need nothing)
        self, untrained: Callable[[], Activity], network: Network
    ) -> None:
        """Called once before any batch; `untrained` runs the untrained network on one."""

    def measured(self) -> dict[str, Any]:
        """What `prepare` measured; checkpoints keep it."""
        return {}

    def restore(self, measured: Mapping[str, Any]) -> None:  # noqa: B027
        """Called before `prepare` with what it measured when training began, if that is known."""

    @abstractmethod
    def __call__(
        self, activity: Activity, scores: Scores, network: Network
    ) -> Float[Tensor, ""]: ...


class Readout(Regularizer):
    """factor mean(scores^2): keeps the scores small (hxtorch's readout term, 4e-4)."""

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        return self.factor * scores.square().mean()


class Burst(Regularizer):
    """factor mean over batch and neuron of (sum_t z)^2, summed over hidden layers (hxtorch)."""

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        return self.factor * summed(counts.square().mean() for counts in hidden_counts(activity))


class Weights(Regularizer):
    """sum over synapses of factor mean(w^2); `factor` is a number, or a list with one a synapse.

    Synapses count from the input, each layer's recurrent matrix behind its input matrix.
    """

    def __init__(self, *, factor: float | Sequence[float]):
        factors = list(factor) if isinstance(factor, Sequence) else [factor]
        require(factors != [], "factor: []; give a number, or one for each synapse")
        for value in factors:
            super().__init__(factor=value)  # refuses a negative one
        self.factors = factors if isinstance(factor, Sequence) else None

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        weights = list(network.weights().values())
        factors = self.factors or [self.factor] * len(weights)
        require(
            len(factors) == len(weights),
            f"factor: {len(factors)} entries for {len(weights)} synapses; give one for each",
        )
        return summed(f * w.square().mean() for f, w in zip(factors, weights, strict=True))


class LowerRate(Regularizer):
    """factor mean over batch and neuron of relu(bound - n)^2, summed over hidden layers.

    n: spikes of a neuron in a sample; `bound` likewise (Zenke & Vogels 2021).
    """

    def __init__(self, *, factor: float, bound: float):
        super().__init__(factor=factor)
        (self.bound,) = require_positive(bound=bound)

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        short = ((self.bound - n).relu() for n in hidden_counts(activity))
        return self.factor * summed(s.square().mean() for s in short)


class UpperRate(Regularizer):
    """factor mean over batch of relu(mean over neurons of n - bound)^2, summed over hidden layers.

    n: spikes of a neuron in a sample; `bound` likewise (Zenke & Vogels 2021).
    """

    def __init__(self, *, factor: float, bound: float):
        super().__init__(factor=factor)
        (self.bound,) = require_not_negative(bound=bound)

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        above = ((n.mean(1) - self.bound).relu() for n in hidden_counts(activity))
        return self.factor * summed(a.square().mean() for a in above)


class _Synops(Regularizer):
    """A term of S / S*: operations a sample, as sinabs counts them, over those that are wanted.

    target: S* itself; with `of` a multiple of what it names: `untrained`, the untrained
    network's on the first training batch, or the folder of a trained run, its best epoch's on the
    validation data. Either is measured when training begins, and kept.
    """

    def __init__(self, *, factor: float, target: float, of: str | None):
        super().__init__(factor=factor)
        require_positive(target=target)
        self.target, self.of = target, of
        self.unit = 1.0 if of is None else None

    def prepare(self, untrained: Callable[[], Activity], network: Network) -> None:
        if self.of is None or self.unit is not None:
            return
        if self.of == "untrained":
            with torch.no_grad():
                unit = float(synops.total(untrained(), network))
        else:
            unit = _synops_of(self.of)
        require(unit > 0, f"of: {self.of}: no operations there, so that no target follows")
        self.unit = unit

    def measured(self) -> dict[str, Any]:
        return {} if self.of is None else {"of": self.of, "unit": self.unit}

    def restore(self, measured: Mapping[str, Any]) -> None:
        if self.of is not None and measured.get("of") == self.of:
            self.unit = measured["unit"]

    @property
    def wanted(self) -> float:
        """S*."""
        assert self.unit is not None
        return self.target * self.unit

    def excess(self, activity: Activity, network: Network) -> Float[Tensor, ""]:
        """S - S*."""
        return synops.total(activity, network) - self.wanted

    @property
    def weight(self) -> float:
        """By what the square of the excess is multiplied."""
        return self.factor / self.wanted**2


class SynopsTarget(_Synops):
    """factor (S* - S)^2 / S*^2, from both sides (sinabs' tutorial)."""

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        return self.weight * self.excess(activity, network).square()


class SynopsBudget(_Synops):
    """factor relu(S / S* - 1)^2: what is below the budget costs nothing."""

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        return self.weight * self.excess(activity, network).relu().square()


def _synops_of(folder: str) -> float:
    """The operations a sample of a trained run."""
    path, name = Path(folder) / "summary.json", "val/synops_fanout_per_sample"
    try:
        return float(json.loads(path.read_text())[name])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"of: {folder!r} is no complete run with {name} ({type(error).__name__}: {error}); "
            "give the folder of one, untrained, or null"
        ) from error


def hidden_counts(activity: Activity) -> list[Float[Tensor, "batch neuron"]]:
    """Spikes per sample and neuron of each hidden layer."""
    counts = (layer.counts for layer in activity.hidden.values())
    return [count for count in counts if count is not None]


def summed(terms: Iterable[Float[Tensor, ""]]) -> Float[Tensor, ""]:
    """The sum of numbers, of which there is at least one."""
    return torch.stack(list(terms)).sum()
