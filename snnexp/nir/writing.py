"""A network as a graph of the Neuromorphic Intermediate Representation (NIR)."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import nir
import numpy as np
from torch import Tensor

from snnexp.checks import require
from snnexp.models.delays import Delay
from snnexp.models.images import AvgPool2d, Conv2d, SumPool2d
from snnexp.models.layer import Layer
from snnexp.models.network import Network
from snnexp.models.normalization import BatchNorm, Bias
from snnexp.models.synapses import Chain, Flatten, Linear, Synapse
from snnexp.nir.nodes import Grid, approximations, written


def to_graph(
    network: Network, dt: float | None = None, method: str | None = None, inexact: bool = False
) -> nir.NIRGraph:
    """The graph of a network as it is tested: normalization is in its weights.

    dt: what a step lasts in the unit of time of the graph's numbers; None: its length in s.
    method: how time constants follow from decays per step, see `Grid`; None: `euler` if a neuron is
    configured so, else `exponential`. inexact: whether to write neurons of which NIR does not say
    all; their metadata do, for `NIRNetwork`.
    Nodes are named after layers. Weights are those of the model, not as a chip rounds them.
    Raises ValueError, with the layer and the way out, for what NIR has no node for.
    """
    readout = network.layers["readout"]
    seconds = readout.neuron.dt
    by_euler = any(layer.neuron.euler for layer in network.layers.values())
    grid = Grid(seconds if dt is None else dt, method or ("euler" if by_euler else "exponential"))
    shape = network.layers[next(iter(network.layers))].synapse.input_shape
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array(shape)})}
    edges: list[tuple[str, str]] = []
    last = "input"
    for name, layer in network.layers.items():
        try:
            parts = _layer(layer, grid, inexact, layer is readout)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        named = {f"{name}_{part}" if part else name: node for part, node in parts.items()}
        nodes |= named
        edges += pairwise([last, *named])
        last = name
        if (loop := layer.neuron.recurrent) is not None:
            nodes[f"{name}_recurrent"] = nir.Linear(_array(loop))
            edges += [(name, f"{name}_recurrent"), (f"{name}_recurrent", name)]
    nodes["output"] = nir.Output({"output": np.array(readout.synapse.output_shape)})
    edges.append((last, "output"))
    about = {"writer": "snnexp", "dt": grid.dt, "method": grid.method, "seconds": seconds}
    return nir.NIRGraph(nodes, edges, metadata=about)


def _layer(layer: Layer, grid: Grid, inexact: bool, is_readout: bool) -> dict[str, nir.NIRNode]:
    """A layer's nodes in the order of the flow; that of its neurons has the name ''."""
    synapse, neuron = layer.synapse, layer.neuron
    if neuron.constants is None:
        raise ValueError(f"{type(neuron).__name__} has a loop of its own, which is no node of NIR")
    for name, values in layer.state_dict().items():
        finite = bool(values.isfinite().all())
        require(finite, f"{name} has values that are not finite; did training diverge?")
    try:
        population, added = written(neuron.constants, synapse.output_shape, grid)
    except ValueError as error:
        raise ValueError(
            f"{type(neuron).__name__}, which {error}, is no node of NIR; choose among model=lif, "
            "cuba_lif and iaf"
        ) from error
    unsaid = approximations(neuron.constants)
    where = "model.readout" if is_readout else "model.neuron"
    require(
        inexact or not unsaid,
        f"NIR does not say {' and '.join(unsaid)}, so that another reader would run another "
        "network; add inexact=true to write it nevertheless (model=nir reads it as it is), or "
        f"train with {' '.join(f'{where}.{way}' for way in unsaid.values())}",
    )
    found: dict[str, nir.NIRNode] = {}
    if layer.delay is not None:
        found["delay"] = _delay(layer.delay, synapse, neuron.dt, grid)
    scale, shift = _folded(layer.norm, added)
    for name, part in _parts(synapse):
        found[name] = _part(part, scale, shift)
    return found | {"": population}


def _parts(synapse: Synapse) -> Iterator[tuple[str, Synapse]]:
    if isinstance(synapse, Chain):
        yield from synapse.parts.items()
    else:
        yield "weights", synapse


def _delay(delay: Delay, synapse: Synapse, dt: float, grid: Grid) -> nir.Delay:
    """As long as it acts, in whole steps."""
    steps = (delay.seconds / dt).round()
    return nir.Delay(_array(steps).reshape(synapse.input_shape) * grid.dt)


def _folded(norm: Any, added: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """By what the weights that lead to each neuron are multiplied, and what is added behind."""
    if norm is None:
        return None, added if added.any() else None
    if isinstance(norm, Bias):
        return None, _array(norm.bias)
    if not isinstance(norm, BatchNorm):
        raise ValueError(f"{type(norm).__name__} is no node of NIR, and not in the weights")
    scale = _array(norm.weight) / np.sqrt(_array(norm.variance) + norm.epsilon)
    return scale, _array(norm.bias) - _array(norm.mean) * scale + added


def _part(part: Synapse, scale: np.ndarray | None, shift: np.ndarray | None) -> nir.NIRNode:
    if type(part) is Linear:  # a subclass does more than NIR says; so below
        weight = _array(part.weight)
        weight = weight if scale is None else (weight * scale[:, None]).astype(np.float32)
        return nir.Linear(weight) if shift is None else nir.Affine(weight, shift.astype(np.float32))
    if type(part) is Flatten:
        return nir.Flatten({"input": np.array(part.input_shape)}, start_dim=0, end_dim=-1)
    if type(part) is AvgPool2d or type(part) is SumPool2d:
        pool = nir.AvgPool2d if type(part) is AvgPool2d else nir.SumPool2d
        size, stride = (np.full(2, side) for side in (part.kernel_size, part.stride))
        return pool(size, stride, np.zeros(2, dtype=int))
    if type(part) is Conv2d:
        require(shift is None, "neurons of images with a bias are no node of NIR")
        return nir.Conv2d(
            input_shape=part.input_shape[1:],  # type: ignore[arg-type]
            weight=_array(part.weight),
            stride=part.stride,
            padding=part.padding,
            dilation=part.dilation,
            groups=part.groups,
            bias=np.zeros(part.output_shape[0], dtype=np.float32),
        )
    raise ValueError(
        f"{type(part).__name__} is no node of NIR; choose among dense and convolutional layers, "
        "with model/delays if they are to have delays"
    )


def _array(values: Any) -> np.ndarray:
    assert isinstance(values, Tensor)
    return values.detach().cpu().numpy()
