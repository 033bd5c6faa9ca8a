"""Initial weights by what membranes are to do under input of a known rate."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp import kernels
from snnexp.checks import require, require_between, require_positive, require_whole
from snnexp.models.images import AvgPool2d, Conv2d, SumPool2d
from snnexp.models.layer import Layer
from snnexp.models.neuron import Neuron
from snnexp.models.synapses import Chain, Flatten, Linear

NEVER = 1e30
"""A threshold that no membrane reaches."""


class Fluctuation:
    """w ~ N(m, s^2) that make membranes fluctuate as asked (Rossbroich, Gygax & Zenke 2022).

    Of n inputs that are Poisson processes of rate r a membrane that never spikes has, after
    `steps` steps, the mean rest + n m r dt sum e(k) and, on average over the weights, the variance
    n (m^2 + s^2) r dt sum e(k)^2; e(k) is its response to a spike of weight 1, k steps later, that
    of each neuron's own constants. m and s are those at which the mean is `mean` and the standard
    deviation (threshold - mean) / distance, so that the threshold lies `distance` of them away;
    integrators count as if theirs were 1. input_rate: r of the network's inputs, in Hz;
    hidden_rate: of neurons. recurrent_share: of the variance, what recurrent weights, whose mean is
    0, are to cause. Summed pooling over p pixels takes the place of n by n p, averages by n / p, on
    spikes or on currents, at which the mean must be that at rest; borders that are padded see less.
    Raises ValueError for a mean that leaves no variance, and for synapses that it does not know.
    """

    def __init__(
        self,
        *,
        input_rate: float,
        hidden_rate: float,
        mean: float,
        distance: float,
        recurrent_share: float,
        steps: int,
    ):
        require_positive("Hz", input_rate=input_rate, hidden_rate=hidden_rate)
        (self.distance,) = require_positive(distance=distance)
        (self.recurrent_share,) = require_between(0, 1, recurrent_share=recurrent_share)
        (self.steps,) = require_whole(1, steps=steps)
        self.input_rate, self.hidden_rate, self.mean = input_rate, hidden_rate, mean

    def fill_layer(self, layer: Layer, index: int) -> None:
        """Draw the weights of layer number `index` from the input, then its recurrent ones."""
        neuron = layer.neuron
        response, rest, threshold = _response(neuron, self.steps)
        pooled = _pooling(layer)
        require(
            pooled == 1 or bool((rest == self.mean).all()),
            f"init.mean: {self.mean!r}; of pooled layers it must be the membrane at rest, "
            f"{rest.mean():.3g}",
        )
        require(
            bool((threshold > self.mean).all()),
            f"init.mean: {self.mean!r}; it must lie below the neurons' threshold",
        )
        wanted = ((threshold - self.mean) / self.distance) ** 2
        share = self.recurrent_share if neuron.recurrent is not None else 0.0
        total, squares = response.sum(0) * neuron.dt, response.square().sum(0) * neuron.dt
        arriving = layer.weight[0].numel() * (self.hidden_rate if index else self.input_rate)
        mean = (self.mean - rest) / (arriving * total)
        spread = (1 - share) * wanted / (arriving * pooled * squares) - mean**2
        require(
            bool((spread >= 0).all() and mean.isfinite().all()),
            f"init.mean: {self.mean!r} takes more variance of the inputs than distance = "
            f"{self.distance!r} asks for; move it towards the resting membrane, or lower distance",
        )
        _draw(layer.weight, mean, spread.sqrt())
        if neuron.recurrent is not None:
            sources = max(neuron.others, 1)
            spread = share * wanted / (sources * self.hidden_rate * squares)
            _draw(neuron.recurrent, torch.zeros_like(spread), spread.sqrt())


@torch.no_grad()
def _draw(weight: Tensor, mean: Tensor, std: Tensor) -> None:
    """[neuron, input, ...] with numbers for each neuron; of channels of images the mean."""
    if len(mean) != len(weight):
        mean, std = mean.mean(), std.mean()
    shape = (-1, *[1] * (weight.ndim - 1))
    weight.normal_().mul_(std.view(shape)).add_(mean.view(shape))


@torch.no_grad()
def _response(
    neuron: Neuron, steps: int
) -> tuple[Float[Tensor, "time neuron"], Float[Tensor, " neuron"], Float[Tensor, " neuron"]]:
    """The membrane after a spike of weight 1, what it rests at, and the threshold."""
    constants = neuron.constants
    require(
        constants is not None,
        f"init: {type(neuron).__name__} runs a loop of its own, of which nothing is known; choose "
        "another, such as model/init=torch",
    )
    assert constants is not None
    threshold = torch.as_tensor(constants.threshold).double().expand(neuron.size)
    silent = replace(constants, threshold=NEVER, exact=False)
    current = torch.zeros(steps, 2, neuron.size, dtype=torch.double)
    current[0, 0] = 1
    trace = kernels.scan(current, silent, membrane=True, kernel="reference").membrane
    assert trace is not None
    return trace[:, 0] - trace[:, 1], trace[-1, 1], threshold


def _pooling(layer: Layer) -> float:
    """By how much pooling multiplies the variance of what centred weights cause."""
    synapse, factor = layer.synapse, 1.0
    for part in synapse.parts.values() if isinstance(synapse, Chain) else [synapse]:
        require(
            isinstance(part, Linear | Flatten | Conv2d | SumPool2d | AvgPool2d),
            f"init: what {type(part).__name__} does to membranes is not worked out; choose "
            "another, such as model/init=torch",
        )
        if isinstance(part, SumPool2d):
            factor *= part.kernel_size**2
        if isinstance(part, AvgPool2d):
            factor /= part.kernel_size**2
    return factor
