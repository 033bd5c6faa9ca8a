"""CUDA graphs: what a GPU does in a training step, recorded once and replayed."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from snnexp.inputs import Events, Inputs
from snnexp.models import Network

Function = Callable[..., tuple[Tensor, ...]]
"""Of `Inputs` and tensors."""


class Replay:
    """A differentiable function of a network's inputs and of tensors, without the host's launches.

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

    def __call__(self, inputs: Inputs, *others: Tensor) -> tuple[Tensor, ...]:
        if isinstance(inputs, Events):
            return self.function(inputs, *others)
        given = [getattr(inputs, name) for name in _tensors(inputs)] + [*others]
        shapes = [tensor.shape for tensor in given]
        if self._recorded is None:
            self._shapes, self._recorded = shapes, self._record(inputs, given)
        if shapes != self._shapes:
            return self.function(inputs, *others)
        return tuple(tensor.clone() for tensor in self._recorded(*given))

    def _record(self, inputs: Inputs, given: Sequence[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        """Steps that warm up, then the record; the tensors are the record's own."""
        own = tuple(tensor.clone() for tensor in given)
        buffers = list(self.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        step = _Step(self.function, self.network, inputs)
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            recorded: Any = torch.cuda.make_graphed_callables(step, own, allow_unused_input=True)
        for buffer, kept in zip(buffers, before, strict=True):
            buffer.copy_(kept)
        return recorded


class _Step(nn.Module):
    """The function with tensors as its arguments and the network's parameters as its own."""

    def __init__(self, function: Function, network: Network, like: Inputs):
        super().__init__()
        self.function, self.network, self.like = function, network, like

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        names = _tensors(self.like)
        inputs = replace(self.like, **dict(zip(names, given, strict=False)))
        return self.function(inputs, *given[len(names) :])


def _tensors(inputs: Inputs) -> list[str]:
    """The names of those that the inputs have."""
    return [f.name for f in fields(inputs) if isinstance(getattr(inputs, f.name), Tensor)]
