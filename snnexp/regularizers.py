"""Regularizers: `term(activity, scores, network)`, one number that is added to the loss."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.activity import Activity
from snnexp.checks import require
from snnexp.models import Network

Scores = Float[Tensor, "batch class"]


class Regularizer(ABC):
    """One term of the loss; `factor` is its weight there, not negative."""

    def __init__(self, *, factor: float):
        require(factor >= 0, f"factor: {factor!r}; it must not be negative")
        self.factor = factor

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
        return self.factor * sum_(counts.square().mean() for counts in hidden_counts(activity))


class Weights(Regularizer):
    """sum over synapses of factor mean(w^2); `factor` is a number, or a list with one a synapse.

    Synapses count from the input, each layer's recurrent matrix behind its input matrix.
    """

    def __init__(self, *, factor: float | Sequence[float]):
        self.factors = list(factor) if isinstance(factor, Sequence) else None
        require(self.factors != [], "factor: []; give a number, or one for each synapse")
        for value in self.factors or []:
            super().__init__(factor=value)
        if not isinstance(factor, Sequence):
            super().__init__(factor=factor)

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        weights = list(network.weights().values())
        factors = self.factors or [self.factor] * len(weights)
        require(
            len(factors) == len(weights),
            f"factor: {len(factors)} entries for {len(weights)} synapses; give one for each",
        )
        return sum_(f * w.square().mean() for f, w in zip(factors, weights, strict=True))


class LowerRate(Regularizer):
    """factor mean over batch and neuron of relu(bound - n)^2, summed over hidden layers.

    n: spikes of a neuron in a sample; `bound` likewise (Zenke & Vogels 2021).
    """

    def __init__(self, *, factor: float, bound: float):
        super().__init__(factor=factor)
        require(bound > 0, f"bound: {bound!r}; it must be above 0")
        self.bound = bound

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        short = ((self.bound - n).relu() for n in hidden_counts(activity))
        return self.factor * sum_(s.square().mean() for s in short)


class UpperRate(Regularizer):
    """factor mean over batch of relu(mean over neurons of n - bound)^2, summed over hidden layers.

    n: spikes of a neuron in a sample; `bound` likewise (Zenke & Vogels 2021).
    """

    def __init__(self, *, factor: float, bound: float):
        super().__init__(factor=factor)
        require(bound >= 0, f"bound: {bound!r}; it must not be negative")
        self.bound = bound

    def __call__(self, activity: Activity, scores: Scores, network: Network) -> Float[Tensor, ""]:
        above = ((n.mean(1) - self.bound).relu() for n in hidden_counts(activity))
        return self.factor * sum_(a.square().mean() for a in above)


def hidden_counts(activity: Activity) -> list[Float[Tensor, "batch neuron"]]:
    """Spikes per sample and neuron of each hidden layer."""
    counts = (layer.counts for layer in activity.hidden.values())
    return [count for count in counts if count is not None]


def sum_(terms) -> Float[Tensor, ""]:
    """Sum of scalar tensors; there is at least one."""
    return torch.stack(list(terms)).sum()
