"""Networks of snnTorch 1.0 run here, and those of here run in snnTorch; where it is installed.

Its own exporter and importer, with steps of 1e-4 and explicit Euler.
"""

from functools import partial
from itertools import pairwise

import nir
import pytest
import torch
from torch import nn

from snnexp.inputs import Dense
from snnexp.nir import to_graph
from tests.models import made
from tests.nir.made import network

snntorch = pytest.importorskip("snntorch")
exporter = pytest.importorskip("snntorch.export_nir")
importer = pytest.importorskip("snntorch.import_nir")

SIZES = (5, 20, 3)


def spikes():
    draw = torch.Generator().manual_seed(0)
    return (torch.rand(40, 8, SIZES[0], generator=draw) < 0.4).float()


def theirs(kind, recurrent=False, bias=True, **more):
    """Layers of their neurons, with a number for each one: it cannot write one for all."""
    torch.manual_seed(0)
    found: list[nn.Module] = []
    for inputs, size in pairwise(SIZES):
        dense = nn.Linear(inputs, size, bias=bias)
        dense.weight.data *= 4
        is_loop = recurrent and size != SIZES[-1]
        made = getattr(snntorch, f"R{kind}" if is_loop else kind)
        given = {"beta": torch.rand(size) * 0.4 + 0.5, "threshold": torch.ones(size), **more}
        if kind == "Synaptic":
            given["alpha"] = torch.full((size,), 0.6)
        if is_loop:
            given["linear_features"] = size
        found += [dense, made(init_hidden=True, **given)]
        if is_loop and not bias:
            found[-1].recurrent.bias.data.zero_()
    return nn.Sequential(*found)


def outputs(module, values):
    """Their output spikes in each step."""
    for part in module.modules():
        if isinstance(part, snntorch.SpikingNeuron):
            part.reset_mem()
    with torch.no_grad():
        return torch.stack([module(step) for step in values])


LATE = {"reset": "subtract", "reset_delay": True}  # snnTorch's default
AT_ONCE = {"reset_mechanism": "zero", "reset_delay": False}


@pytest.mark.parametrize(
    ("made_there", "read_with"),
    [
        ({"kind": "Leaky"}, LATE),
        ({"kind": "Leaky", **AT_ONCE}, {}),
        ({"kind": "Leaky", "recurrent": True}, LATE),
        ({"kind": "Leaky", "recurrent": True, "bias": False}, LATE),
        ({"kind": "Synaptic"}, LATE),
        ({"kind": "Synaptic", "recurrent": True}, LATE),
        ({"kind": "Synaptic", "bias": False, **AT_ONCE}, {}),
        ({"kind": "Synaptic", "bias": False, "recurrent": True}, LATE),
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
def test_what_snntorch_writes_spikes_as_there(made_there, read_with, tmp_path):
    module, values = theirs(**made_there), spikes()
    graph = exporter.export_to_nir(module, values[0, :1], ignore_dims=[0])
    read = network(graph, tmp_path, SIZES[0], SIZES[-1], file_dt=1e-4, **read_with)
    ours = read(Dense(values))[0].readout.spikes
    assert ours is not None and 0.01 < ours.mean() < 0.9
    assert torch.equal(outputs(module, values), ours)


@pytest.mark.parametrize(
    "neuron",
    [
        partial(made.lif, reset="zero"),
        partial(
            made.cuba_lif, dt=1e-3, tau_mem=14e-3, tau_syn=4e-3, normalized=False, threshold=20.0
        ),
    ],
    ids=["lif", "cuba_lif"],
)
def test_snntorch_runs_what_is_written_here(neuron, tmp_path):
    ours, values = made.network(SIZES, neuron, neuron), spikes()
    expected = ours(Dense(values))[0].readout.spikes
    assert expected is not None and 0.01 < expected.mean() < 0.9
    file = tmp_path / "net.nir"
    nir.write(file, to_graph(ours, dt=1e-4, method="euler"))
    module, state, steps = importer.import_from_nir(nir.read(file)), None, []
    for step in values:
        spiked, state = module(step, state)
        steps.append(spiked)
    assert torch.equal(torch.stack(steps), expected)
