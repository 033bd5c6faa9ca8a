"""What a network is fed: dense spikes, events or static values; its layers hand on packed spikes.

A reader asks for `dense()`, a synapse for `project(weight)`, which costs what the kind of input
allows: static values are projected once, events one by one. `split(steps)` gives its segments in
time.
"""

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from snnexp import kernels
from snnexp.kernels import Packed, Projection

Record = TypeVar("Record", bound="Tensors")
Weight = Float[Tensor, "neuron channel"]
Current = Float[Tensor, "time batch neuron"] | Projection


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The host's tensor on `device`; the host does not wait for a GPU to take it."""
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)


@dataclass(frozen=True)
class Tensors:
    """A frozen record of tensors and numbers that moves between devices as a whole."""

    def to(self: Record, device: torch.device | str) -> Record:
        """The same record with its tensors on `device`."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        moved = {
            name: value.to(device) if isinstance(value, Tensor | Tensors) else value
            for name, value in values.items()
        }
        return type(self)(**moved)


@dataclass(frozen=True)
class Dense(Tensors):
    """Spikes on the time grid, [time, batch, channel]; non-negative whole numbers.

    counted: their `counts`, where the scan that made them has counted already.
    """

    spikes: Float[Tensor, "time batch channel"]
    counted: Float[Tensor, "batch channel"] | None = field(default=None, kw_only=True)

    @property
    def num_steps(self) -> int:
        return self.spikes.shape[0]

    @property
    def batch_size(self) -> int:
        return self.spikes.shape[1]

    @property
    def num_channels(self) -> int:
        return self.spikes.shape[2]

    @cached_property
    def counts(self) -> Float[Tensor, "batch channel"]:
        """Spikes per sample and channel, differentiable even if first asked for without."""
        if self.counted is not None:
            return self.counted
        whole = torch.promote_types(self.spikes.dtype, torch.float32)  # bfloat16 has no 257
        with torch.enable_grad():
            return self.spikes.sum(0, dtype=whole)

    def dense(self) -> Float[Tensor, "time batch channel"]:
        return self.spikes

    def project(self, weight: Weight) -> Current:
        """One matrix product over time x batch, or spike by spike where they are few."""
        return kernels.project(self.spikes, weight)

    def split(self, steps: int) -> list["Dense"]:
        return [Dense(part) for part in self.spikes.split(steps)]


@dataclass(frozen=True)
class Events(Tensors):
    """Spikes as flat arrays, one entry an event; events in one bin add up.

    Fastest as int32, in the order of step, then sample.
    """

    step: Int[Tensor, " event"]
    sample: Int[Tensor, " event"]
    channel: Int[Tensor, " event"]
    num_steps: int
    batch_size: int
    num_channels: int

    @property
    def counts(self) -> Float[Tensor, "batch channel"]:
        """Spikes per sample and channel."""
        place = self.sample.long() * self.num_channels + self.channel
        counts = torch.bincount(place, minlength=self.batch_size * self.num_channels)
        return counts.view(self.batch_size, self.num_channels).float()

    def active(self) -> Int[Tensor, " channel"]:
        """In how many (step, sample) each channel has events, one or more."""
        row = self.step.long() * self.batch_size + self.sample
        place = row * self.num_channels + self.channel
        number = torch.arange(len(place), device=place.device)
        size = self.num_steps * self.batch_size * self.num_channels
        one = number.new_empty(size)  # of the events of a bin one leaves its number there
        one[place] = number
        return torch.bincount(self.channel[one[place] == number], minlength=self.num_channels)

    def dense(self) -> Float[Tensor, "time batch channel"]:
        grid = torch.zeros(
            self.num_steps, self.batch_size, self.num_channels, device=self.step.device
        )
        one = torch.ones((), device=self.step.device)
        return grid.index_put_((self.step, self.sample, self.channel), one, accumulate=True)

    def project(self, weight: Weight) -> Current:
        """Adds one row of weights an event: cheap where few channels spike."""
        return kernels.project_events(
            self.step, self.sample, self.channel, self.num_steps, self.batch_size, weight
        )

    def split(self, steps: int) -> list["Events"]:
        starts = list(range(0, self.num_steps, steps))
        order = slice(None) if bool((self.step.diff() >= 0).all()) else self.step.argsort()
        step, sample, channel = self.step[order], self.sample[order], self.channel[order]
        bounds = step.new_tensor(starts[1:])
        sizes = torch.searchsorted(step, bounds).diff(
            prepend=bounds.new_zeros(1), append=bounds.new_tensor([len(step)])
        )
        parts = zip(*(part.split(sizes.tolist()) for part in (step, sample, channel)), strict=True)
        return [
            Events(
                own_step - start,
                own_sample,
                own_channel,
                min(steps, self.num_steps - start),
                self.batch_size,
                self.num_channels,
            )
            for start, (own_step, own_sample, own_channel) in zip(starts, parts, strict=True)
        ]


@dataclass(frozen=True)
class Static(Tensors):
    """Values [batch, channel] that are applied at each of `num_steps` steps."""

    values: Float[Tensor, "batch channel"]
    num_steps: int

    @property
    def batch_size(self) -> int:
        return self.values.shape[0]

    @property
    def num_channels(self) -> int:
        return self.values.shape[1]

    def dense(self) -> Float[Tensor, "time batch channel"]:
        return self.values.expand(self.num_steps, -1, -1)

    def project(self, weight: Weight) -> Current:
        """Projected once: the one step stands for all."""
        return functional.linear(self.values, weight)[None]

    def split(self, steps: int) -> list["Static"]:
        starts = range(0, self.num_steps, steps)
        return [Static(self.values, min(steps, self.num_steps - start)) for start in starts]


Inputs = Dense | Events | Static
Train = Dense | Packed
"""The spikes of a layer."""
