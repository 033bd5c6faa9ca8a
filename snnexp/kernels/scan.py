"""What goes into a scan over time and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

State = tuple[Tensor, ...]
"""What a scan carries from one segment of time to the next; each [batch, neuron]."""


@dataclass(frozen=True)
class Scan:
    """The outcome of one layer's loop over time; tensors are [time, batch, neuron].

    spikes: what the layer sends on; None for integrators, which do not spike.
    membrane: the trace as the neuron's docstring defines it; None unless it was asked for.
    margin: membrane minus threshold at the decision to spike; None unless it was asked for.
    state: hand it to the next segment of time.
    """

    state: State
    spikes: Tensor | None = None
    membrane: Tensor | None = None
    margin: Tensor | None = None


@dataclass(frozen=True)
class LIFParameters:
    """Parameters of `lif`; `beta` is a decay per step in [0, 1], a number or a tensor [neuron]."""

    beta: float | Tensor
    threshold: float
    reset: str
    reset_delay: bool
    detach_reset: bool
    spike_from: str
    spike: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CubaParameters:
    """Parameters of `cuba_lif` and `cuba_li`; voltages without unit.

    keep_mem, gain_mem, keep_syn: v <- keep_mem v + gain_mem i and i <- keep_syn i + x, per step.
    delayed: the membrane sees the current of the step before (explicit Euler).
    refractory_steps: steps after a spike in which the membrane is held at `reset`.
    """

    keep_mem: float
    gain_mem: float
    keep_syn: float
    delayed: bool
    leak: float
    threshold: float = 1.0
    reset: float = 0.0
    refractory_steps: float = 0.0
    detach_reset: bool = True
    spike: Callable[[Tensor], Tensor] | None = None
