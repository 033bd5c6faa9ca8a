"""Neurons that their own spikes make less excitable: by a current, or by their threshold."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from snnexp.checks import require, require_between, require_positive
from snnexp.kernels import NeuronParameters
from snnexp.kernels.surrogates import Surrogate
from snnexp.models.neuron import Neuron
from snnexp.models.ranges import InRanges, Range, drawn, require_ranges


class ALIF(InRanges):
    """Leaky integrate and fire with an adaptive threshold (Bellec et al. 2018, 2020).

    v(t) = alpha v(t-1) + x(t) + W z(t-1) - threshold z(t-1), a(t) = rho a(t-1) + z(t-1),
    z(t) = H(v(t) - threshold - beta a(t)), alpha = exp(-dt / tau_mem), rho = exp(-dt / tau_adapt).
    Each spike raises the neuron's threshold by beta, which decays with tau_adapt, and takes the
    constant part from the membrane, with a gradient. No neuron excites itself through W.
    Learnt are, one for each neuron, both time constants and beta, drawn from U over the ranges
    `tau_mem`, `tau_adapt` (s) and `beta`; published with one value for all, which does not learn.
    The recorded membrane is v(t) - beta a(t), for which the threshold stands still.
    Raises ValueError for a tau_adapt below dt, which a step would outlast.
    """

    beta: Tensor

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        tau_mem: Range,
        tau_adapt: Range,
        beta: Range,
        threshold: float,
        recurrent: bool,
        surrogate: Surrogate,
    ):
        require_positive(threshold=threshold)
        constants = NeuronParameters(
            keep_mem=1.0,
            threshold=threshold,
            surrogate=surrogate,
            attached=True,
            before_reset=True,
        )
        super().__init__(size=size, dt=dt, recurrent=recurrent, autapses=False, constants=constants)
        self.surrogate, self.threshold = surrogate, threshold
        self.learn({"tau_mem": tau_mem, "tau_adapt": tau_adapt}, beta=beta)
        require(
            tau_adapt[0] >= dt,
            f"tau_adapt[0]: {tau_adapt[0]!r} s; it must be at least time.dt = {dt!r} s",
        )

    @property
    def constants(self) -> NeuronParameters:
        """Of u(t) = v(t) - beta a(t), and q(t) = beta (1 - alpha / rho) a(t+1).

        a(t-1) = (a(t) - z(t-1)) / rho, so that
        u(t) = alpha u(t-1) + x(t) - q(t-1) - (threshold + beta alpha / rho) z(t-1).
        """
        assert self._constants is not None
        alpha, rho = self.decay("tau_mem"), self.decay("tau_adapt")
        return replace(
            self._constants,
            keep_mem=alpha,
            late=self.threshold + self.beta * alpha / rho,
            keep_adapt=rho,
            from_spike=self.beta * (1 - alpha / rho),
        )


class AdLIF(Neuron):
    """Adaptive leaky integrate and fire (Bittar & Garner 2022); `recurrent`, their RadLIF.

    q(t) = beta q(t-1) + a v(t-1) + b z(t-1),
    v(t) = alpha (v(t-1) - z(t-1)) + (1 - alpha) (x(t) + W z(t-1) - q(t)), z(t) = H(v(t) - 1).
    alpha and beta (decays per step), a and b are learnt, one for each neuron, drawn uniformly from
    the ranges `alpha`, `beta`, `a`, `b` and used clamped to them. The reset carries a gradient. No
    neuron excites itself through W. The recorded membrane is v(t); all start at 0.
    """

    time_constants = ("alpha", "beta")

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        alpha: Range,
        beta: Range,
        a: Range,
        b: Range,
        recurrent: bool,
        surrogate: Surrogate,
    ):
        require_ranges(alpha=alpha, beta=beta, a=a, b=b)
        for name, bounds in (("alpha", alpha), ("beta", beta)):
            require_between(0, 1, **{f"{name}[{i}]": bound for i, bound in enumerate(bounds)})
        constants = NeuronParameters(
            keep_mem=1.0, surrogate=surrogate, attached=True, before_reset=True
        )
        super().__init__(size=size, dt=dt, recurrent=recurrent, autapses=False, constants=constants)
        self.surrogate = surrogate
        self.bounds = {"alpha": alpha, "beta": beta, "a": a, "b": b}
        self.alpha, self.beta = drawn(size, alpha), drawn(size, beta)
        self.a, self.b = drawn(size, a), drawn(size, b)

    @property
    def constants(self) -> NeuronParameters:
        """Made anew at each call, since all numbers learn."""
        assert self._constants is not None
        alpha, beta, a, b = (getattr(self, n).clamp(*bound) for n, bound in self.bounds.items())
        return replace(
            self._constants,
            keep_mem=alpha,
            gain=1 - alpha,
            late=alpha,
            keep_adapt=beta,
            from_membrane=a,
            from_spike=b,
        )


class SEAdLIF(InRanges):
    """Adaptive leaky integrate and fire by the symplectic Euler method (Baronig et al. 2024).

    v~ = alpha v(t-1) + (1 - alpha) (x(t) + W z(t-1) + bias - q(t-1)), z(t) = H(v~ - 1),
    v(t) = v~ (1 - z(t)), q(t) = beta q(t-1) + (1 - beta) scale (a v(t) + b z(t)),
    alpha = exp(-dt / tau_mem), beta = exp(-dt / tau_adapt): the adaptation sees the membrane as it
    is after this step and its reset, which carries no gradient.
    Learnt are, one for each neuron, bias (0 at first), both time constants, a and b: drawn from
    U over the ranges `tau_mem`, `tau_adapt` (s), `a`, `b`.
    The recorded membrane is v(t), after its reset.
    """

    a: Tensor
    b: Tensor

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        tau_mem: Range,
        tau_adapt: Range,
        a: Range,
        b: Range,
        scale: float,
        recurrent: bool,
        surrogate: Surrogate,
    ):
        (self.scale,) = require_positive(scale=scale)
        constants = NeuronParameters(keep_mem=1.0, hard=True, surrogate=surrogate)
        super().__init__(size=size, dt=dt, recurrent=recurrent, constants=constants)
        self.surrogate = surrogate
        self.learn({"tau_mem": tau_mem, "tau_adapt": tau_adapt}, a=a, b=b)
        self.bias = nn.Parameter(torch.zeros(size))

    @property
    def constants(self) -> NeuronParameters:
        """Made anew at each call, since all numbers learn."""
        assert self._constants is not None
        alpha, beta = self.decay("tau_mem"), self.decay("tau_adapt")
        fed = (1 - beta) * self.scale
        return replace(
            self._constants,
            keep_mem=alpha,
            gain=1 - alpha,
            drift=(1 - alpha) * self.bias,
            keep_adapt=beta,
            from_membrane=fed * self.a,
            from_spike=fed * self.b,
        )
