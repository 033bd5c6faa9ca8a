"""CUDA graphs: what a GPU does in a training step, recorded once and replayed."""

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from snnexp.inputs import Dense, Events, Inputs, Static

Function = Callable[..., tuple[Tensor, ...]]
"""Of `Inputs` and tensors."""


class Replay:
    """A differentiable function of a network's inputs and of tensors, without the host's launches.

    Batches of one shape are recorded once, forward and backward; what the host knew then besides
    the tensors is part of the record. Events, whose number differs by batch, are computed as
    without. Recording leaves buffers and random numbers as they were. Of what is given back the
    gradient must be taken before the next call. The network's gradients lie where each replay
    writes them: they cannot be summed over calls.
    """

    def __init__(self, function: Function, network: nn.Module):
        self.function, self.network = function, network
        self._recorded: dict[tuple[torch.Size, ...], Function] = {}

    def __call__(self, inputs: Inputs, *others: Tensor) -> tuple[Tensor, ...]:
        if isinstance(inputs, Events):
            return self.function(inputs, *others)
        given = (inputs.values if isinstance(inputs, Static) else inputs.spikes, *others)
        shapes = tuple(tensor.shape for tensor in given)
        if shapes not in self._recorded:
            self._recorded[shapes] = self._record(inputs, given)
        recorded = self._recorded[shapes]
        return tuple(tensor.clone() for tensor in recorded(*given, *self.network.parameters()))

    def release(self) -> None:
        """Give the records' memory back, which Python would do some time or other."""
        self._recorded.clear()
        gc.collect()  # a record is a class, which refers to itself

    def _record(self, inputs: Dense | Static, given: tuple[Tensor, ...]) -> Function:
        """Steps that warm up, then the record; the tensors are its own, but parameters' values."""
        step = _Step(self.function, self.network, inputs, given[0].device.type)
        learnt = dict(step.named_parameters())

        def run(*tensors: Tensor) -> tuple[Tensor, ...]:
            parameters = dict(zip(learnt, tensors[len(given) :], strict=True))
            return functional_call(step, parameters, tensors[: len(given)])

        own = [tensor.clone() for tensor in given]
        # what is known of the parameters' own gradients would tie the record to other steps
        own += [nn.Parameter(p.detach(), p.requires_grad) for p in learnt.values()]
        buffers = list(self.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        with (
            torch.random.fork_rng(range(torch.cuda.device_count())),
            torch.autocast(step.kind, enabled=False),  # else it holds in the backward pass, too
        ):
            recorded: Any = torch.cuda.make_graphed_callables(
                run, tuple(own), allow_unused_input=True
            )
        for buffer, kept in zip(buffers, before, strict=True):
            buffer.copy_(kept)
        return recorded


class _Step(nn.Module):
    """The function of tensors alone, with the network's parameters and the present autocast."""

    def __init__(self, function: Function, network: nn.Module, inputs: Dense | Static, kind: str):
        super().__init__()
        self.function, self.network, self.kind = function, network, kind
        self.steps = inputs.num_steps if isinstance(inputs, Static) else None
        self.autocast = torch.autocast(
            kind,
            dtype=torch.get_autocast_dtype(kind),
            enabled=torch.is_autocast_enabled(kind),
            cache_enabled=False,
        )

    def forward(self, first: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        inputs = Dense(first) if self.steps is None else Static(first, self.steps)
        with self.autocast:
            return self.function(inputs, *others)
