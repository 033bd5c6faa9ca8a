"""Neurons on the time grid, whose decay is a factor per step: each documents its update."""

from dataclasses import replace

import torch
from torch import nn

from snnexp.checks import require, require_between, require_choice, require_positive
from snnexp.kernels import NeuronParameters
from snnexp.kernels.surrogates import Surrogate
from snnexp.models.neuron import Neuron


class LIF(Neuron):
    """Leaky integrate and fire, on the grid: the decay is a factor per step.

    v(t) = beta v(t-1) + x(t), z(t) = H(v(t) - threshold), then the reset R:
    `subtract` v - threshold z, `subtract_scaled` v - beta threshold z, `zero` v (1 - z), `none`.
    reset_delay: the reset acts in the step after the spike: `subtract` after the decay (the
    membrane loses a full threshold), `zero` before it.
    spike_from: `after` returns z(t); `before` returns z(t-1), the spike of the membrane before its
    update, as in snnTorch's tutorial 5 and Spyx, and the reset comes with it: it is delayed.
    strict: H(0) = 0, else 1. detach_reset: the reset carries no gradient.
    The recorded membrane is v(t) after its reset, so that with `reset_delay` spikes show as
    v > threshold. beta = exp(-dt / tau) relates to a time constant tau.
    After Eshraghian et al. 2023 (snnTorch), equations 4 and 5.
    """

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        beta: float,
        threshold: float,
        reset: str,
        reset_delay: bool,
        detach_reset: bool,
        spike_from: str,
        strict: bool,
        recurrent: bool,
        surrogate: Surrogate,
    ):
        require_between(0, 1, beta=beta)
        require_positive(threshold=threshold)
        require_choice(("subtract", "subtract_scaled", "zero", "none"), reset=reset)
        require_choice(("after", "before"), spike_from=spike_from)
        amount = {"subtract": threshold, "subtract_scaled": beta * threshold}.get(reset, 0.0)
        delay = reset_delay or spike_from == "before"
        constants = NeuronParameters(
            keep_mem=beta,
            threshold=threshold,
            amount=0.0 if delay else amount,
            late=amount if delay else 0.0,
            hard=reset == "zero",
            surrogate=surrogate,
            strict=strict,
            attached=not detach_reset,
            before_reset=delay,
            returns_late=spike_from == "before",
        )
        super().__init__(size=size, dt=dt, recurrent=recurrent, constants=constants)
        self.surrogate = surrogate


class LearntLIF(LIF):
    """`LIF` whose beta is learnt, one for each neuron: drawn from U(beta_low, beta_high).

    Used as it is clamped to [0, 1], as in snnTorch's tutorial on the population of betas.
    """

    time_constants = ("beta",)

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        beta_low: float,
        beta_high: float,
        threshold: float,
        reset: str,
        reset_delay: bool,
        detach_reset: bool,
        spike_from: str,
        strict: bool,
        recurrent: bool,
        surrogate: Surrogate,
    ):
        require_between(0, 1, beta_low=beta_low, beta_high=beta_high)
        require(
            beta_low <= beta_high,
            f"beta_low: {beta_low!r}; it must not be above beta_high = {beta_high!r}",
        )
        super().__init__(
            size=size,
            dt=dt,
            beta=1.0,
            threshold=threshold,
            reset=reset,
            reset_delay=reset_delay,
            detach_reset=detach_reset,
            spike_from=spike_from,
            strict=strict,
            recurrent=recurrent,
            surrogate=surrogate,
        )
        self.scaled = reset == "subtract_scaled"
        self.beta = nn.Parameter(torch.empty(size).uniform_(beta_low, beta_high))

    @property
    def constants(self) -> NeuronParameters:
        """Made anew at each call, since beta learns."""
        fixed, beta = self._constants, self.beta.clamp(0, 1)
        assert fixed is not None
        if not self.scaled:
            return replace(fixed, keep_mem=beta)
        if fixed.before_reset:  # a delayed reset
            return replace(fixed, keep_mem=beta, late=beta * fixed.late)
        return replace(fixed, keep_mem=beta, amount=beta * fixed.amount)


class IAF(Neuron):
    """Integrate and fire, without a leak: v(t) = v(t-1) + x(t), z(t) = H(v(t) - threshold).

    H(0) = 1. multiple: z(t) = floor(v(t) / threshold) above the threshold, so that a neuron may
    spike several times in a step. Then v(t) <- v(t) - threshold z(t), recorded after it.
    detach_reset: the reset carries no gradient. As sinabs' IAF, whose surrogate gradient
    exp(-|v - threshold| / (0.5 threshold)) is `Exponential` with alpha = 2 / threshold and
    scale = threshold.
    """

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        threshold: float,
        multiple: bool,
        detach_reset: bool,
        recurrent: bool,
        surrogate: Surrogate,
    ):
        require_positive(threshold=threshold)
        constants = NeuronParameters(
            keep_mem=1.0,
            threshold=threshold,
            amount=threshold,
            surrogate=surrogate,
            strict=False,
            multiple=multiple,
            attached=not detach_reset,
        )
        super().__init__(size=size, dt=dt, recurrent=recurrent, constants=constants)
        self.surrogate = surrogate


class LI(Neuron):
    """Leaky integrator without spikes: v(t) = beta v(t-1) + g x(t).

    g = 1 - beta if `normalized`, so that a constant input is its own fixed point; else 1.
    """

    spiking = False

    def __init__(self, *, size: int, dt: float, beta: float, normalized: bool):
        require_between(0, 1, beta=beta)
        gain = 1 - beta if normalized else 1.0
        constants = NeuronParameters(keep_mem=beta, gain=gain)
        super().__init__(size=size, dt=dt, constants=constants)
