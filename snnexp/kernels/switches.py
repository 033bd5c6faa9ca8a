"""The numbers and the switches of a neuron's update, as kernels take them."""

from typing import NamedTuple

from torch import Tensor

NUMBERS = (
    "keep_syn", "keep_mem", "gain", "drift", "threshold", "amount", "late", "to",
    "keep_adapt", "from_membrane", "from_spike",
)  # fmt: skip
"""The numbers of `NeuronParameters` that the update reads, in the order of `table`."""

Outcome = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""What a kernel's forward pass gives, in the order that `operators.scan` documents."""


class Source(NamedTuple):
    """What drives a layer: its whole current, or spikes and the weight that they go through.

    current: [time or 1, batch, neuron]. sent: bits [time, batch, word], or with `start` the
    channels of events, int32, in the order of their rows (step, sample). start: [time x batch + 1],
    where each row's events begin. weight: [neuron, channel].
    """

    current: Tensor | None
    sent: Tensor | None = None
    start: Tensor | None = None
    weight: Tensor | None = None


class Switches(NamedTuple):
    """What a kernel's update does, and what it records, as whole numbers.

    Up to `adaptive` they say how `NeuronParameters` is gone through: `formula` is the surrogate's
    place in `FORMULAS`, `late` whether that number can differ from 0, `direct` that w(t) is just
    keep_mem v(t-1) + x(t). The others say which records are filled: spikes as bits, the margin, the
    membrane, the synaptic current, and v, i and q for the gradients of the table. `history` says
    which of these are asked for: bit n for the number in place n of `NUMBERS`.
    """

    spiking: int
    hard: int
    delayed: int
    attached: int
    before_reset: int
    multiple: int
    smooth: int
    refractory_steps: int
    formula: int
    late: int
    direct: int
    strict: int
    exact: int
    adaptive: int
    packed: int
    margin: int
    membrane: int
    synaptic: int
    history: int
