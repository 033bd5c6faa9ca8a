"""Neuron models: each documents its update and hands its whole current to one scan over time."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snnexp import kernels
from snnexp.checks import require, require_between, require_choice, require_positive, require_whole
from snnexp.kernels import NeuronParameters, Scan
from snnexp.kernels.surrogates import Surrogate


@dataclass(frozen=True)
class Circuit:
    """A current-based neuron in continuous time, as an analog circuit is calibrated to it.

    tau_mem v' = leak - v + i (without `leaky` tau_mem v' = i, from v = reset), tau_syn i' = -i;
    times in s, voltages without unit. threshold None: it does not spike.
    """

    tau_mem: float
    tau_syn: float
    leak: float = 0.0
    leaky: bool = True
    tau_ref: float = 0.0
    threshold: float | None = None
    reset: float = 0.0

    @property
    def rest(self) -> float:
        """The membrane without input."""
        return self.leak if self.leaky else self.reset

    def faster(self, factor: float) -> "Circuit":
        """The same with all times shorter by `factor`."""
        times = (self.tau_mem / factor, self.tau_syn / factor, self.tau_ref / factor)
        return replace(self, tau_mem=times[0], tau_syn=times[1], tau_ref=times[2])


class Neuron(nn.Module):
    """A population of `size` neurons on a time grid of step `dt`, in s.

    A subclass passes the `constants` of its update, or overrides `scan`. With `recurrent`, the
    spikes of one step reach the population at the next through the matrix `recurrent` [to, from],
    which the network fills; without `autapses` no neuron reaches itself, neither then nor later.
    """

    surrogate: Surrogate | None = None
    spiking = True
    returns_late = False
    """Whether the spike that a step returns is that of the step before."""
    time_constants: tuple[str, ...] = ()
    """Which of its parameters are decays or time constants."""
    circuit: Circuit | None = None
    """The same neuron in continuous time, if an analog circuit can be it."""
    euler = False
    """Whether its decays follow from time constants by explicit Euler, 1 - dt / tau."""

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        recurrent: bool = False,
        autapses: bool = True,
        constants: NeuronParameters | None = None,
    ):
        super().__init__()
        (self.size,) = require_whole(1, size=size)
        (self.dt,) = require_positive("s", dt=dt)
        self.recurrent = nn.Parameter(torch.zeros(size, size)) if recurrent else None
        self.autapses = autapses
        if self.recurrent is not None and not autapses:
            self.recurrent.register_hook(lambda gradient: gradient.clone().fill_diagonal_(0))
        self._constants = constants
        if constants is not None:
            self.returns_late = constants.returns_late

    @property
    def others(self) -> int:
        """How many neurons a recurrent spike reaches."""
        return self.size - (not self.autapses)

    def constrain(self) -> None:
        """Keep what learns within its bounds; called after each step of the optimizer."""

    @property
    def constants(self) -> NeuronParameters | None:
        """Its update's numbers and switches; None for a neuron with a `scan` of its own."""
        return self._constants

    def scan(
        self,
        current: Float[Tensor, "time batch neuron"],
        recurrent: Float[Tensor, "neuron neuron"] | None,
        state: Any,
        membrane: bool,
        margin: bool,
    ) -> Scan:
        """Run the population over `current` from `state` (None: at rest), by the plain loop.

        `recurrent` is the matrix as the backend holds it. `membrane` and `margin` ask for traces.
        """
        if self.constants is None:
            raise NotImplementedError(f"{type(self).__name__} has neither constants nor a scan")
        return kernels.scan(
            current,
            self.constants,
            recurrent,
            state,
            membrane=membrane,
            margin=margin,
            kernel="reference",
        )


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
