"""Decoders: a network's activity to scores [batch, class]; the highest score is the decision.

Ties, as between outputs that all stay silent, go to the class that comes first.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.activity import Activity
from snnexp.checks import require_positive

Scores = Float[Tensor, "batch class"]
Trace = Float[Tensor, "time batch class"]


class Decoder(ABC):
    """Reads the readout's membrane or spikes (`reads`) and multiplies the scores by `scale`.

    decoded: what of the readout's record `decode` takes, where that is not all that it reads.

    scale_gradient: whether the gradient is scaled too. False multiplies the value alone, as the
    BrainScaleS-2 tutorial does.
    """

    reads = "membrane"
    decoded: str | None = None

    def __init__(self, *, scale: float, scale_gradient: bool):
        (self.scale,) = require_positive(scale=scale)
        self.scale_gradient = scale_gradient

    def __call__(self, activity: Activity) -> Scores:
        recorded = getattr(activity.readout, self.decoded or self.reads)
        if recorded is None:
            raise ValueError(f"decoder: it reads the readout's {self.reads}, which has none")
        scores = self.decode(recorded)
        if self.scale == 1:
            return scores
        scaled = scores * self.scale
        return scaled if self.scale_gradient else scores + (scaled - scores).detach()

    @abstractmethod
    def decode(self, recorded: Any) -> Scores:
        """The scores before scaling."""


class MaxOverTime(Decoder):
    """The highest membrane over time."""

    def decode(self, recorded: Trace) -> Scores:
        return recorded.amax(0)


class SmoothMax(Decoder):
    """A soft maximum of the membrane v over time: log(mean_t exp(sharpness v_t)) / sharpness.

    Between the mean (sharpness towards 0) and the maximum (towards infinity). Every step has its
    share of the gradient, so that an output that never rises above its start learns, too. After
    Pinheiro & Collobert 2015, their pooling over an image.
    """

    def __init__(self, *, scale: float, scale_gradient: bool, sharpness: float):
        super().__init__(scale=scale, scale_gradient=scale_gradient)
        (self.sharpness,) = require_positive(sharpness=sharpness)

    def decode(self, recorded: Trace) -> Scores:
        summed = torch.logsumexp(self.sharpness * recorded, dim=0)
        return (summed - math.log(len(recorded))) / self.sharpness


class Last(Decoder):
    """The membrane at the last step."""

    def decode(self, recorded: Trace) -> Scores:
        return recorded[-1]


class Mean(Decoder):
    """The membrane's mean over time."""

    def decode(self, recorded: Trace) -> Scores:
        return recorded.mean(0)


class SumOverTime(Decoder):
    """The membrane's sum over time: the integral of Spyx."""

    def decode(self, recorded: Trace) -> Scores:
        return recorded.sum(0)


class SumOfSoftmax(Decoder):
    """The sum over time of the membranes' softmax (Bittar & Garner 2022)."""

    def decode(self, recorded: Trace) -> Scores:
        return torch.softmax(recorded, dim=-1).sum(0)


class FirstSpike(Decoder):
    """Minus the time of an output's first spike, in s: the first to spike is the decision.

    A spike in step k has the time k dt; an output that stays silent has that of the run's end. With
    a gradient of `eventprop` that of a time is exact; with a surrogate's the time falls by dt for
    each unit by which the spike that is read grows, as hxtorch's decoder of spike times has it.
    """

    reads = "spikes"

    def __init__(self, *, scale: float, scale_gradient: bool, dt: float):
        super().__init__(scale=scale, scale_gradient=scale_gradient)
        (self.dt,) = require_positive("s", dt=dt)

    def decode(self, recorded: Trace) -> Scores:
        return -self.dt * _FirstStep.apply(recorded)  # type: ignore[no-any-return]


class _FirstStep(torch.autograd.Function):
    """The step of the first spike, or the number of steps."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor) -> Tensor:
        fired = spikes > 0
        any_fired, step = fired.any(0), fired.byte().argmax(0)
        ctx.save_for_backward(step, any_fired)
        ctx.shape = spikes.shape
        exact = torch.promote_types(spikes.dtype, torch.float32)  # bfloat16 has no 257
        return torch.where(any_fired, step, len(spikes)).to(exact)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        step, any_fired = ctx.saved_tensors
        # a scatter that is deterministic waits for a copy from the host on a GPU
        every = torch.arange(ctx.shape[0], device=step.device)[:, None, None]
        return torch.where(every == step, -(gradients[0] * any_fired), 0.0)


class SpikeCount(Decoder):
    """The number of output spikes; needs a spiking readout."""

    reads = "spikes"
    decoded = "counts"

    def decode(self, recorded: Scores) -> Scores:
        return recorded
