"""What goes into a scan over time and what comes out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""What a scan carries to the next segment of time, each [batch, neuron]: of `NeuronParameters`' the
membrane v, the synaptic current i, the last spike z, the steps r for which v is still held."""


@runtime_checkable
class Surrogate(Protocol):
    """What a kernel asks of `snnexp.models.Surrogate`."""

    @property
    def formula(self) -> tuple[str, float, float] | None: ...

    def spike(self, x: Tensor, strict: bool = True) -> Tensor: ...


@dataclass(frozen=True)
class NeuronParameters:
    """One update for all neuron models.

    In each step, x(t) being the current with the recurrent W z(t-1) in it:

    i(t) = keep_syn i(t-1) + x(t)
    w(t) = keep_mem v(t-1) + gain i(t) + drift - late z(t-1)        (i(t-1) if `delayed`)
    z(t) = H(w(t) - threshold), but 0 while r(t-1) > 0
    v(t) = w(t) - amount z(t); if `hard`, v(t) = to at a spike and while r(t-1) > 0, else w(t)
    r(t) = refractory_steps at a spike, else max(r(t-1) - 1, 0)

    surrogate: None for a neuron that does not spike; then v(t) = w(t). strict: H(0) = 0, else 1.
    rest: v before the first step. attached: the reset carries a gradient. before_reset: the trace
    of the membrane is w, else v. returns_late: a step returns the spike of the step before.
    """

    keep_mem: float
    keep_syn: float = 0.0
    gain: float = 1.0
    drift: float = 0.0
    threshold: float = 1.0
    amount: float = 0.0
    late: float = 0.0
    to: float = 0.0
    hard: bool = False
    delayed: bool = False
    refractory_steps: int = 0
    surrogate: Surrogate | None = None
    strict: bool = True
    rest: float = 0.0
    attached: bool = False
    before_reset: bool = False
    returns_late: bool = False

    def at_rest(self, current: Tensor) -> State:
        """The state before the first step, for a current [time, batch, neuron]."""
        zeros = torch.zeros_like(current[0])
        return zeros + self.rest, zeros, zeros, zeros


@dataclass(frozen=True)
class Scan:
    """The outcome of one layer's loop over time; tensors are [time, batch, neuron].

    state: hand it to the next segment of time.
    spikes: what the layer sends on; None for integrators, which do not spike.
    membrane: the trace as the neuron's docstring defines it; None unless it was asked for.
    margin: membrane minus threshold at the decision to spike; None unless it was asked for.
    """

    state: State
    spikes: Tensor | None = None
    membrane: Tensor | None = None
    margin: Tensor | None = None
