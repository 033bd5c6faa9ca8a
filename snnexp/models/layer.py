"""A layer: a synapse and the neurons that it drives; and what a backend does to run it."""

from collections.abc import Mapping
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnexp.activity import LayerActivity
from snnexp.inputs import Current, Dense, Inputs, Train
from snnexp.kernels import Scan, State
from snnexp.models.delays import Delay
from snnexp.models.neuron import Neuron
from snnexp.models.synapses import Synapse


@runtime_checkable
class Backend(Protocol):
    """How a network is run: hooks that the ideal backend leaves at what they say.

    segment: steps that go through all layers together, at most, so that what only lives for a layer
    stays small; None: all steps, whatever their number.
    checkpoint_every: steps of a segment of time, of which training keeps the state alone and runs
    it again for the backward pass; None keeps everything. trials: how often a test measures.
    replays: whether a training step is recorded once and replayed, see `snnexp.graphs.Replay`.
    """

    segment: int | None
    checkpoint_every: int | None
    trials: int
    replays: bool

    def prepare(self, layers: Mapping[str, "Layer"]) -> None:
        """Called once with a network's layers; raises ValueError for what the device has not."""
        ...

    def begin(self, seed: int, epoch: int, purpose: str, device: torch.device) -> None:
        """Called before a batch that has a place of its own in the order of draws."""
        ...

    def choose(self, trial: int | None) -> None:
        """Which trial comes next; None: none of a test."""
        ...

    def deviations(self, accuracies: list[float]) -> dict[str, Any]:
        """What a summary says of the spread of the trials' test accuracies."""
        ...

    def describe(self, seconds: float) -> dict[str, Any]:
        """What a summary says of the device; seconds: of a sample, in the model's time."""
        ...

    def layer(
        self,
        layer: "Layer",
        inputs: Inputs | Train,
        state: State | None,
        membrane: bool,
        margin: bool,
    ) -> tuple[LayerActivity, State]:
        """The layer as the device runs it, by the three hooks below.

        The first `layer.synapse.reach` steps of the inputs are the past.
        """
        ...

    def delayed(self, sent: Inputs | Train, arrived: Dense, seconds: Tensor) -> Dense:
        """What arrives `seconds` [channel] after it was sent; on the model's grid `arrived`."""
        ...

    def weight(self, weight: Tensor) -> Tensor:
        """The weight as the device holds it."""
        ...

    def scan(
        self,
        neuron: Neuron,
        current: Current,
        steps: int,
        state: State | None,
        membrane: bool,
        margin: bool,
    ) -> Scan:
        """The neurons as the device runs them; a current of one step stands for all `steps`.

        A current may be a `Projection`, of which `kernels.whole` makes a tensor.
        """
        ...

    def trace(self, membrane: Tensor) -> Tensor:
        """The membrane as the device reads it."""
        ...


class Layer(nn.Module):
    """A synapse and the neurons that it drives.

    delay: acts on what reaches the synapse. norm: acts on the current. dropout: the share of what
    reaches the synapse that is lost in training.
    """

    def __init__(self, synapse: Synapse, neuron: Neuron):
        super().__init__()
        self.synapse, self.neuron = synapse, neuron
        self.delay: Delay | None = None
        self.norm: nn.Module | None = None
        self.dropout = 0.0

    @property
    def weight(self) -> nn.Parameter:
        """The synapse's weights."""
        assert self.synapse.weight is not None
        return self.synapse.weight

    def hear(
        self,
        name: str,
        sent: Inputs | Train,
        state: Mapping[str, State] | None,
        backend: Backend,
    ) -> tuple[Inputs | Train, Dense | None, dict[str, State]]:
        """What the synapse of layer `name` hears, what arrived, and what the state keeps of it.

        What arrived is None where nothing changed what was sent. The state keeps `<name>_delay` of
        a delay, and `<name>_past` of a synapse that hears the past.
        """
        arrived = None
        states: dict[str, State] = {}
        if self.delay is not None:
            way = f"{name}_delay"
            past = cast(Tensor, state[way]) if state is not None else None
            arrived, states[way] = self.delay(sent, past)
            arrived = backend.delayed(sent, arrived, self.delay.seconds)
        if self.dropout > 0 and self.training:
            arrived = Dense(functional.dropout((arrived or sent).dense(), self.dropout))
        heard: Inputs | Train = arrived or sent
        if (reach := self.synapse.reach) > 0:
            way = f"{name}_past"
            heard = _behind(state[way] if state is not None else None, heard, reach)
            states[way] = heard.spikes[-reach:].clone()  # a view would keep all of it
        return heard, arrived, states

    def forward(
        self,
        inputs: Inputs | Train,
        state: State | None,
        backend: Backend,
        membrane: bool,
        margin: bool,
    ) -> tuple[LayerActivity, State]:
        return backend.layer(self, inputs, state, membrane, margin)


def _behind(past: State | None, flow: Inputs | Train, reach: int) -> Dense:
    """The last `reach` steps, in which nothing spiked before a run begins, and what follows."""
    spikes = flow.dense()
    if past is None:
        past = spikes.new_zeros(reach, *spikes.shape[1:])
    assert isinstance(past, Tensor)
    return Dense(torch.cat([past, spikes]))
