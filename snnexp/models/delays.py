"""Axonal delays: what a source sends arrives later, at all of its targets alike."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from snnexp.checks import require, require_positive
from snnexp.inputs import Dense, Inputs, Static, Train


class Delay(nn.Module):
    """Delays of a layer's `size` sources, input channels or neurons, each of its own.

    z'(t) = z(t - n), n = round(delay / dt): spikes stay whole and on the grid. What would arrive
    behind the last step is lost. A recurrent connection keeps its one step.
    low, high: in s, between which delays are drawn, uniformly; longest: in s. dt: of a step, in s.
    inputs: whether the network's input channels are delayed too.
    """

    seconds: Float[Tensor, " channel"]
    """The delays as they act, before rounding to the grid."""

    def __init__(
        self, *, size: int, dt: float, low: float, high: float, longest: float, inputs: bool
    ):
        super().__init__()
        (self.dt,) = require_positive("s", dt=dt)
        require(0 <= low <= high, f"low: {low!r} s; it must lie between 0 and high = {high!r} s")
        require(high <= longest, f"high: {high!r} s; it must not be above longest = {longest!r} s")
        self.inputs, self.size, self.low, self.high = inputs, size, low, high
        self.kept = math.ceil(longest / dt - 1e-6) + 1
        """Steps of the past from which spikes may still arrive, and one for the gradient.

        A part of a step counts as a whole one: float32 may round it up.
        """

    def drawn(self) -> Float[Tensor, " channel"]:
        """Delays in s, as they are at first."""
        return torch.empty(self.size).uniform_(self.low, self.high)

    def forward(self, sent: Inputs | Train, past: Tensor | None) -> tuple[Dense, Tensor]:
        """What arrives in these steps, and what is still under way.

        past: the last `kept` steps before, [time, batch, channel]; None where there were none.
        Raises ValueError for static values, which have no spikes.
        """
        require(
            not isinstance(sent, Static),
            "inputs: true, but the network's input are static values, which have no spikes to "
            "delay; set it to false, or give spikes",
        )
        seconds = self.seconds
        spikes = sent.dense().to(seconds.dtype)
        if past is None:
            past = spikes.new_zeros(self.kept, *spikes.shape[1:])
        known = torch.cat([past, spikes])
        arrived = _Shift.apply(known, seconds / self.dt, self.kept)
        return Dense(arrived), known[-self.kept :].clone()  # a view would keep all of `known`


class FixedDelay(Delay):
    """`Delay` that stays as it was drawn; with low = high all delays are the same."""

    def __init__(self, *, size: int, dt: float, low: float, high: float, inputs: bool):
        super().__init__(size=size, dt=dt, low=low, high=high, longest=high, inputs=inputs)
        self.register_buffer("seconds", self.drawn())


class LearntDelay(Delay):
    """`Delay` that is learnt, within [0, longest].

    Learnt is its share of `longest`, so that a learning rate means the same on every grid. At an
    end of the range a gradient that points outwards is dropped. Forward the delay is rounded;
    backward the derivative by it is the difference of the neighbouring steps,
    dz'(t)/dn = (z(t - n - 1) - z(t - n + 1)) / 2, and z(t - 1) - z(t) at n = 0. Neurons being
    filters of what arrives, this is the difference quotient of the response to a spike, as
    Shrestha & Orchard 2018 (SLAYER, section 3) learn axonal delays by its derivative.
    """

    def __init__(
        self, *, size: int, dt: float, low: float, high: float, longest: float, inputs: bool
    ):
        (self.longest,) = require_positive("s", longest=longest)
        super().__init__(size=size, dt=dt, low=low, high=high, longest=longest, inputs=inputs)
        self.share = nn.Parameter(self.drawn() / longest)

    @property
    def seconds(self) -> Float[Tensor, " channel"]:  # type: ignore[override]
        return self.longest * Within.apply(self.share)


class Within(torch.autograd.Function):
    """Clamped to [0, 1]; a gradient passes unless descent would lead on outwards."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        ctx.save_for_backward(share)
        return share.clamp(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (share,) = ctx.saved_tensors
        outwards = ((share <= 0) & (gradient > 0)) | ((share >= 1) & (gradient < 0))
        return gradient.masked_fill(outwards, 0)


class _Shift(torch.autograd.Function):
    """Of `known` [kept + time, batch, channel] each channel `delay` steps ago, [time, ...]."""

    @staticmethod
    def forward(ctx: Any, known: Tensor, delay: Tensor, kept: int) -> Tensor:
        whole = delay.round().long()
        steps = torch.arange(kept - 1, len(known) + 1, device=known.device)
        places = (steps[:, None, None] - whole).clamp(max=len(known) - 1)
        around = known.gather(0, places.expand(-1, known.shape[1], -1))
        ctx.kept = kept
        ctx.save_for_backward(around, whole)
        return around[1:-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]
        around, whole = ctx.saved_tensors
        to_known = to_delay = None
        if ctx.needs_input_grad[0]:
            to_known = _advanced(gradient, whole, ctx.kept)
        if ctx.needs_input_grad[1]:
            later = torch.where(whole > 0, around[2:], around[1:-1])
            slope = gradient * (around[:-2] - later)
            to_delay = slope.sum((0, 1)) / torch.where(whole > 0, 2, 1)
        return to_known, to_delay, None


def _advanced(
    gradient: Tensor, delay: Int[Tensor, " channel"], kept: int
) -> Float[Tensor, "known batch channel"]:
    """What a shift back in time leaves at each known step; a scatter would sort it on a GPU."""
    padded = nn.functional.pad(gradient, (0, 0, 0, 0, kept, kept))
    steps = torch.arange(kept + len(gradient), device=gradient.device)
    return padded.gather(0, (steps[:, None, None] + delay).expand(-1, gradient.shape[1], -1))
