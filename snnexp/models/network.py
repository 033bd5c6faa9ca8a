"""A network: a list of (synapse, neuron) layers, run on a backend."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from snnexp.activity import Activity, LayerActivity, join
from snnexp.checks import require, require_between, require_whole
from snnexp.config import KINDS
from snnexp.inputs import Inputs, Train
from snnexp.kernels import State
from snnexp.models.delays import Delay
from snnexp.models.initializers import Initializer, LayerInitializer, draw
from snnexp.models.layer import Backend, Layer
from snnexp.models.neuron import Neuron
from snnexp.models.synapses import Linear, Synapse

Parts = tuple[Callable[..., Synapse], Callable[..., Neuron]]
"""Factories of a layer's synapse and neuron."""


class Network(nn.Module):
    """Hidden layers of one kind of neuron and a readout: (inputs, state) -> (Activity, state).

    neuron, readout, delays: factories that take `size` and `dt`, in s; delays None: there are none.
    init: draws the weights of one layer after another, the synapse's before the recurrent ones; a
    `LayerInitializer` sees the neurons too.
    norm: factory of what normalizes each layer's current, which takes `size`; None: nothing does.
    dropout: share of hidden spikes that the next layer does not see in training; the others count
    for more. synapse: factory of each layer's connections, which takes `input_shape`, `num_outputs`
    and `dt`; None: dense ones without delays.
    """

    def __init__(
        self,
        *,
        num_inputs: int,
        num_outputs: int,
        dt: float,
        backend: Backend,
        hidden_sizes: Sequence[int],
        neuron: Callable[..., Neuron],
        readout: Callable[..., Neuron],
        init: Initializer | LayerInitializer,
        delays: Callable[..., Delay] | None = None,
        norm: Callable[..., nn.Module] | None = None,
        dropout: float = 0.0,
        synapse: Callable[..., Synapse] | None = None,
    ):
        require(len(hidden_sizes) > 0, "hidden_sizes: []; give at least one layer, such as [120]")
        for size in hidden_sizes:
            require_whole(1, hidden_sizes=size)
        connect = partial(synapse, dt=dt) if synapse is not None else Linear
        hidden = {
            f"hidden{index}": (partial(connect, num_outputs=size), neuron)
            for index, size in enumerate(hidden_sizes, start=1)
        }
        out = (partial(connect, num_outputs=num_outputs), readout)
        self._build((num_inputs,), hidden, out, dt, backend, init, delays, norm, dropout)

    def _build(
        self,
        input_shape: Sequence[int],
        hidden: Mapping[str, Parts],
        readout: Parts,
        dt: float,
        backend: Backend,
        init: Initializer | LayerInitializer,
        delays: Callable[..., Delay | None] | None,
        norm: Callable[..., nn.Module | None] | None,
        dropout: float,
    ) -> None:
        """Make the layers from factories of synapse and neuron: hidden ones, then the readout."""
        super().__init__()
        self.backend = backend
        layers: dict[str, Layer] = {}
        plan = {**hidden, "readout": readout}
        shape: Sequence[int] = input_shape
        for index, (name, (synapse, neuron)) in enumerate(plan.items()):
            connections = synapse(input_shape=shape)
            shape = connections.output_shape
            population = neuron(size=prod(shape), dt=dt)
            layers[name] = layer = Layer(connections, population)
            require(
                population.spiking or name == "readout",
                f"neuron: {type(population).__name__} does not spike; it can only be the readout",
            )
            draw(layer, init, index, len(plan))
        self.layers = cast(Mapping[str, Layer], nn.ModuleDict(layers))
        if delays is not None:
            self._delay(delays, dt)
        self._regularize(norm, dropout)
        backend.prepare(dict(self.layers.items()))

    def _regularize(self, norm: Callable[..., nn.Module | None] | None, dropout: float) -> None:
        """What the layers' currents and spikes go through in training."""
        require_between(0, 1, dropout=dropout)
        require(
            norm is None or self.backend.checkpoint_every is None,
            "norm: its averages would be those of a segment; set backend.checkpoint_every to null",
        )
        self._normalized = norm is not None
        for index, layer in enumerate(self.layers.values()):
            layer.norm = None if norm is None else norm(size=layer.neuron.size)
            layer.dropout = dropout if index > 0 else 0.0

    def proceed(self, done: float) -> None:
        """Called before each epoch of training, with the share of the run that is done."""
        for layer in self.layers.values():
            layer.synapse.proceed(done)

    def constrain(self) -> None:
        """Keep what learns within its bounds; called after each step of the optimizer."""
        for layer in self.layers.values():
            layer.neuron.constrain()

    def _delay(self, delays: Callable[..., Delay | None], dt: float) -> None:
        """Drawn last, so that the weights are those of the network without delays."""
        for index, layer in enumerate(self.layers.values()):
            delay = delays(size=prod(layer.synapse.input_shape), dt=dt)
            layer.delay = delay if delay is not None and (index > 0 or delay.inputs) else None

    def forward(
        self,
        inputs: Inputs,
        state: dict[str, State] | None = None,
        record_membrane: bool = False,
        record_margin: bool = False,
    ) -> tuple[Activity, dict[str, State]]:
        """Run from `state` (None: every neuron at rest), which may be that at the end of a run.

        record_membrane: keep the hidden layers' membranes (the readout's is always kept);
        record_margin: keep every spiking layer's distance to its threshold.
        """
        every = self.backend.checkpoint_every
        segment_size = every or self.backend.segment or inputs.num_steps
        record = (record_membrane, record_margin)
        if segment_size >= inputs.num_steps or self._normalized:
            layers, state = self._run(inputs, state, *record)
            return Activity(inputs, layers), state
        parts = []
        for segment in inputs.split(segment_size):
            if every is not None and torch.is_grad_enabled():
                part, state = self._run_twice(segment, state, *record)
            else:
                part, state = self._run(segment, state, *record)
            parts.append(part)
        assert state is not None
        return Activity(inputs, join(parts)), state

    def _run_twice(
        self, segment: Inputs, state: dict[str, State] | None, *record: bool
    ) -> tuple[dict[str, LayerActivity], dict[str, State]]:
        """As `_run`, which runs again for the backward pass, with the same draws.

        Torch repeats those of the devices of tensors that it is given, and looks for none within
        inputs, so that it is given one.
        """
        here = next(self.parameters()).detach()
        return checkpoint(  # type: ignore[no-any-return]
            lambda _, *given: self._run(*given), here, segment, state, *record, use_reentrant=False
        )

    def _run(
        self,
        inputs: Inputs,
        state: dict[str, State] | None,
        record_membrane: bool,
        record_margin: bool,
    ) -> tuple[dict[str, LayerActivity], dict[str, State]]:
        layers: dict[str, LayerActivity] = {}
        states: dict[str, State] = {}
        flow: Inputs | Train = inputs
        for name, layer in self.layers.items():
            heard, arrived, pasts = layer.hear(name, flow, state, self.backend)
            states.update(pasts)
            before = state[name] if state is not None else None
            membrane = record_membrane or name == "readout"
            record, states[name] = layer(heard, before, self.backend, membrane, record_margin)
            layers[name] = replace(record, arrived=arrived) if arrived else record
            flow = record.train or flow
        return layers, states

    def weights(self) -> dict[str, Tensor]:
        """Every synaptic matrix by layer, the recurrent ones as `<layer>_recurrent`."""
        matrices: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            matrices[name] = layer.weight
            if layer.neuron.recurrent is not None:
                matrices[f"{name}_recurrent"] = layer.neuron.recurrent
        return matrices

    def kinds(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, sorted by what they are.

        weights: of synapses. recurrent: weights within a layer. delays: of either kind.
        time_constants: decays, and places between time constants. neurons: what else neurons learn,
        such as biases and adaptation. norm: gains and biases of normalization.
        """
        found: dict[str, list[nn.Parameter]] = {kind: [] for kind in KINDS}
        for layer in self.layers.values():
            found["weights"].append(layer.weight)
            found["delays"] += [p for p in layer.synapse.parameters() if p is not layer.weight]
            found["delays"] += [] if layer.delay is None else layer.delay.parameters()
            for name, parameter in layer.neuron.named_parameters():
                constant = name in layer.neuron.time_constants
                other = "time_constants" if constant else "neurons"
                found["recurrent" if name == "recurrent" else other].append(parameter)
            found["norm"] += [] if layer.norm is None else layer.norm.parameters()
        return found

    def delays(self) -> dict[str, Tensor]:
        """Delays in s of what reaches a layer, [channel], by layer; only of those that have any.

        Those of single connections, [neuron, channel], as `<layer>_synapse`.
        """
        found: dict[str, Tensor | None] = {}
        for name, layer in self.layers.items():
            found[name] = None if layer.delay is None else layer.delay.seconds
            found[f"{name}_synapse"] = layer.synapse.seconds
        return {name: seconds for name, seconds in found.items() if seconds is not None}
