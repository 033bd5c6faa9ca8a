"""Neurons whose spikes and membrane feed a current that opposes them, and their integrators."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from snnexp.checks import require, require_between, require_positive
from snnexp.kernels import NeuronParameters
from snnexp.kernels.surrogates import Surrogate
from snnexp.models.neurons import Neuron

Range = Sequence[float]
"""The lowest and the highest value."""


def _drawn(size: int, bounds: Range) -> nn.Parameter:
    """One number a neuron, uniform between the bounds."""
    return nn.Parameter(torch.empty(size).uniform_(*bounds))


def _require_ranges(**ranges: Range) -> None:
    for name, bounds in ranges.items():
        require(
            len(bounds) == 2 and bounds[0] <= bounds[1],
            f"{name}: {list(bounds)!r}; give the lowest value and the highest",
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
        _require_ranges(alpha=alpha, beta=beta, a=a, b=b)
        for name, bounds in (("alpha", alpha), ("beta", beta)):
            require_between(0, 1, **{f"{name}[{i}]": bound for i, bound in enumerate(bounds)})
        constants = NeuronParameters(
            keep_mem=1.0, surrogate=surrogate, attached=True, before_reset=True
        )
        super().__init__(size=size, dt=dt, recurrent=recurrent, autapses=False, constants=constants)
        self.surrogate = surrogate
        self.bounds = {"alpha": alpha, "beta": beta, "a": a, "b": b}
        self.alpha, self.beta = _drawn(size, alpha), _drawn(size, beta)
        self.a, self.b = _drawn(size, a), _drawn(size, b)

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


class SEAdLIF(Neuron):
    """Adaptive leaky integrate and fire by the symplectic Euler method (Baronig et al. 2024).

    v~ = alpha v(t-1) + (1 - alpha) (x(t) + W z(t-1) + bias - q(t-1)), z(t) = H(v~ - 1),
    v(t) = v~ (1 - z(t)), q(t) = beta q(t-1) + (1 - beta) scale (a v(t) + b z(t)),
    alpha = exp(-dt / tau_mem), beta = exp(-dt / tau_adapt): the adaptation sees the membrane as it
    is after this step and its reset, which carries no gradient.
    Learnt are, one for each neuron, bias (0 at first), both time constants, a and b: drawn from
    U over the ranges `tau_mem`, `tau_adapt` (s), `a`, `b` and kept in them after each step of the
    optimizer, the time constants by their place within the range, from 0 to 1.
    The recorded membrane is v(t), after its reset.
    """

    time_constants = ("place_mem", "place_adapt")

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
        _require_ranges(tau_mem=tau_mem, tau_adapt=tau_adapt, a=a, b=b)
        for name, bounds in (("tau_mem", tau_mem), ("tau_adapt", tau_adapt)):
            require_positive("s", **{f"{name}[{i}]": bound for i, bound in enumerate(bounds)})
        require_positive(scale=scale)
        constants = NeuronParameters(keep_mem=1.0, hard=True, surrogate=surrogate)
        super().__init__(size=size, dt=dt, recurrent=recurrent, constants=constants)
        self.surrogate, self.scale = surrogate, scale
        self.times = {"tau_mem": tau_mem, "tau_adapt": tau_adapt}
        self.bounds = {"place_mem": (0, 1), "place_adapt": (0, 1), "a": a, "b": b}
        self.place_mem, self.place_adapt = _drawn(size, (0, 1)), _drawn(size, (0, 1))
        self.a, self.b = _drawn(size, a), _drawn(size, b)
        self.bias = nn.Parameter(torch.zeros(size))

    def constrain(self) -> None:
        with torch.no_grad():
            for name, bounds in self.bounds.items():
                getattr(self, name).clamp_(*bounds)

    def tau(self, name: str, place: Tensor) -> Tensor:
        """The time constants `tau_mem` or `tau_adapt`, [neuron], in s."""
        low, high = self.times[name]
        return low + place * (high - low)

    @property
    def constants(self) -> NeuronParameters:
        """Made anew at each call, since all numbers learn."""
        assert self._constants is not None
        alpha = torch.exp(-self.dt / self.tau("tau_mem", self.place_mem))
        beta = torch.exp(-self.dt / self.tau("tau_adapt", self.place_adapt))
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


class RangeLI(Neuron):
    """Leaky integrator, v(t) = alpha v(t-1) + (1 - alpha) x(t), whose decay learns.

    alpha, per step, is one for each neuron, drawn uniformly from the range `alpha` and used clamped
    to it: the readout of Bittar & Garner 2022.
    """

    spiking = False
    time_constants = ("alpha",)

    def __init__(self, *, size: int, dt: float, alpha: Range):
        _require_ranges(alpha=alpha)
        require_between(0, 1, **{f"alpha[{i}]": bound for i, bound in enumerate(alpha)})
        super().__init__(size=size, dt=dt, constants=NeuronParameters(keep_mem=1.0))
        self.bounds = alpha
        self.alpha = _drawn(size, alpha)

    @property
    def constants(self) -> NeuronParameters:
        """Made anew at each call, since alpha learns."""
        assert self._constants is not None
        alpha = self.alpha.clamp(*self.bounds)
        return replace(self._constants, keep_mem=alpha, gain=1 - alpha)


class BiasedLI(Neuron):
    """Leaky integrator with a bias: v(t) = alpha v(t-1) + (1 - alpha) (x(t) + bias).

    alpha = exp(-dt / tau_mem), tau_mem in s, the same for all; bias is learnt, one for each neuron,
    and 0 at first. The readout of Baronig et al. 2024.
    """

    spiking = False

    def __init__(self, *, size: int, dt: float, tau_mem: float):
        require_positive("s", dt=dt, tau_mem=tau_mem)
        alpha = math.exp(-dt / tau_mem)
        constants = NeuronParameters(keep_mem=alpha, gain=1 - alpha)
        super().__init__(size=size, dt=dt, constants=constants)
        self.bias = nn.Parameter(torch.zeros(size))

    @property
    def constants(self) -> NeuronParameters:
        """Made anew at each call, since the bias learns."""
        fixed = self._constants
        assert fixed is not None
        return replace(fixed, drift=fixed.gain * self.bias)
