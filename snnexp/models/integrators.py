"""Readouts of adaptive neurons: integrators with a decay or a bias that learns."""

import math
from dataclasses import replace

import torch
from torch import nn

from snnexp.checks import require_between, require_positive
from snnexp.kernels import NeuronParameters
from snnexp.models.neuron import Neuron
from snnexp.models.ranges import Range, drawn, require_ranges


class RangeLI(Neuron):
    """Leaky integrator, v(t) = alpha v(t-1) + (1 - alpha) x(t), whose decay learns.

    alpha, per step, is one for each neuron, drawn uniformly from the range `alpha` and used clamped
    to it: the readout of Bittar & Garner 2022.
    """

    spiking = False
    time_constants = ("alpha",)

    def __init__(self, *, size: int, dt: float, alpha: Range):
        require_ranges(alpha=alpha)
        require_between(0, 1, **{f"alpha[{i}]": bound for i, bound in enumerate(alpha)})
        super().__init__(size=size, dt=dt, constants=NeuronParameters(keep_mem=1.0))
        self.bounds = alpha
        self.alpha = drawn(size, alpha)

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
