"""Graphs of NIR and networks read from them."""

from functools import partial
from itertools import pairwise

import nir
import numpy as np

from snnexp.models import SuperSpike
from snnexp.nir import NIRNetwork, NIRNeuron
from tests.models.made import ideal

neuron = partial(
    NIRNeuron,
    reset=None,
    reset_delay=None,
    spike_from=None,
    strict=None,
    multiple=None,
    synaptic_delay=None,
    detach_reset=True,
    surrogate=SuperSpike(slope=5.0),
)


def ends(inputs, outputs):
    """The input and the output of a graph, of these shapes."""
    shapes = np.array(inputs), np.array(outputs)
    return {"input": nir.Input({"input": shapes[0]}), "output": nir.Output({"output": shapes[1]})}


def chain(nodes, inputs, outputs, metadata=None):
    """The graph of nodes one after another."""
    inner = dict(nodes)
    names = ["input", *inner, "output"]
    every = {**ends(inputs, outputs), **inner}
    return nir.NIRGraph(every, list(pairwise(names)), metadata=metadata or {}, type_check=False)


def lif(size, **numbers):
    """LIF neurons of tau 10, v_threshold 1."""
    given = {"tau": 10.0, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | numbers
    return nir.LIF(**{name: np.broadcast_to(value, size) for name, value in given.items()})


def dense(outputs, inputs, seed=0):
    """Weights that make a LIF of tau 10 spike."""
    draw = np.random.default_rng(seed)
    return nir.Linear(draw.normal(3.0, 8.0, (outputs, inputs)).astype(np.float32))


def network(
    graph,
    folder,
    inputs,
    outputs,
    file_dt=1.0,
    method="euler",
    dt=1e-3,
    kernel="reference",
    **changes,
):
    """The network of a graph that was written and read."""
    file = folder / "net.nir"
    nir.write(file, graph)
    return NIRNetwork(
        num_inputs=inputs,
        num_outputs=outputs,
        dt=dt,
        backend=ideal(kernel),
        file=str(file),
        file_dt=file_dt,
        method=method,
        neuron=partial(neuron, **changes),
    )
