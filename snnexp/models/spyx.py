"""Neurons and initial weights as Spyx has them (Heckel, Abreu, Lenz & Nowotny 2024)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from snnexp.checks import require_positive
from snnexp.kernels import NeuronParameters
from snnexp.kernels.surrogates import Surrogate
from snnexp.models.lif import LIF
from snnexp.models.neuron import Neuron


def _truncated(weight: Tensor, mean: float, std: float) -> None:
    """N(mean, std) within two standard deviations."""
    nn.init.trunc_normal_(weight, mean, std, mean - 2 * std, mean + 2 * std)


class RLIF(LIF):
    """Leaky integrate and fire that spikes before its update, with a learnt decay a neuron.

    z(t) = H(v(t-1) - threshold), v(t) = beta v(t-1) + x(t) + (W + f) z(t) - threshold z(t),
    H(0) = 0. W, a matrix, is there if `recurrent`; f, one weight from each neuron to itself, if
    `feedback_std` is not None. The reset carries the surrogate's gradient. beta is drawn from
    N(beta_mean, beta_std), f from N(0, feedback_std), within two standard deviations; beta is used
    clamped to [0, 1]. Returned is z(t), so that spikes come a step later than the membrane that
    caused them.

    Spyx had f before it changed from Haiku to Flax, W since. f costs no operation: it adds to the
    reset.
    """

    time_constants = ("beta",)

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        beta_mean: float,
        beta_std: float,
        threshold: float,
        recurrent: bool,
        feedback_std: float | None,
        surrogate: Surrogate,
    ):
        require_positive(beta_std=beta_std)
        super().__init__(
            size=size,
            dt=dt,
            beta=1.0,
            threshold=threshold,
            reset="subtract",
            reset_delay=True,
            detach_reset=False,
            spike_from="before",
            strict=True,
            recurrent=recurrent,
            surrogate=surrogate,
        )
        self.beta = nn.Parameter(torch.empty(size))
        _truncated(self.beta, beta_mean, beta_std)
        self.feedback: nn.Parameter | None = None
        if feedback_std is not None:
            require_positive(feedback_std=feedback_std)
            self.feedback = nn.Parameter(torch.empty(size))
            _truncated(self.feedback, 0.0, feedback_std)

    @property
    def constants(self) -> NeuronParameters:
        """Made anew at each call, since beta and the feedback learn."""
        assert self._constants is not None
        constants = replace(self._constants, keep_mem=self.beta.clamp(0, 1))
        if self.feedback is None:
            return constants
        return replace(constants, late=constants.late - self.feedback)


class LearntLI(Neuron):
    """Leaky integrator, v(t) = beta v(t-1) + x(t): beta is drawn, clamped and learnt as RLIF's."""

    spiking = False
    time_constants = ("beta",)

    def __init__(self, *, size: int, dt: float, beta_mean: float, beta_std: float):
        require_positive(beta_std=beta_std)
        super().__init__(size=size, dt=dt, constants=NeuronParameters(keep_mem=1.0))
        self.beta = nn.Parameter(torch.empty(size))
        _truncated(self.beta, beta_mean, beta_std)

    @property
    def constants(self) -> NeuronParameters:
        """Made anew at each call, since beta learns."""
        assert self._constants is not None
        return replace(self._constants, keep_mem=self.beta.clamp(0, 1))


class Haiku:
    """w ~ N(0, gain / sqrt(inputs)) within two standard deviations, as Haiku's Linear draws it.

    Recurrent weights have the standard deviation `recurrent_std` whatever the width (Spyx: 1).
    """

    def __init__(self, *, gain: float, recurrent_std: float):
        self.gain, self.recurrent_std = require_positive(gain=gain, recurrent_std=recurrent_std)

    def fill(self, weight: Tensor, layer: int, num_layers: int, recurrent: bool = False) -> None:
        """Draw `weight` [neuron, input, ...] in place, alike in all layers."""
        std = self.recurrent_std if recurrent else self.gain / weight[0].numel() ** 0.5
        _truncated(weight, 0.0, std)
