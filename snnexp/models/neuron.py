"""What every neuron is: a population that hands its whole current to one scan over time."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snnexp import kernels
from snnexp.checks import require_positive, require_whole
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
