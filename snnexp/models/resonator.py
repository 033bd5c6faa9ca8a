"""Neurons whose membrane swings."""

import math
from dataclasses import replace

import torch

from snnexp.checks import require, require_positive
from snnexp.kernels import NeuronParameters
from snnexp.kernels.surrogates import Surrogate
from snnexp.models.ranges import InRanges, Range


class RF(InRanges):
    """Resonate and fire (Izhikevich 2001), with a reset that subtracts.

    u(t) = lambda (u(t-1) - threshold z(t-1)) + x(t) + W z(t-1), which is complex,
    z(t) = H(Re u(t) - threshold), lambda = exp(-dt / tau_mem + 2 pi i frequency dt): without spikes
    the membrane Re u swings at `frequency` and fades with tau_mem. A spike takes the threshold from
    it, with a gradient, as in C-SiLIF (Fabre et al. 2025); Izhikevich sets u to a fixed value.
    Both are learnt, one for each neuron, drawn from U over the ranges `frequency` (Hz) and
    `tau_mem` (s). The recorded membrane is Re u(t).
    Raises ValueError for a frequency above 0.2 / dt, a fifth of a turn a step, and for a tau_mem
    below dt, which a step would outlast.
    """

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        tau_mem: Range,
        frequency: Range,
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
        super().__init__(size=size, dt=dt, recurrent=recurrent, constants=constants)
        self.surrogate, self.threshold = surrogate, threshold
        self.learn({"tau_mem": tau_mem, "frequency": frequency})
        require(
            tau_mem[0] >= dt,
            f"tau_mem[0]: {tau_mem[0]!r} s; it must be at least time.dt = {dt!r} s",
        )
        require(
            frequency[1] <= 0.2 / dt,
            f"frequency[1]: {frequency[1]!r} Hz; it must be at most 0.2 / time.dt = {0.2 / dt:.4g} "
            "Hz: lower it, or time.dt",
        )

    @property
    def constants(self) -> NeuronParameters:
        """Of v(t) = Re u(t) and q(t) = s Im u(t) + (s^2 / c) (v(t) - threshold z(t)).

        With lambda = c + i s these are
        v(t) = (|lambda|^2 / c) (v(t-1) - threshold z(t-1)) - q(t-1) + x(t),
        q(t) = c q(t-1) + (s^2 / c) (v(t) - threshold z(t)).
        """
        assert self._constants is not None
        decay, angle = self.decay("tau_mem"), 2 * math.pi * self.dt * self.value("frequency")
        c, s = decay * torch.cos(angle), decay * torch.sin(angle)
        keep, coupling = (c.square() + s.square()) / c, s.square() / c
        return replace(
            self._constants,
            keep_mem=keep,
            late=keep * self.threshold,
            keep_adapt=c,
            from_membrane=coupling,
            from_spike=-coupling * self.threshold,
        )
