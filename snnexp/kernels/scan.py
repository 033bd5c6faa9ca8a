"""What goes into a scan over time and what comes out."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from snnexp.kernels.packed import Packed
from snnexp.kernels.surrogates import FORMULAS, Surrogate
from snnexp.kernels.switches import NUMBERS, Switches

State = Tensor | tuple[Tensor, ...]
"""What a scan carries to the next segment of time; of `NeuronParameters`' [4, batch, neuron], which
are the membrane v, the synaptic current i, the last spike z, the steps r for which v is held; of
adaptive neurons [5, batch, neuron], with the adaptation q."""

Number = float | Tensor
"""A number for all neurons, or a tensor [neuron] with one for each, through which gradients go."""


@dataclass(frozen=True, eq=False)
class NeuronParameters:
    """One update for all neuron models.

    In each step, x(t) being the current with the recurrent W z(t-1) in it:

    i(t) = keep_syn i(t-1) + x(t)
    w(t) = keep_mem v(t-1) + gain (i(t) - q(t-1)) + drift - late z(t-1)     (i(t-1) if `delayed`)
    z(t) = H(w(t) - threshold), but 0 while r(t-1) > 0
    v(t) = w(t) - amount z(t); if `hard`, v(t) = to at a spike and while r(t-1) > 0, else w(t)
    q(t) = keep_adapt q(t-1) + from_membrane v(t) + from_spike z(t)
    r(t) = refractory_steps at a spike, else max(r(t-1) - 1, 0)

    q, the adaptation, is there where something feeds it, in neurons that spike; what it takes from
    a spike carries a gradient in any case.

    surrogate: None for a neuron that does not spike; then v(t) = w(t). strict: H(0) = 0, else 1.
    multiple: H times floor(w(t) / threshold), so that a neuron may spike several times in a step.
    rest: v before the first step. attached: the reset carries a gradient. before_reset: the trace
    of the membrane is w, else v. returns_late: a step returns the spike of the step before.
    exact: no surrogate; gradients go through the time of a spike (EventProp, Wunderlich & Pehle
    2021). A change dw(t) at a spike moves it by d(t) = -dw(t) / m steps, m being the slope of w at
    the threshold and p that of v behind the reset. A spike that moves by d is
    z(t) - d sent at t and d sent at t+1, and v then starts from to - p d. Exact up to the grid, for
    any linear synapse. For hard resets; a loss of the neuron's own membrane lacks its jump there.
    """

    keep_mem: Number
    keep_syn: Number = 0.0
    gain: Number = 1.0
    drift: Number = 0.0
    threshold: Number = 1.0
    amount: Number = 0.0
    late: Number = 0.0
    to: Number = 0.0
    keep_adapt: Number = 0.0
    from_membrane: Number = 0.0
    from_spike: Number = 0.0
    hard: bool = False
    delayed: bool = False
    refractory_steps: int = 0
    surrogate: Surrogate | None = None
    strict: bool = True
    multiple: bool = False
    rest: Number = 0.0
    attached: bool = False
    before_reset: bool = False
    returns_late: bool = False
    exact: bool = False

    def __post_init__(self) -> None:
        late = not isinstance(self.late, Tensor) and self.late != 0
        if self.exact and (not self.hard or self.multiple or late or self.returns_late):
            raise ValueError(
                "exact: it goes with binary spikes and a hard reset that is not delayed"
            )
        if self.adaptive and (self.exact or self.surrogate is None):
            raise ValueError(
                "from_membrane, from_spike: adaptation goes with neurons that spike, by a surrogate"
            )

    @cached_property
    def constant(self) -> bool:
        """Whether all numbers are the same for every neuron and carry no gradient."""
        return not any(isinstance(getattr(self, name), Tensor) for name in NUMBERS)

    @cached_property
    def adaptive(self) -> bool:
        """Whether anything feeds the adaptation."""
        feeds = (self.from_membrane, self.from_spike)
        return any(isinstance(number, Tensor) or number != 0 for number in feeds)

    def at_rest(self, like: Tensor, batch: int, size: int) -> Tensor:
        """The state before the first step, in the precision of `like`."""
        state = like.new_zeros(4 + self.adaptive, 1, 1)
        if isinstance(self.rest, Tensor):
            rows = state.expand(-1, 1, size)
            state = torch.cat([rows[:1] + self.rest, rows[1:]])
        elif self.rest:
            state[0] = self.rest
        return state.expand(-1, batch, size)

    @cached_property
    def learnt(self) -> int:
        """Which of `NUMBERS` carry a gradient: a bit for each."""
        numbers = (getattr(self, name) for name in NUMBERS)
        learnt = (isinstance(number, Tensor) and number.requires_grad for number in numbers)
        return sum(1 << n for n, is_learnt in enumerate(learnt) if is_learnt)

    def table(self, like: Tensor, size: int) -> Tensor:
        """`NUMBERS` by neuron, [number, neuron], in the precision of `like`."""
        if self.constant:
            return _table(self, like.dtype, like.device, size)
        numbers = (getattr(self, name) for name in NUMBERS)
        rows = (n.to(like) if isinstance(n, Tensor) else like.new_full((), n) for n in numbers)
        return torch.stack([row.expand(size) for row in rows])


@lru_cache(maxsize=256)
def _table(p: NeuronParameters, dtype: torch.dtype, device: torch.device, size: int) -> Tensor:
    with torch.inference_mode(False):  # it outlives the evaluation that may have asked first
        numbers = torch.tensor([float(getattr(p, n)) for n in NUMBERS], dtype=dtype, device=device)
        return numbers[:, None].repeat(1, size)


@lru_cache(maxsize=256)
def switches(
    p: NeuronParameters,
    smooth: bool,
    packed: bool,
    margin: bool,
    membrane: bool,
    synaptic: bool,
    history: int,
) -> Switches:
    """Those of `p`, whose surrogate is one of `FORMULAS` or None."""
    late = isinstance(p.late, Tensor) or p.late != 0
    feed = (p.keep_syn, p.gain, p.drift)
    plain = not (p.delayed or p.adaptive or any(isinstance(number, Tensor) for number in feed))
    direct = plain and feed == (0, 1, 0)
    return Switches(
        spiking=int(p.surrogate is not None),
        hard=int(p.hard),
        delayed=int(p.delayed),
        attached=int(p.attached),
        before_reset=int(p.before_reset),
        multiple=int(p.multiple),
        smooth=int(smooth),
        refractory_steps=int(p.refractory_steps),
        formula=FORMULAS.index(type(p.surrogate)) if p.surrogate is not None else 0,  # type: ignore[arg-type]
        late=int(late),
        direct=int(direct),
        strict=int(p.strict),
        exact=int(p.exact),
        adaptive=int(p.adaptive),
        packed=int(packed),
        margin=int(margin),
        membrane=int(membrane),
        synaptic=int(synaptic),
        history=history,
    )


@dataclass(frozen=True)
class Measured:
    """What a chip measured, [time, batch, neuron]: it goes forward, the model's gradient goes back.

    spikes: replace the model's, in its reset and its recurrence too. membrane: replaces w and v in
    each step, from which the next goes on; there is then no reset (Cramer et al. 2022).
    """

    spikes: Tensor
    membrane: Tensor | None = None


@dataclass(frozen=True)
class Scan:
    """The outcome of one layer's loop over time; tensors are [time, batch, neuron].

    state: hand it to the next segment of time.
    spikes: what the layer sends on, dense or packed; None for integrators, which do not spike.
    membrane: the trace as the neuron's docstring defines it; None unless it was asked for.
    margin: membrane minus threshold at the decision to spike; None unless it was asked for.
    synaptic: the trace of the synaptic current i; None unless it was asked for.
    counts: of the spikes by sample and neuron, [batch, neuron]; None for integrators.
    """

    state: State
    spikes: Tensor | Packed | None = None
    membrane: Tensor | None = None
    margin: Tensor | None = None
    synaptic: Tensor | None = None
    counts: Tensor | None = None

    def dense(self) -> "Scan":
        """The same with dense spikes."""
        if not isinstance(self.spikes, Packed):
            return self
        return replace(self, spikes=self.spikes.dense())
