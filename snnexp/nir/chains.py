"""The way through a graph of NIR: layers, of which each leads to the next and at most to itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import nir
import numpy as np

from snnexp.checks import require
from snnexp.nir.nodes import SILENT, SPIKING

Shape = tuple[int, ...]
Named = tuple[str, nir.NIRNode]
MATRICES = (nir.Linear, nir.Affine)


@dataclass(frozen=True)
class Stage:
    """Neurons, what leads to them from those before, and the weights by which they hear themselves.

    All with their names in the file.
    """

    path: Sequence[Named]
    neuron: Named
    loop: Named | None


class ChainGraph:
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

    def stages(self) -> tuple[Shape, list[Stage]]:
        """The shape of a step of a sample, and the layers."""
        first, last = self.ends
        shape = tuple(int(size) for size in np.ravel(self.nodes[first].input_type["input"]))
        if len(shape) in (2, 4) and shape[0] == 1:  # of a batch of one, as Norse may write it
            shape = shape[1:]
        stages = []
        path, end, _ = self._onwards(first)
        while end != last:
            before, neurons = path, end
            path, end, loop = self._onwards(neurons)
            stages.append(Stage(before, (neurons, self.nodes[neurons]), loop))
        weights = [name for name, node in path if not isinstance(node, nir.Input | nir.Output)]
        require(
            bool(stages) and not weights,
            "file: the graph ends in "
            + (", ".join(weights) or "its input")
            + "; it must end in neurons, those of the readout",
        )
        seen = {first, last, *(name for name, _ in path)}
        for stage in stages:
            seen |= {name for name, _ in [*stage.path, stage.neuron, stage.loop or stage.neuron]}
        left = [name for name in self.nodes if name not in seen]
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
