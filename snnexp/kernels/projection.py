"""A layer's current before it is made."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from snnexp.kernels import operators


@dataclass(frozen=True)
class Projection:
    """The current [time, batch, neuron] of few spikes through a weight, yet to be made.

    The compiled loops make it row by row where they need it, so that it never lies in memory as a
    whole; `tensor` makes it at once.

    sent: bits [time, batch, word], or with `start` the channels of events; see `Source`.
    link: what gradients of the bits go through, [time, batch, channel]; None for events.
    weight: [neuron, channel]. steps, batch: the current's first two sizes.
    """

    sent: Tensor
    start: Tensor | None
    link: Tensor | None
    weight: Tensor
    steps: int
    batch: int

    def __post_init__(self) -> None:
        if self.link is not None and self.link.shape[2] != self.weight.shape[1]:
            channels = self.link.shape[2]
            raise ValueError(f"weight: it takes {self.weight.shape[1]} channels, not {channels}")

    @cached_property
    def shape(self) -> torch.Size:
        return torch.Size((self.steps, self.batch, self.weight.shape[0]))

    def tensor(self) -> Tensor:
        """The current, differentiable; made anew at each call."""
        if self.start is not None:
            return operators.project_events(self.start, self.sent, self.weight, self.batch)
        assert self.link is not None
        return operators.project(self.sent, self.link, self.weight)


Current = Tensor | Projection


def whole(current: Current) -> Tensor:
    """The current as a tensor."""
    return current.tensor() if isinstance(current, Projection) else current
