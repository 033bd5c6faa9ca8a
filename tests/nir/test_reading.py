"""Graphs of other tools: what is read, and what is refused by its node."""

import re

import nir
import numpy as np
import pytest
import torch

from snnexp.inputs import Dense
from snnexp.models import AvgPool2d, Chain, Linear
from snnexp.nir import reading, to_graph
from tests.nir.made import chain, dense, ends, lif, network

LAYERS = {"fc1": dense(6, 4), "lif1": lif(6), "fc2": dense(3, 6, 1), "lif2": lif(3)}


def graph_of(nodes, edges, inputs=(4,), outputs=(3,)):
    return nir.NIRGraph({**ends(inputs, outputs), **nodes}, edges, type_check=False)


def spikes(channels=4, steps=30):
    draw = torch.Generator().manual_seed(0)
    return Dense((torch.rand(steps, 2, channels, generator=draw) < 0.4).float())


def test_layers_are_named_as_in_the_file_and_hold_its_weights(tmp_path):
    read = network(chain(LAYERS, (4,), (3,)), tmp_path, 4, 3)
    assert [*read.layers] == ["lif1", "readout"]
    assert isinstance(read.layers["lif1"].synapse, Linear)
    assert torch.equal(read.layers["readout"].weight, torch.tensor(LAYERS["fc2"].weight))


@pytest.mark.parametrize("name", ["readout", "0", "a.forward", "forward"])
def test_a_name_that_a_module_cannot_have_is_replaced(name, tmp_path):
    nodes = {name if key == "lif1" else key: node for key, node in LAYERS.items()}
    read = network(chain(nodes, (4,), (3,)), tmp_path, 4, 3)
    expected = {"0": "0", "a.forward": "a_forward"}.get(name, "hidden1")
    assert [*read.layers] == [expected, "readout"]


def test_recurrence_is_read_flat_and_from_a_graph_within(tmp_path):
    """Norse and SpikingJelly write a cycle, snnTorch a graph of its own."""
    matrix = dense(6, 6, 2)
    edges = [("input", "fc1"), ("fc1", "lif1"), ("fc2", "lif2"), ("lif2", "output")]
    cycle = [("lif1", "rec"), ("rec", "lif1"), ("lif1", "fc2")]
    flat = network(graph_of(LAYERS | {"rec": matrix}, edges + cycle), tmp_path, 4, 3)
    inner = nir.NIRGraph(
        {**ends((6,), (6,)), "lif": LAYERS["lif1"], "rec": nir.Affine(matrix.weight, np.zeros(6))},
        [("input", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")],
        type_check=False,
    )
    outer = {**LAYERS, "lif1": inner}
    nested = network(graph_of(outer, [*edges, ("lif1", "fc2")]), tmp_path, 4, 3)
    assert [*nested.layers] == ["lif1_lif", "readout"]
    for read, name in ((flat, "lif1"), (nested, "lif1_lif")):
        assert torch.equal(read.layers[name].neuron.recurrent, torch.tensor(matrix.weight))
    assert torch.equal(*(read(spikes())[0].layers["readout"].counts for read in (flat, nested)))


def test_a_bias_is_a_current_in_each_step(tmp_path):
    """Of LIF: from rest, v(1) = dt / tau r b; of pooled images each channel's own."""
    bias = np.array([0.5, -0.5, 2.0])
    nodes = {"fc": nir.Affine(np.zeros((3, 4)), bias), "lif": lif(3, r=np.full(3, 2.0))}
    read = network(chain(nodes, (4,), (3,)), tmp_path, 4, 3)
    first = read(spikes(steps=1))[0].layers["readout"].membrane[0]
    torch.testing.assert_close(first, torch.tensor(bias * 2 / 10).float().expand(2, 3))
    conv = nir.Conv2d((6, 6), np.zeros((2, 1, 3, 3)), 1, 0, 1, 1, np.array([1.0, 3.0]))
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    images = {"conv": conv, "pool": pool, "lif": lif((2, 2, 2), r=10.0, v_threshold=100.0)}
    read = network(chain(images, (1, 6, 6), (2, 2, 2)), tmp_path, 36, 8)
    membrane = read(spikes(36, 1))[0].layers["readout"].membrane[0, 0]
    torch.testing.assert_close(membrane, torch.tensor([4.0] * 4 + [12.0] * 4))


def test_a_bias_on_the_way_back_is_a_current_in_each_step_too(tmp_path):
    """snnTorch's recurrent layers have one; the same bias before the neurons does the same."""
    weight, matrix, bias = LAYERS["fc1"].weight, dense(6, 6, 2).weight, np.linspace(-2, 9, 6)
    counts = []
    for there, back in ((bias, 0 * bias), (0 * bias, bias)):
        layers = LAYERS | {"fc1": nir.Affine(weight, there), "rec": nir.Affine(matrix, back)}
        edges = [("input", "fc1"), ("fc1", "lif1"), ("lif1", "rec"), ("rec", "lif1")]
        edges += [("lif1", "fc2"), ("fc2", "lif2"), ("lif2", "output")]
        read = network(graph_of(layers, edges), tmp_path, 4, 3)
        counts.append(read(spikes())[0].layers["lif1"].counts)
    assert counts[0].sum() > 0 and torch.equal(*counts)


def test_a_bias_goes_through_a_synaptic_current(tmp_path):
    """i(t) = 0.75 i + 0.25 (b + z), v = 0.5 v + 0.5 i: v = 0.125 b, then 0.28125 b."""
    bias = np.array([2.0, -1.0])
    numbers = {"tau_mem": 2.0, "tau_syn": 4.0, "r": 1.0, "v_leak": 0.0, "w_in": 1.0}
    node = nir.CubaLI(**{name: np.full(2, value) for name, value in numbers.items()})
    graph = chain({"fc": nir.Affine(np.zeros((2, 4)), bias), "li": node}, (4,), (2,))
    net = network(graph, tmp_path, 4, 2)
    membrane = net(spikes(steps=2))[0].layers["readout"].membrane[:, 0]
    expected = torch.tensor(bias).float() * torch.tensor([[0.125], [0.28125]])
    torch.testing.assert_close(membrane, expected)
    written = to_graph(net, 1.0, "euler").nodes["readout_weights"]
    np.testing.assert_allclose(written.bias, bias)


@pytest.mark.parametrize(
    ("padding", "side"), [("same", 8), ("valid", 4), (1, 6), (np.array([2, 2]), 8)], ids=str
)
def test_convolutions_are_torchs(padding, side, tmp_path):
    """A kernel of 3 with holes of 2 reaches over 5 pixels."""
    weight = np.random.default_rng(0).normal(2, 4, (3, 2, 3, 3)).astype(np.float32)
    conv = nir.Conv2d((8, 8), weight, 1, padding, (2, 2), 1, np.zeros(3))
    shape = (3, side, side)
    nodes = {"conv": conv, "lif": lif(shape, tau=1.0, v_threshold=1e6)}
    read = network(chain(nodes, (2, 8, 8), shape), tmp_path, 128, 3 * side * side)
    given = spikes(128, 1)
    found = read(given)[0].layers["readout"].membrane[0]
    pixels = {"valid": 0, "same": 2}.get(padding, padding) if isinstance(padding, str) else padding
    image = given.dense()[0].view(2, 2, 8, 8)
    by_torch = torch.conv2d(image, torch.tensor(weight), None, 1, int(np.ravel(pixels)[0]), 2)
    torch.testing.assert_close(found, by_torch.flatten(1))


def test_pooling_and_flattening_lead_to_dense_weights(tmp_path):
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    flat = nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1)
    nodes = {"pool": pool, "flatten": flat, "fc": dense(3, 8), "lif": lif(3)}
    synapse = network(chain(nodes, (2, 4, 4), (3,)), tmp_path, 32, 3).layers["readout"].synapse
    assert isinstance(synapse, Chain) and isinstance(synapse.parts["avgpool2d"], AvgPool2d)
    values = torch.rand(5, 32)
    pooled = torch.nn.functional.avg_pool2d(values.view(5, 2, 4, 4), 2).flatten(1)
    expected = pooled @ torch.tensor(nodes["fc"].weight).T
    torch.testing.assert_close(synapse.transform(values.view(5, 2, 4, 4), synapse.weight), expected)


def test_delays_are_in_the_files_time(tmp_path):
    """2 and 4.6 of a unit of which a step lasts 2: 1 and 2 steps."""
    delay = nir.Delay(np.array([2.0, 4.6]))
    nodes = {"d": delay, "fc": nir.Linear(np.eye(2)), "li": nir.LI(*np.ones((3, 2)))}
    read = network(chain(nodes, (2,), (2,)), tmp_path, 2, 2, 2.0, "exponential")
    sent = torch.zeros(6, 1, 2)
    sent[0] = 1
    membrane = read(Dense(sent))[0].layers["readout"].membrane[:, 0]
    leaked = membrane - membrane[0]  # v_leak is 1, where it begins
    assert [int(step) for step in (leaked > 1e-6).float().argmax(0)] == [1, 2]


TWICE = {"a": dense(4, 4), "b": dense(6, 4)}
REFUSED = [
    (chain({"fc": dense(3, 4)}, (4,), (3,)), "the graph ends in fc; it must end in neurons"),
    (chain({**TWICE, "lif": lif(6)}, (4,), (6,)), "2 nodes of weights, a, b, lead to lif"),
    (chain({"lif": lif(4)}, (4,), (4,)), "0 nodes of weights, none, lead to lif"),
    (chain({**LAYERS, "s": nir.Scale(np.ones(3))}, (4,), (3,)), "the graph ends in s"),
    (
        chain({"s": nir.Scale(np.ones(4)), **LAYERS}, (4,), (3,)),
        "s: nodes of Scale are not read here",
    ),
    (chain({"fc": dense(6, 5), "lif": lif(6)}, (4,), (6,)), "fc: weights of (6, 5) for an input"),
    (chain({"fc": dense(6, 4), "lif": lif(5)}, (4,), (6,)), "node lif .* has 5 values for 6"),
    (
        graph_of(LAYERS, [("input", "fc1"), ("fc1", "lif1"), ("lif1", "output")]),
        "fc2, lif2: not on the way",
    ),
    (
        graph_of(
            {**LAYERS, "skip": dense(3, 4)},
            [
                *[("input", "fc1"), ("fc1", "lif1"), ("lif1", "fc2"), ("fc2", "lif2")],
                *[("input", "skip"), ("skip", "lif2"), ("lif2", "output")],
            ],
        ),
        "input leads to",
    ),
    (
        graph_of(LAYERS, [("input", "fc1"), ("fc1", "lif1"), ("lif1", "fc1"), ("lif1", "output")]),
        "fc1 is reached from input, lif1; only chains",
    ),
]


def affine(weight=1.0, bias=(0.0, 0.0, 0.0)):
    return {"fc": nir.Affine(np.full((3, 4), weight), np.array(bias)), "lif": lif(3)}


def delayed(*delays):
    return chain({"d": nir.Delay(np.array(delays)), **affine()}, (4,), (3,))


REFUSED += [
    (chain(affine(weight=np.nan), (4,), (3,)), "fc: its weights must be finite numbers"),
    (chain(affine(bias=(np.inf, 0, 0)), (4,), (3,)), "fc: its bias must be finite numbers"),
    (chain(affine(bias=(1, 1)), (4,), (3,)), "fc: a bias of 2 values for 3 outputs"),
    (delayed(1.0, 2.0), "d: 2 delays for 4 inputs"),
    (delayed(1.0, -2.0, 0.0, 0.0), "d: delays from -2 to 1; none may be below 0"),
    (delayed(1.0, np.nan, 0.0, 0.0), "d: delays from nan to nan; none may be below 0"),
]


@pytest.mark.parametrize(("graph", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_chain_of_layers_is_refused_by_its_node(graph, message, tmp_path):
    outputs = int(np.prod(graph.nodes["output"].output_type["output"]))
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(ValueError, match=f"^file: .*{pattern}|^the {pattern}"):
        network(graph, tmp_path, 4, outputs)


def test_an_input_of_a_batch_of_one_is_that_of_a_sample(tmp_path):
    assert network(chain(LAYERS, (1, 4), (3,)), tmp_path, 4, 3).layers["lif1"].weight.shape == (
        6,
        4,
    )


def test_sizes_that_are_not_those_of_the_data_are_refused(tmp_path):
    graph = chain(LAYERS, (4,), (3,))
    with pytest.raises(ValueError, match="takes 4 inputs, but the encoder gives 5 channels"):
        network(graph, tmp_path, 5, 3)
    with pytest.raises(ValueError, match="has 3 outputs, but the data set has 10 classes"):
        network(graph, tmp_path, 4, 10)


def test_a_file_that_does_not_say_its_time_is_asked_for_it(tmp_path):
    graph = chain(LAYERS, (4,), (3,))
    for given, missing in (((None, "euler"), "file_dt"), ((1.0, None), "method")):
        with pytest.raises(ValueError, match=f"^{missing}: null, .*set model.file_dt .*snnTorch"):
            network(graph, tmp_path, 4, 3, *given)


def test_what_another_writer_notes_is_not_taken_for_ours(tmp_path):
    layers = {**LAYERS, "lif1": lif(6)}
    layers["lif1"].metadata = {"hard": False, "refractory_steps": 3}
    read = network(chain(layers, (4,), (3,), {"seconds": 1.0}), tmp_path, 4, 3)
    constants = read.layers["lif1"].neuron.constants
    assert constants.hard and constants.refractory_steps == 0


@pytest.mark.parametrize(
    ("about", "detail", "message"),
    [
        ({"seconds": "soon"}, {}, "file: its metadata say seconds = 'soon', which is no number"),
        ({"seconds": 0.0}, {}, "file: its metadata say seconds = "),
        ({"dt": -1.0}, {}, "file: its metadata say dt = "),
        ({}, {"refractory_steps": -3}, "node lif2 .* refractory_steps of its metadata is -3"),
        ({}, {"refractory_steps": "x"}, "node lif2 .* its metadata are damaged"),
    ],
    ids=str,
)
def test_damaged_metadata_are_refused(about, detail, message, tmp_path):
    layers = {**LAYERS, "lif2": lif(3)}
    layers["lif2"].metadata = detail
    whole = {"writer": "snnexp", "dt": 1.0, "method": "euler", "seconds": 1e-3} | about
    with pytest.raises(ValueError, match=message):
        network(chain(layers, (4,), (3,), whole), tmp_path, 4, 3, None, None)


def test_the_step_of_the_file_is_named_by_its_key(tmp_path):
    with pytest.raises(ValueError, match=r"^file_dt: -1.0; it must be a finite number above 0"):
        network(chain(LAYERS, (4,), (3,)), tmp_path, 4, 3, file_dt=-1.0)


def test_several_spikes_are_counted_by_a_threshold_above_0(tmp_path):
    below = {**LAYERS, "lif2": lif(3, v_threshold=-1.0, v_reset=-2.0)}
    with pytest.raises(ValueError, match=r"node lif2 .* multiple: spikes are counted by"):
        network(chain(below, (4,), (3,)), tmp_path, 4, 3, multiple=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [("none", ": no such file"), ("text", " is no graph of NIR"), ("node", " is no graph of NIR")],
)
def test_what_is_no_file_of_nir_is_refused(name, message, tmp_path):
    (tmp_path / "text.nir").write_text("weights")
    nir.write(tmp_path / "node.nir", LAYERS["fc1"])
    with pytest.raises(ValueError, match=f"file: .*{name}.nir{message}"):
        reading.read(tmp_path / f"{name}.nir")


def test_all_neurons_but_the_last_must_spike(tmp_path):
    silent = {**LAYERS, "lif1": nir.LI(*np.full((3, 6), 10.0))}
    with pytest.raises(ValueError, match="NIRNeuron does not spike; it can only be the readout"):
        network(chain(silent, (4,), (3,)), tmp_path, 4, 3)
