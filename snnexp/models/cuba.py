"""Current-based neurons, whose decays follow from time constants: each documents its update."""

import math
from dataclasses import replace
from typing import Any

from snnexp.checks import require, require_choice, require_positive
from snnexp.kernels import NeuronParameters
from snnexp.kernels.surrogates import Surrogate
from snnexp.models.neuron import Circuit, Neuron


class CubaLIF(Neuron):
    """Current-based leaky integrate and fire; times in s, voltages without unit.

    method `exponential` (Neftci et al. 2019, with the new current):
      i(t) = a i(t-1) + x(t), v~ = b (v(t-1) - leak) + leak + g i(t),
      a = exp(-dt / tau_syn), b = exp(-dt / tau_mem), g = 1 - b.
    method `euler` (explicit; hxtorch's if `normalized`, with its synaptic delay of one step):
      v~ = v(t-1) + dt / tau_mem (leak - v(t-1)) + g i(t-1), g = dt / tau_mem,
      i(t) = i(t-1) (1 - dt / tau_syn) + x(t).
    Unless `normalized`, g = 1.
    Then z(t) = H(v~ - threshold) with H(0) = 0, and v(t) = reset at a spike, else v~.
    tau_ref: for ceil(tau_ref / dt) steps after a spike v is held at `reset` while i goes on.
    The recorded membrane is v(t), after its reset. `detach_reset`: the reset carries no gradient.
    gradient: `surrogate`, or `eventprop`, exact up to the grid (Wunderlich & Pehle 2021): through
    the times of spikes, of which `kernels.NeuronParameters.exact` states the rule; the surrogate
    and `detach_reset` then count for nothing, and neither do losses of spike counts.
    """

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        tau_mem: float,
        tau_syn: float,
        tau_ref: float,
        threshold: float,
        leak: float,
        reset: float,
        method: str,
        normalized: bool,
        gradient: str,
        detach_reset: bool,
        recurrent: bool,
        surrogate: Surrogate,
    ):
        _require_spiking(dt, tau_ref, threshold, reset)
        require_choice(("surrogate", "eventprop"), gradient=gradient)
        require(threshold > leak, f"threshold: {threshold!r}; it must lie above leak = {leak!r}")
        constants = cuba_parameters(
            dt,
            tau_mem,
            tau_syn,
            method,
            normalized,
            leak,
            threshold=threshold,
            to=reset,
            hard=True,
            refractory_steps=dead_steps(tau_ref, dt),
            surrogate=surrogate,
            attached=not detach_reset and gradient == "surrogate",
            exact=gradient == "eventprop",
        )
        super().__init__(size=size, dt=dt, recurrent=recurrent, constants=constants)
        self.surrogate = surrogate
        self.circuit = Circuit(tau_mem, tau_syn, leak, True, tau_ref, threshold, reset)
        self.euler = method == "euler"


class CubaIAF(Neuron):
    """`CubaLIF` by explicit Euler without a leak, as hxtorch has it; times in s.

    v~ = v(t-1) + dt / tau_mem i(t-1), i(t) = i(t-1) (1 - dt / tau_syn) + x(t), from v = reset.
    """

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        tau_mem: float,
        tau_syn: float,
        tau_ref: float,
        threshold: float,
        reset: float,
        detach_reset: bool,
        recurrent: bool,
        surrogate: Surrogate,
    ):
        _require_spiking(dt, tau_ref, threshold, reset)
        leaky = cuba_parameters(dt, tau_mem, tau_syn, "euler", True, 0.0)
        constants = replace(
            leaky,
            keep_mem=1.0,
            rest=reset,
            threshold=threshold,
            to=reset,
            hard=True,
            refractory_steps=dead_steps(tau_ref, dt),
            surrogate=surrogate,
            attached=not detach_reset,
        )
        super().__init__(size=size, dt=dt, recurrent=recurrent, constants=constants)
        self.surrogate = surrogate
        self.circuit = Circuit(tau_mem, tau_syn, 0.0, False, tau_ref, threshold, reset)


def _require_spiking(dt: float, tau_ref: float, threshold: float, reset: float) -> None:
    require_positive("s", dt=dt)
    require(tau_ref >= 0, f"tau_ref: {tau_ref!r} s; it must not be negative")
    require(threshold > reset, f"threshold: {threshold!r}; it must lie above reset = {reset!r}")


def dead_steps(tau_ref: float, dt: float) -> int:
    """The steps of `dt` that a refractory time takes, the last one whole; both in s."""
    return math.ceil(tau_ref / dt - 1e-9)


class CubaLI(Neuron):
    """Current-based leaky integrator: `CubaLIF` without threshold and reset; times in s."""

    spiking = False

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        tau_mem: float,
        tau_syn: float,
        leak: float,
        method: str,
        normalized: bool,
    ):
        require_positive("s", dt=dt)
        constants = cuba_parameters(dt, tau_mem, tau_syn, method, normalized, leak)
        super().__init__(size=size, dt=dt, constants=constants)
        self.circuit = Circuit(tau_mem, tau_syn, leak)
        self.euler = method == "euler"


def cuba_parameters(
    dt: float,
    tau_mem: float,
    tau_syn: float,
    method: str,
    normalized: bool,
    leak: float,
    **rest: Any,
) -> NeuronParameters:
    """The per-step factors of `CubaLIF`'s equations.

    Raises ValueError for an unknown method, and for a time constant below dt with `euler`.
    """
    require_positive("s", tau_mem=tau_mem, tau_syn=tau_syn)
    require_choice(("exponential", "euler"), method=method)
    if method == "exponential":
        keep_mem, keep_syn = math.exp(-dt / tau_mem), math.exp(-dt / tau_syn)
        gain = 1 - keep_mem
    else:
        for name, tau in (("tau_mem", tau_mem), ("tau_syn", tau_syn)):
            require(
                tau >= dt,
                f"{name}: {tau!r} s is below time.dt = {dt!r} s, where explicit Euler is unstable; "
                "raise it, lower time.dt, or choose method: exponential",
            )
        keep_mem, keep_syn, gain = 1 - dt / tau_mem, 1 - dt / tau_syn, dt / tau_mem
    return NeuronParameters(
        keep_mem=keep_mem,
        keep_syn=keep_syn,
        gain=gain if normalized else 1.0,
        drift=(1 - keep_mem) * leak,
        delayed=method == "euler",
        rest=leak,
        **rest,
    )
