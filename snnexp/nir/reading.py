"""A graph of the Neuromorphic Intermediate Representation (NIR) as a network."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from snnexp.checks import require, require_positive
from snnexp.models.delays import Delay
from snnexp.models.layer import Backend, Layer
from snnexp.models.network import Network
from snnexp.models.neuron import Neuron
from snnexp.models.normalization import Bias
from snnexp.models.synapses import Synapse, is_free
from snnexp.nir.chains import MATRICES, ChainGraph, Shape, Stage
from snnexp.nir.connections import WEIGHTS, bias_of, connections
from snnexp.nir.neurons import Source
from snnexp.nir.nodes import Grid


class NIRNetwork(Network):
    """The network of a NIR file: layers of weights and neurons in a chain, also recurrent ones.

    file: as `nir.write` makes it. file_dt: what a step of `dt` lasts in the unit of time of the
    file's numbers; method: how decays per step follow from time constants, `exponential` or
    `euler`; None: as the file's metadata say, which a file of snnexp has. neuron: factory of
    `NIRNeuron`s. Biases and neurons stay as they are; weights learn.
    Raises ValueError for a file that is none, for what is no chain of layers, and for other sizes
    than those of the data.
    """

    def __init__(
        self,
        *,
        num_inputs: int,
        num_outputs: int,
        dt: float,
        backend: Backend,
        file: str,
        file_dt: float | None,
        method: str | None,
        neuron: Callable[..., Neuron],
        dropout: float = 0.0,
    ):
        graph = read(file)
        grid = _grid(graph, dt, file_dt, method)
        shape, stages = ChainGraph(graph).stages()
        layers: list[_Read] = []
        for stage in stages:
            layers.append(_Read(stage, layers[-1].shape if layers else shape, grid, dt))
        inputs, outputs = prod(shape), prod(layers[-1].shape)
        size = f"file: {file} takes {inputs} inputs, but the encoder gives {num_inputs} channels"
        require(inputs == num_inputs, f"{size}; choose the data that it was trained on")
        size = f"file: {file} has {outputs} outputs, but the data set has {num_outputs} classes"
        require(outputs == num_outputs, f"{size}; choose the data that it was trained on")
        parts = [(layer.connect, partial(neuron, source=layer.source)) for layer in layers]
        hidden = dict(zip(_names(layers[:-1]), parts, strict=False))
        delays, biases = ([getattr(one, of) for one in layers] for of in ("delay", "bias"))
        self._build(
            shape,
            hidden,
            parts[-1],
            dt,
            backend,
            _Loops(layers),
            _in_turn(delays),
            _in_turn(biases),
            dropout,
        )


def _in_turn(modules: Sequence[Any]) -> Callable[..., Any] | None:
    """A factory of each layer's own; None if there are none."""
    left = iter(modules)
    return None if all(module is None for module in modules) else lambda **_: next(left)


def _names(layers: Sequence["_Read"]) -> list[str]:
    """Of hidden layers: their neurons' in the file where a module can have them."""
    names = [layer.source.name.replace(".", "_") for layer in layers]
    fits = all(is_free(name) and name != "readout" for name in names)
    if fits and len({*names}) == len(names):
        return names
    return [f"hidden{n}" for n in range(1, len(names) + 1)]


def read(file: str | Path) -> nir.NIRGraph:
    """The graph in a file; ValueError if there is none.

    Without metadata, but for a file of snnexp: others mean something else by the same words.
    """
    try:
        graph = nir.read(file, type_check=False)
    except FileNotFoundError as error:
        raise ValueError(f"file: {file}: no such file in {Path.cwd()}") from error
    except Exception as error:  # h5py and nir raise what comes, KeyError and AssertionError too
        raise ValueError(f"file: {file} is no graph of NIR ({error})") from error
    if graph.metadata.get("writer") != "snnexp":
        _forget(graph)
    return graph


def _forget(graph: nir.NIRGraph) -> None:
    graph.metadata = {}
    for node in graph.nodes.values():
        node.metadata = {}
        if isinstance(node, nir.NIRGraph):
            _forget(node)


def _grid(graph: nir.NIRGraph, dt: float, file_dt: float | None, method: str | None) -> Grid:
    about = graph.metadata
    if file_dt is None and "seconds" in about:
        trained = _said(about, "seconds")
        require(
            abs(dt / trained - 1) < 1e-6,
            f"file_dt: null, but time.dt is {dt!r} s and the file was written of a network with "
            f"steps of {trained!r} s; set time.dt={trained!r}, or model.file_dt to what a step is "
            "to last in the file's unit of time",
        )
    for name, given in (("file_dt", file_dt), ("method", method)):
        require(
            given is not None or name.removeprefix("file_") in about,
            f"{name}: null, but the file does not say it; set model.file_dt to what a step lasts "
            "in its unit of time, and model.method to euler or exponential (snnTorch and "
            "SpikingJelly: 1e-4 and euler, sinabs: 1 and exponential, Norse: 1e-6 and euler, or "
            "1e-3 where its to_nir was given dt=1)",
        )
    (step,) = require_positive(file_dt=_said(about, "dt") if file_dt is None else file_dt)
    return Grid(step, str(about["method"]) if method is None else method)


def _said(about: Mapping[str, Any], name: str) -> float:
    """A number above 0 of the file's metadata."""
    try:
        number = float(about[name])
        require_positive(metadata=number)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"file: its metadata say {name} = {about[name]!r}, which is no number above 0; write "
            "it anew, or set model.file_dt to what a step lasts in the file's unit of time"
        ) from error
    return number


class _Read:
    """A layer as it is built: its connections with their weights, and what its neurons are."""

    def __init__(self, stage: Stage, shape: Shape, grid: Grid, dt: float):
        name, node = stage.neuron
        self.delay: Delay | None = None
        path = [one for one in stage.path if not isinstance(one[1], nir.Input | nir.Output)]
        if path and isinstance(first := path[0][1], nir.Delay):
            self.delay = _delay(path[0][0], first, prod(shape), grid, dt)
            path = path[1:]
        weighted = [of for of, one in path if isinstance(one, WEIGHTS)]
        require(
            len(weighted) == 1,
            f"file: {len(weighted)} nodes of weights, {', '.join(weighted) or 'none'}, lead to "
            f"{name}; there must be one",
        )
        self.synapse, added = connections(path, shape)
        self.shape = self.synapse.output_shape
        self.loop: Tensor | None = None
        if stage.loop is not None:
            (of, loop), size = stage.loop, prod(self.shape)
            assert isinstance(loop, MATRICES)
            matrix = loop.weight
            fits = matrix.shape == (size, size)
            require(fits, f"file: {of} is no matrix of {size} x {size}, but of {matrix.shape}")
            self.loop = torch.tensor(matrix, dtype=torch.float32)
            try:
                added = added + bias_of(loop, (size,)).numpy()  # in every step, spikes or not
            except ValueError as error:
                raise ValueError(f"file: {of}: {error}") from error
        self.bias: Bias | None = None
        if added.any() and isinstance(node, nir.CubaLI | nir.CubaLIF):
            self.bias, added = Bias(torch.tensor(added, dtype=torch.float32)), np.zeros_like(added)
        self.source = Source(node, name, grid, added, self.loop is not None)

    def connect(self, input_shape: Shape) -> Synapse:
        """The layer's synapse, which is of this shape."""
        assert tuple(input_shape) == self.synapse.input_shape
        return self.synapse


class _Loops:
    """Fills in recurrent weights; the others are there."""

    def __init__(self, layers: Sequence[_Read]):
        self.layers = layers

    def fill_layer(self, layer: Layer, index: int) -> None:
        """Those of layer number `index`."""
        loop = self.layers[index].loop
        if loop is not None:
            assert layer.neuron.recurrent is not None
            layer.neuron.recurrent.data.copy_(loop)


class _ReadDelay(Delay):
    """Delays in s that stay as they are."""

    def __init__(self, seconds: np.ndarray, dt: float):
        longest = float(seconds.max())
        super().__init__(
            size=len(seconds), dt=dt, low=0.0, high=longest, longest=longest, inputs=True
        )
        self.register_buffer("seconds", torch.tensor(seconds, dtype=torch.float32))


def _delay(name: str, node: nir.Delay, size: int, grid: Grid, dt: float) -> _ReadDelay:
    """A node's, of `size` sources."""
    delays = np.ravel(node.delay)
    fits = delays.size in (1, size)
    require(fits, f"file: {name}: {delays.size} delays for {size} inputs")
    require(
        bool(np.isfinite(delays).all() and (delays >= 0).all()),
        f"file: {name}: delays from {delays.min():g} to {delays.max():g}; none may be below 0",
    )
    return _ReadDelay(np.broadcast_to(delays / grid.dt * dt, (size,)), dt)
