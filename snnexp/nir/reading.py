"""A graph of the Neuromorphic Intermediate Representation (NIR) as a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from snnexp.models.images import AvgPool2d, Conv2d, SumPool2d
from snnexp.models.network import Backend, Layer, Network
from snnexp.models.neurons import Neuron
from snnexp.models.normalization import Bias
from snnexp.models.synapses import Chain, Flatten, Linear, Synapse, is_free
from snnexp.nir.neurons import SILENT, SPIKING, Grid, Source

Shape = tuple[int, ...]
Named = tuple[str, nir.NIRNode]
MATRICES = (nir.Linear, nir.Affine)
WEIGHTS = (*MATRICES, nir.Conv2d)


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
        shape, stages = _Chain(graph).stages()
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


@dataclass(frozen=True)
class _Stage:
    """Neurons, what leads to them from those before, and the weights by which they hear themselves.

    All with their names in the file.
    """

    path: Sequence[Named]
    neuron: Named
    loop: Named | None


class _Chain:
    """The nodes of a graph and of those within it, of which each leads to the next."""

    def __init__(self, graph: nir.NIRGraph):
        self.nodes, edges = _flat(graph)
        self.after: dict[str, list[str]] = {name: [] for name in self.nodes}
        self.before: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in dict.fromkeys(edges):
            self.after[source].append(target)
            self.before[target].append(source)
        self.ends = []
        for kind in (nir.Input, nir.Output):
            names = [name for name, node in graph.nodes.items() if isinstance(node, kind)]
            what = f"{len(names)} nodes of {kind.__name__}, {', '.join(names) or 'none'}"
            require(len(names) == 1, f"file: the graph has {what}; one is read")
            self.ends.append(names[0])

    def stages(self) -> tuple[Shape, list[_Stage]]:
        """The shape of a step of a sample, and the layers."""
        first, last = self.ends
        shape = tuple(int(size) for size in np.ravel(self.nodes[first].input_type["input"]))
        if len(shape) in (2, 4) and shape[0] == 1:  # of a batch of one, as Norse may write it
            shape = shape[1:]
        stages, seen, at = [], {first}, first
        while True:
            path, end, loop = self._onwards(at)
            seen |= {name for name, _ in path} | ({loop[0]} if loop else set())
            if stages:
                stages[-1] = _Stage(stages[-1].path, stages[-1].neuron, loop)
            if end == last:
                break
            seen.add(end)
            stages.append(_Stage(path, (end, self.nodes[end]), None))
            at = end
        weights = [name for name, node in path if not isinstance(node, nir.Input | nir.Output)]
        require(
            bool(stages) and not weights,
            "file: the graph ends in "
            + (", ".join(weights) or "its input")
            + "; it must end in neurons, those of the readout",
        )
        left = [name for name in self.nodes if name not in seen | {last}]
        require(not left, f"file: {', '.join(left)}: not on the way from the input to the output")
        return shape, stages

    def _onwards(self, name: str) -> tuple[list[Named], str, Named | None]:
        """What leads on from neurons or the input, to where, and what leads back."""
        ways = [self._way(name, following) for following in self.after[name]]
        back = [path for path, end in ways if end == name]
        on = [(path, end) for path, end in ways if end != name]
        require(
            len(on) == 1 and len(back) <= 1,
            f"file: {name} leads to {', '.join(end for _, end in ways) or 'nothing'}; a layer "
            "leads to the next one, and at most to itself",
        )
        loop = None
        if back:
            inner = [one for one in back[0] if not isinstance(one[1], nir.Input | nir.Output)]
            require(
                len(inner) == 1 and isinstance(inner[0][1], MATRICES),
                f"file: {name} leads back to itself through "
                f"{', '.join(of for of, _ in inner) or 'nothing'}; a matrix is read there",
            )
            (loop,) = inner
        expected = 1 + len(back) if isinstance(self.nodes[name], SPIKING + SILENT) else 0
        self._refuse_joint(name, expected)
        return (*on[0], loop)

    def _way(self, start: str, name: str) -> tuple[list[Named], str]:
        """What lies between a node and the next neurons or the end, from its follower `name` on."""
        path: list[Named] = []
        while name != self.ends[1] and not isinstance(self.nodes[name], SPIKING + SILENT):
            node = self.nodes[name]
            require(
                (name, node) not in path and len(self.after[name]) == 1,
                f"file: {name}, behind {start}, leads to "
                f"{', '.join(self.after[name]) or 'nothing'}; only chains of layers are read",
            )
            self._refuse_joint(name, 1)
            path.append((name, node))
            (name,) = self.after[name]
        return path, name

    def _refuse_joint(self, name: str, expected: int) -> None:
        sources = self.before[name]
        require(
            len(sources) == expected,
            f"file: {name} is reached from {', '.join(sources) or 'nothing'}; only chains of "
            "layers are read",
        )


def _flat(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, nir.NIRNode], list]:
    """Nodes and edges with those of graphs within, whose inputs and outputs stay as nodes."""
    nodes: dict[str, nir.NIRNode] = {}
    edges = []
    doors: dict[str, dict[type, list[str]]] = {}
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[prefix + name] = node
            continue
        inner, between = _flat(node, f"{prefix}{name}.")
        nodes |= inner
        edges += between
        doors[name] = {
            kind: [
                f"{prefix}{name}.{of}" for of, one in node.nodes.items() if isinstance(one, kind)
            ]
            for kind in (nir.Input, nir.Output)
        }
    for source, target in graph.edges:
        outgoing = doors[source][nir.Output] if source in doors else [prefix + source]
        incoming = doors[target][nir.Input] if target in doors else [prefix + target]
        edges += [(a, b) for a in outgoing for b in incoming]
    for edge in edges:
        for name in edge:
            require(name in nodes, f"file: an edge names {name}, which is no node")
    return nodes, edges


class _Read:
    """A layer as it is built: its connections with their weights, and what its neurons are."""

    def __init__(self, stage: _Stage, shape: Shape, grid: Grid, dt: float):
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
        self.synapse, added = _connections(path, shape)
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
                added = added + _bias(loop, (size,)).numpy()  # in every step, spikes or not
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


def _connections(path: Sequence[Named], shape: Shape) -> tuple[Synapse, np.ndarray]:
    """A synapse with its weights, and what its bias adds to each neuron's current."""
    parts: dict[str, Synapse] = {}
    added: Tensor | None = None
    flow = shape
    for name, node in path:
        try:
            part = _part(node, flow)
            bias = _bias(node, part.output_shape)
        except ValueError as error:
            raise ValueError(f"file: {name}: {error}") from error
        if isinstance(node, WEIGHTS):
            assert part.weight is not None
            part.weight.data.copy_(torch.tensor(node.weight, dtype=torch.float32))
            rows = bias.reshape(-1, *[1] * (len(part.output_shape) - 1))
            added = rows.expand(part.output_shape)[None]
        elif added is not None:
            added = part.transform(added, None)
        parts[f"{type(node).__name__.lower()}{len(parts) or ''}"] = part
        flow = part.output_shape
    assert added is not None
    synapse = next(iter(parts.values()))
    if len(parts) > 1 or not isinstance(synapse, Linear):
        made = {name: partial(_given, part) for name, part in parts.items()}
        synapse = Chain(input_shape=shape, parts=made)
    return synapse, added.flatten().numpy()


def _bias(node: nir.NIRNode, output_shape: Shape) -> Tensor:
    """That of a node of weights, by output or channel, 0 if it has none; all must be finite."""
    bias = np.ravel(getattr(node, "bias", 0.0))
    for what, values in (("weights", getattr(node, "weight", 0.0)), ("bias", bias)):
        require(bool(np.isfinite(values).all()), f"its {what} must be finite numbers")
    fits = bias.size in (1, output_shape[0])
    require(fits, f"a bias of {bias.size} values for {output_shape[0]} outputs")
    return torch.tensor(bias, dtype=torch.float64)


def _given(part: Synapse, input_shape: Sequence[int]) -> Synapse:
    return part


def _part(node: nir.NIRNode, shape: Shape) -> Synapse:
    """Raises ValueError for nodes of other kinds and for other shapes."""
    if isinstance(node, MATRICES):
        fits = node.weight.ndim == 2 and shape == node.weight.shape[1:]
        require(fits, f"weights of {node.weight.shape} for an input of {shape}")
        return Linear(input_shape=shape, num_outputs=node.weight.shape[0])
    if isinstance(node, nir.Flatten):
        whole = node.end_dim in (-1, len(shape) - 1) and node.start_dim in (0, 1)
        require(whole, f"flattens axes {node.start_dim} to {node.end_dim} of {shape}, not all")
        return Flatten(input_shape=shape)
    if isinstance(node, nir.AvgPool2d | nir.SumPool2d):
        require(not np.any(node.padding), f"padding {node.padding}; pooling has none here")
        size, stride = _square(kernel_size=node.kernel_size), _square(stride=node.stride)
        kind = AvgPool2d if isinstance(node, nir.AvgPool2d) else SumPool2d
        return kind(input_shape=shape, kernel_size=size, stride=stride)
    if isinstance(node, nir.Conv2d):
        return _convolution(node, shape)
    raise ValueError(
        f"nodes of {type(node).__name__} are not read here; there may be weights (Linear, Affine, "
        "Conv2d), Flatten, SumPool2d and AvgPool2d, with a Delay before them all"
    )


def _convolution(node: nir.Conv2d, shape: Shape) -> Conv2d:
    size = _square(kernel_size=node.weight.shape[2:])
    stride, dilation = _square(stride=node.stride), _square(dilation=node.dilation)
    if isinstance(node.padding, str | bytes):
        is_same = node.padding in ("same", b"same")
        reach = dilation * (size - 1)
        require(not is_same or reach % 2 == 0, f"padding 'same' of a kernel of {size} is lopsided")
        padding = reach // 2 if is_same else 0
    else:
        padding = _square(padding=node.padding)
    made = Conv2d(
        input_shape=shape,
        channels=node.weight.shape[0],
        kernel_size=size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=int(node.groups),
    )
    assert made.weight is not None
    fits = made.weight.shape == node.weight.shape
    require(fits, f"weights of {node.weight.shape} for an input of {shape}")
    return made


def _square(**sizes: object) -> int:
    """The size that is the same both ways."""
    ((name, size),) = sizes.items()
    both = {int(one) for one in np.ravel(size)}  # type: ignore[arg-type]
    require(len(both) == 1, f"{name} {size}; it must be the same both ways")
    return both.pop()
