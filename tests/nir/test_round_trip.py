"""Networks go to a file of NIR and come back as the same networks."""

import nir
import numpy as np
import pytest
import torch

from snnexp.config import instantiate
from snnexp.experiment import build
from snnexp.inputs import Dense
from snnexp.nir import to_graph
from snnexp.session import compose
from tests.nir.made import network

SMALL = ("model.hidden_sizes=[20]", "dataset.sizes={train: 20, val: 10, test: 10}")


def made(*words):
    """An untrained network that spikes, as it is tested."""
    given = SMALL if "model=lif_deep" not in words else SMALL[1:]
    network = build(compose([*given, *words]))[1].network.eval()
    for layer in network.layers.values():
        layer.weight.data *= 3
    return network


def inputs(channels, steps=40, share=0.3):
    draw = torch.Generator().manual_seed(1)
    return Dense((torch.rand(steps, 6, channels, generator=draw) < share).float())


def again(original, folder, **more):
    """The network that is read of what is written; the file says the grid."""
    graph = to_graph(original, inexact=True, **more)
    first, last = next(iter(original.layers.values())), original.layers["readout"].neuron
    channels = int(np.prod(first.synapse.input_shape))
    read = network(graph, folder, channels, last.size, None, None, last.dt, kernel="auto")
    return read.eval(), channels


EXACT = [
    ("model=lif",),
    ("model=lif", "model.neuron.recurrent=true", "model.hidden_sizes=[9,11]"),
    ("model=lif", "model.neuron.reset=zero", "model/readout=lif", "model/delays=learnt"),
    ("model=lif", "model.neuron.spike_from=before", "model.neuron.reset=subtract_scaled"),
    ("model=lif", "model.neuron.reset_delay=true", "model.neuron.strict=false"),
    ("model=lif", "model/readout=biased_li"),
    ("model=lif_deep", "model.depth=2", "model.width=8"),
    ("model=rlif", "model.hidden_sizes=[9,11]"),
    ("model=iaf", "model.neuron.multiple=true", "model/readout=iaf"),
    ("model=cuba_lif",),
    ("model=cuba_lif", "model.neuron.method=euler", "model.neuron.tau_ref=3e-3"),
    (
        "model=cuba_rlif",
        "model/readout=cuba_lif",
        "model.neuron.leak=0.1",
        "model.neuron.reset=-0.2",
    ),
]


@pytest.mark.parametrize("words", EXACT, ids=" ".join)
def test_what_comes_back_is_the_same_to_the_bit(words, tmp_path):
    original = made(*words)
    read, channels = again(original, tmp_path)
    assert [*read.layers] == [*original.layers]
    same(original(inputs(channels))[0], read(inputs(channels))[0])


def same(activity, other):
    spiking = [one for one in activity.layers.values() if one.counts is not None]
    assert all(one.counts.sum() > 0 for one in spiking)
    for name, one in activity.layers.items():
        if one.counts is not None:
            assert torch.equal(one.counts, other.layers[name].counts)
        if one.membrane is not None:
            assert torch.equal(one.membrane, other.layers[name].membrane)


@pytest.mark.parametrize(("dt", "method"), [(1e-4, "euler"), (1.0, "exponential")])
def test_another_grid_of_the_file_changes_its_numbers_not_the_network(dt, method, tmp_path):
    original = made("model=cuba_lif")
    read, channels = again(original, tmp_path, dt=dt, method=method)
    same(original(inputs(channels))[0], read(inputs(channels))[0])
    step, keep = 1e-3, np.exp(-1e-3 / 14e-3)
    tau = dt / (1 - keep) if method == "euler" else 14e-3 / step * dt
    node = nir.read(tmp_path / "net.nir").nodes["hidden1"]
    np.testing.assert_allclose(node.tau_mem, tau, rtol=1e-12)


@pytest.mark.parametrize("model", ["conv_lif", "conv_iaf"])
def test_images_come_back_too(model, tmp_path):
    original = build(compose([f"model={model}", "dataset=ones"]))[1].network.eval()
    for layer in original.layers.values():
        layer.weight.data *= 3
    read, channels = again(original, tmp_path)
    same(original(inputs(channels, steps=6))[0], read(inputs(channels, steps=6))[0])
    assert [*read.layers] == [*original.layers]


def test_normalization_goes_into_the_weights(tmp_path):
    original = made("model=lif", "model/norm=batch", "model.neuron.recurrent=true")
    draw = torch.Generator().manual_seed(2)
    for layer in original.layers.values():
        for name in ("weight", "bias", "mean", "variance"):
            values = getattr(layer.norm, name)
            values.data = torch.rand(values.shape, generator=draw) + 0.1
    read, channels = again(original, tmp_path)
    assert isinstance(nir.read(tmp_path / "net.nir").nodes["hidden1_weights"], nir.Affine)
    own, found = (one(inputs(channels))[0].layers["readout"] for one in (original, read))
    torch.testing.assert_close(own.membrane, found.membrane, rtol=1e-4, atol=1e-4)


def test_what_is_read_is_written_as_it_was(tmp_path):
    """Numbers by neuron are float32 by then."""
    first = to_graph(made("model=rlif", "model.hidden_sizes=[9,11]"), inexact=True)
    read = network(first, tmp_path, 5, 3, None, None)
    second = to_graph(read, inexact=True)
    assert set(first.nodes) == set(second.nodes) and set(first.edges) == set(second.edges)
    for name, node in first.nodes.items():
        for field, value in node.to_dict().items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                np.testing.assert_allclose(getattr(second.nodes[name], field), value, rtol=1e-5)


def test_the_nodes_are_those_of_the_equations():
    """beta 0.93 in steps of 1 ms: tau = -1 ms / ln 0.93; currents count whole, so r = 1 / 0.07."""
    graph = to_graph(made("model=lif", "model.neuron.reset=zero"))
    hidden, readout = graph.nodes["hidden1"], graph.nodes["readout"]
    assert isinstance(hidden, nir.LIF) and isinstance(readout, nir.LI)
    np.testing.assert_allclose(hidden.tau, np.full(20, -1e-3 / np.log(0.93)))
    np.testing.assert_allclose(hidden.r, np.full(20, 1 / 0.07))
    np.testing.assert_allclose(hidden.v_threshold, np.ones(20))
    assert not hidden.v_reset.any() and not hidden.v_leak.any()
    chip = to_graph(made("model=cuba_lif", "model.neuron.method=euler"), inexact=True)
    assert chip.metadata["method"] == "euler"
    np.testing.assert_allclose(chip.nodes["hidden1"].tau_mem, np.full(20, 14e-3))
    np.testing.assert_allclose(chip.nodes["hidden1"].tau_syn, np.full(20, 1e-3))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model=lif",), "hidden1: NIR does not say a reset that subtracts"),
        (("model.neuron.reset=zero", "model.neuron.spike_from=before"), "spikes that leave a step"),
        (("model=iaf", "model.neuron.multiple=true"), "and several spikes in a step.*inexact=true"),
        (("model=cuba_lif", "model.neuron.tau_ref=2e-3"), "a refractory time"),
        (
            ("model=cuba_lif", "model.readout.method=euler"),
            "readout: .*that is felt a step late.* train with model.readout.method=exponential$",
        ),
        (
            ("model=cuba_lif", "model.neuron.method=euler", "model.neuron.tau_ref=2e-3"),
            "train with model.neuron.method=exponential model.neuron.tau_ref=0.0$",
        ),
        (("model=adlif",), "hidden1: AdLIF, which adapts or swings, is no node of NIR"),
        (("model=rf",), "hidden1: RF, which adapts or swings, is no node of NIR"),
        (("model=cuba_iaf",), "CubaIAF, which integrates a synaptic current without a leak"),
        (("model=cuba_lif", "+model/synapse=tapped"), "TappedLinear is no node of NIR"),
    ],
    ids=str,
)
def test_what_nir_has_no_word_for_is_refused_by_layer(words, message):
    with pytest.raises(ValueError, match=message):
        to_graph(made(*words))


def test_a_network_that_diverged_is_not_written():
    original = made("model=cuba_lif")
    original.layers["readout"].weight.data[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"readout: synapse.weight has values that are not finite"):
        to_graph(original)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model.neuron.reset=none",), "LIF, which does not reset"),
        (("+model/synapse=delayed",), "DelayedLinear is no node of NIR"),
        (("model=rlif_haiku",), "hidden1: RLIF, which does not reset"),
    ],
    ids=str,
)
def test_inexact_is_no_way_round_what_has_no_node(words, message):
    with pytest.raises(ValueError, match=message):
        to_graph(made(*words), inexact=True)


def test_a_file_of_ours_says_for_which_steps_it_is(tmp_path):
    original = made("model=cuba_lif")
    graph = to_graph(original, inexact=True)
    with pytest.raises(ValueError, match=r"file_dt: null, but time.dt is 0.002 s .* of 0.001 s"):
        network(graph, tmp_path, 5, 3, None, None, dt=2e-3)
    slower = network(graph, tmp_path, 5, 3, 2e-3, None, dt=2e-3).layers["hidden1"].neuron
    assert slower.constants.keep_mem == pytest.approx(np.exp(-2 / 14))


def test_the_option_is_complete(tmp_path):
    """Every key of conf/model/nir.yaml is a parameter, and a run's backend takes the network."""
    original = made("model=cuba_lif")
    nir.write(tmp_path / "net.nir", to_graph(original))
    words = ["model=nir", f"model.file={tmp_path / 'net.nir'}", "backend=bss2_mock", SMALL[1]]
    cfg = compose([*words, "time.dt=1e-3"])
    read = instantiate(
        cfg.model, num_inputs=5, num_outputs=3, dt=cfg.time.dt, backend=instantiate(cfg.backend)
    )
    assert read.layers["hidden1"].neuron.circuit.tau_mem == pytest.approx(14e-3)
