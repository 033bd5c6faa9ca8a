"""CUDA graphs: what a GPU does in a training step, recorded once and replayed."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from snnexp.inputs import Events, Inputs
from snnexp.models import Network

Function = Callable[[Inputs, Tensor], tuple[Tensor, ...]]


class Replay:
    """A differentiable function of (inputs, labels), without the host's launches.

    The first batch's shapes are recorded, forward and backward; what the host knew then besides
    the tensors is part of the record. Other shapes, as of a smaller last batch, and events, whose
    number differs by batch, are computed as without. Recording leaves buffers and random numbers
    as they were. Of what is given back the gradient must be taken before the next call. The
    network's gradients lie where each replay writes them: they cannot be summed over calls.
    """

    def __init__(self, function: Function, network: Network):
        self.function, self.network = function, network
        self._shapes: list[torch.Size] | None = None
        self._recorded: Callable[..., tuple[Tensor, ...]] | None = None

    def __call__(self, inputs: Inputs, labels: Tensor) -> tuple[Tensor, ...]:
        if isinstance(inputs, Events):
            return self.function(inputs, labels)
        given = [*_tensors(inputs), labels]
        shapes = [tensor.shape for tensor in given]
        if self._recorded is None:
            self._shapes, self._recorded = shapes, self._record(inputs, given)
        if shapes != self._shapes:
            return self.function(inputs, labels)
        return tuple(tensor.clone() for tensor in self._recorded(*given))

    def _record(self, inputs: Inputs, given: Sequence[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        """Steps that warm up, then the record; the tensors are the record's own."""
        own = tuple(tensor.clone() for tensor in given)
        buffers = list(self.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        step = _Step(self.function, self.network, inputs)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            recorded = torch.cuda.make_graphed_callables(step, own, allow_unused_input=True)
        for buffer, kept in zip(buffers, before, strict=True):
            buffer.copy_(kept)
        return recorded


class _Step(nn.Module):
    """The function with tensors as its arguments and the network's parameters as its own."""

    def __init__(self, function: Function, network: Network, like: Inputs):
        super().__init__()
        self.function, self.network, self.like = function, network, like

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        *parts, labels = given
        named = dict(zip(_names(self.like), parts, strict=True))
        return self.function(replace(self.like, **named), labels)


def _names(inputs: Inputs) -> list[str]:
    return [f.name for f in fields(inputs) if isinstance(getattr(inputs, f.name), Tensor)]


def _tensors(inputs: Inputs) -> list[Tensor]:
    return [getattr(inputs, name) for name in _names(inputs)]
