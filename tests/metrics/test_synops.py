"""Synaptic operations: published examples, and counts by nested loops over every connection."""

import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch

from snnexp import synops
from snnexp.inputs import Dense, Events, Static
from snnexp.metrics import SynapticOperations, size_of
from snnexp.models import (
    AvgPool2d,
    BatchNorm,
    Chain,
    Conv2d,
    Flatten,
    Linear,
    SumPool2d,
    SuperSpike,
)
from tests.models.made import conv, conv_network, iaf, li, lif, network
from tests.models.test_adaptive import adlif

LIF = partial(lif, reset="zero", surrogate=SuperSpike(slope=20.0))


def measure(net, *activities, by_content=False):
    metrics = SynapticOperations(net, by_content)
    for activity in activities:
        metrics.update(activity)
    return metrics.compute()


def driven(net, inputs):
    with torch.no_grad():
        return net(inputs)[0]


def spikes_at(steps, batch, channels, *places):
    """Dense input with spikes at (step, sample, channel)."""
    grid = torch.zeros(steps, batch, channels)
    for place in places:
        grid[place] += 1
    return Dense(grid)


EXAMPLE = spikes_at(4, 2, 3, (0, 0, 0), (1, 0, 0), (3, 0, 2), (2, 1, 1))
"""Two samples with 4 spikes in all."""


def test_linear_3_to_5():
    """Each of 4 spikes reaches 5 neurons: 20 operations of 2 samples in 4 steps."""
    net = network((3, 5, 2), LIF)
    values = measure(net, driven(net, EXAMPLE))
    assert values["synops_ac/hidden1"] == values["synops_fanout/hidden1"] == 10
    assert values["synops_ac_per_step/hidden1"] == values["synops_fanout_per_step/hidden1"] == 2.5
    assert values["synops_dense/hidden1"] == 60
    assert values["synops_ac_per_step"] == 2.5 + values["synops_ac_per_step/readout"]
    assert values["synops_mac_per_sample"] == 0


def test_a_zero_weight_is_no_effective_operation_but_still_a_connection():
    """Its input spikes twice: 18 of 20 operations are left."""
    net = network((3, 5, 2), LIF)
    with torch.no_grad():
        net.weights()["hidden1"][0, 0] = 0
    values = measure(net, driven(net, EXAMPLE))
    assert values["synops_ac/hidden1"] == 9
    assert values["synops_fanout/hidden1"] == 10
    assert values["synops_dense/hidden1"] == 60


def test_linear_20_to_5_all_ones():
    net = network((20, 5, 2), LIF)
    values = measure(net, driven(net, Dense(torch.ones(10, 5, 20))))
    assert values["synops_ac/hidden1"] == values["synops_dense/hidden1"] == 1000


def test_a_strided_padded_convolution():
    """1 to 2 channels, 3 x 3, stride 2, padding 1, on 5 x 5 pixels: the fan-out by hand."""
    net = conv_network((1, 5, 5), {"conv1": {"conv": conv(2, 3, stride=2, padding=1)}}, LIF)
    edge, inner = [2, 4, 2, 4, 2], [4, 8, 4, 8, 4]
    expected = [edge, inner, edge, inner, edge]
    assert net.layers["conv1"].synapse.fanout.view(5, 5).tolist() == expected
    values = measure(net, driven(net, Dense(torch.ones(1, 1, 25))))
    for kind in ("ac", "fanout", "dense"):
        assert values[f"synops_{kind}/conv1"] == 98
    for pixel, count in ((0, 2), (6, 8), (12, 2)):
        values = measure(net, driven(net, spikes_at(1, 1, 25, (0, 0, pixel))))
        assert values["synops_ac/conv1"] == values["synops_fanout/conv1"] == count


def test_average_pooling_counts_as_the_sum_for_sinabs_and_as_values_for_neurobench():
    """3 spikes of 2 samples in windows of their own, to 3 neurons."""
    parts = {"pool": partial(AvgPool2d, kernel_size=2, stride=2), "flatten": Flatten}
    net = conv_network((1, 4, 4), {"out": parts | {"linear": partial(Linear, num_outputs=3)}}, LIF)
    inputs = spikes_at(1, 2, 16, (0, 0, 0), (0, 0, 10), (0, 1, 3))
    for by_content in (False, True):
        values = measure(net, driven(net, inputs), by_content=by_content)
        assert values["synops_fanout_per_step/out"] == 4.5
        assert (values["synops_ac/out"], values["synops_mac/out"]) == (0, 4.5)


@pytest.mark.parametrize(
    ("values", "kind", "count"),
    [
        ([0, 1.3, -1], "mac", 4),  # each column has two weights
        ([0, 1, -1], "ac", 4),
        ([0, 2, 0], "mac", 2),
        ([0, 0, 0], "ac", 0),
    ],
)
def test_neurobenchs_example(values, kind, count):
    net = network((3, 3, 2), LIF)
    weight = [[1.3, 0, -3.2], [0, 1.2, -5.1], [-1.1, 2.7, 0]]
    with torch.no_grad():
        net.weights()["hidden1"].copy_(torch.tensor(weight))
    row = torch.tensor([values]).float()
    for inputs in (Dense(row[None]), Static(row, 1)):
        found = measure(net, driven(net, inputs), by_content=True)
        other = "mac" if kind == "ac" else "ac"
        assert (found[f"synops_{kind}/hidden1"], found[f"synops_{other}/hidden1"]) == (count, 0)
        assert found["synops_dense/hidden1"] == 9


def test_by_content_one_value_of_the_batch_decides_for_its_step_alone():
    """Step 0 has a 2 in one of two samples, step 1 has not."""
    net = network((3, 5, 2), LIF)
    inputs = spikes_at(2, 2, 3, (0, 0, 0), (0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 2))
    found = measure(net, driven(net, inputs), by_content=True)
    assert (found["synops_mac/hidden1"], found["synops_ac/hidden1"]) == (5, 5)
    assert found["synops_fanout/hidden1"] == 5 * 5 / 2
    step, sample, channel = inputs.spikes.nonzero().unbind(1)
    twice = Events(*(torch.cat([part[:1], part]) for part in (step, sample, channel)), 2, 2, 3)
    assert measure(net, driven(net, twice), by_content=True) == found
    declared = measure(net, driven(net, inputs))
    assert (declared["synops_mac/hidden1"], declared["synops_ac/hidden1"]) == (0, 10)


def test_the_first_layer_of_sinabs_tutorial():
    """1 to 16 channels, 5 x 5, on 28 x 28 pixels of ones: 24 x 24 x 25 x 16 a step."""
    net = conv_network((1, 28, 28), {"conv1": {"conv": conv(16, 5)}}, LIF)
    values = measure(net, driven(net, Static(torch.ones(2, 784), 10)))
    assert values["synops_fanout_per_step/conv1"] == 230_400
    assert values["synops_fanout/conv1"] == values["synops_mac/conv1"] == 2_304_000


def test_the_unit_tests_of_sinabs():
    net = conv_network((1, 3, 3), {"conv1": {"conv": conv(5, 2)}}, LIF)
    eye = torch.eye(3).expand(1, 2, 3, 3).flatten(2)
    assert measure(net, driven(net, Dense(eye)))["synops_fanout/conv1"] == 30
    net = network((3, 5, 2), LIF)
    counts = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 0.0, 5.0]]])
    assert measure(net, driven(net, Dense(counts)))["synops_fanout/hidden1"] == 20


def test_a_static_input_counts_at_each_step():
    """3 and 1 values that are not zero, 5 neurons, 7 steps; the values add up to 1.5 and 0.3."""
    net = network((3, 5, 2), LIF)
    inputs = Static(torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.3, 0.0]]), 7)
    values = measure(net, driven(net, inputs))
    assert values["synops_mac/hidden1"] == values["synops_mac_per_sample"] == 70
    assert values["synops_fanout/hidden1"] == pytest.approx(1.8 * 7 * 5 / 2)


def test_batches_of_unequal_size_add_up_to_means_over_samples():
    net = network((3, 5, 2), LIF)
    small = spikes_at(4, 1, 3, *[(0, 0, channel) for channel in range(3)])
    metrics = SynapticOperations(net)
    for inputs in (EXAMPLE, small):
        metrics.update(driven(net, inputs))
    assert metrics.compute()["synops_ac/hidden1"] == pytest.approx((20 + 15) / 3)
    assert metrics.num_steps == 4, "of a sample, whose time and updates cost energy"


def test_counts_of_half_precision_spikes_are_whole():
    """bfloat16 has no 601."""
    net = network((3, 5, 2), LIF)
    ones = torch.ones(601, 1, 3)
    activity = driven(net, Dense(ones))
    half = replace(activity, inputs=Dense(ones.bfloat16()))
    for kind in ("ac", "fanout"):
        for by_content in (False, True):
            values = measure(net, half, by_content=by_content)
            assert values[f"synops_{kind}/hidden1"] == 601 * 3 * 5


def test_size_of_a_network():
    """784-128-10 without biases takes 4 bytes for each of its weights, of which 2 are 0."""
    net = network((784, 128, 10), LIF)
    for weight in net.weights().values():
        weight.data[0, 0] = 0
    size = size_of(net)
    assert size["footprint_bytes"] == 4 * (784 * 128 + 128 * 10)
    assert size["connection_sparsity"] == 2 / (784 * 128 + 128 * 10)
    assert (size["neurons"], size["neurons/hidden1"], size["neurons/readout"]) == (138, 128, 10)


def test_the_footprint_counts_buffers_and_what_a_number_takes():
    """30 + 10 weights in doubles; a norm of 5 and of 2 neurons has 4 numbers of each."""
    net = network((6, 5, 2), LIF).double()
    assert size_of(net)["footprint_bytes"] == 8 * (30 + 10)
    for layer in net.layers.values():
        layer.norm = BatchNorm(size=layer.neuron.size, momentum=0.1, epsilon=1e-5)
    assert size_of(net)["footprint_bytes"] == 8 * 40 + 4 * 4 * (5 + 2)


def test_recurrent_connections_count_for_sparsity_with_those_to_oneself():
    net = network((3, 4, 2), partial(LIF, recurrent=True))
    net.weights()["hidden1_recurrent"].data[:, 0] = 0
    assert size_of(net)["connection_sparsity"] == 4 / (3 * 4 + 4 * 4 + 4 * 2)


# Brute force


def loops(weight, values, connected):
    """Of values [step, sample, input]: effective, possible and weighted operations, one by one.

    connected: (neuron, input, index of the weight) of every connection.
    """
    effective = possible = weighted = 0
    for step in values.tolist():
        for sample in step:
            for _, source, place in connected:
                possible += 1
                effective += sample[source] != 0 and weight[place].item() != 0
                weighted += sample[source]
    return effective, possible, weighted


def dense_connections(weight):
    for neuron, source in itertools.product(*map(range, weight.shape)):
        yield neuron, source, (neuron, source)


def conv_connections(part):
    """Every tap of the kernel that lies on the image, for every neuron."""
    (_, height, width), (channels, rows, columns) = part.input_shape, part.output_shape
    per_group, size = part.weight.shape[1:3]
    behind = channels // part.groups
    for out, y, x in itertools.product(range(channels), range(rows), range(columns)):
        for c, ky, kx in itertools.product(range(per_group), range(size), range(size)):
            row = y * part.stride - part.padding + ky * part.dilation
            column = x * part.stride - part.padding + kx * part.dilation
            if 0 <= row < height and 0 <= column < width:
                source = ((out // behind * per_group + c) * height + row) * width + column
                yield (out, y, x), source, (out, c, ky, kx)


def pooled(part, values):
    """Sums over windows, one by one; [step, sample, input] to [step, sample, output]."""
    channels, height, width = part.input_shape
    _, rows, columns = part.output_shape
    images = values.view(*values.shape[:2], channels, height, width)
    out = torch.zeros(*values.shape[:2], channels, rows, columns)
    for y, x in itertools.product(range(rows), range(columns)):
        for dy, dx in itertools.product(range(part.kernel_size), repeat=2):
            out[..., y, x] += images[..., y * part.stride + dy, x * part.stride + dx]
    return out.flatten(2)


def counted(synapse, values):
    """`loops` of a synapse, behind what it pools; sums stand for averages."""
    chain = isinstance(synapse, Chain)
    for part in synapse.before if chain else []:
        values = values if isinstance(part, Flatten) else pooled(part, values)
    core = synapse.core
    is_conv = isinstance(core, Conv2d)
    connected = list(conv_connections(core) if is_conv else dense_connections(core.weight))
    return loops(core.weight, values, connected)


def prune(net):
    for weight in net.weights().values():
        weight.data[torch.rand(weight.shape) < 0.3] = 0


def assert_counts_agree(net, inputs, samples):
    """Of every layer with brute force; effective operations of both kinds together."""
    activity = driven(net, inputs)
    values = measure(net, activity)
    by_content = measure(net, activity, by_content=True)
    flow = inputs.dense()
    totals = {"dense": 0.0, "fanout": 0.0}
    for name, layer in net.layers.items():
        found = {name: counted(layer.synapse, flow)}
        flow = activity.layers[name].spikes
        if layer.neuron.recurrent is not None:
            assert flow[-2].any()  # so that it matters which steps feed back
            first = torch.zeros_like(flow[:1])
            carried = flow if layer.neuron.returns_late else torch.cat([first, flow[:-1]])
            matrix = layer.neuron.recurrent
            alone = () if layer.neuron.autapses else range(layer.neuron.size)
            connected = [c for c in dense_connections(matrix) if c[0] != c[1] or c[0] not in alone]
            found[f"{name}_recurrent"] = loops(matrix, carried, connected)
        for key, (effective, possible, weighted) in found.items():
            assert effective > 0
            for counts in (values, by_content):
                both = counts[f"synops_ac/{key}"] + counts[f"synops_mac/{key}"]
                assert round(both * samples, 6) == effective, key
                assert counts[f"synops_dense/{key}"] == possible / samples, key
                assert counts[f"synops_fanout/{key}"] == pytest.approx(weighted / samples)
            totals["dense"] += possible / samples
            totals["fanout"] += weighted / samples
    assert {kind: values[f"synops_{kind}_per_sample"] for kind in totals} == pytest.approx(totals)
    both = values["synops_ac_per_sample"] + values["synops_mac_per_sample"]
    assert values["synops_effective_per_sample"] == both
    differentiable = synops.total(activity, net)
    assert float(differentiable) == pytest.approx(totals["fanout"], rel=1e-5)
    return values


def events(shape=(9, 3, 4), number=60):
    generator = torch.Generator().manual_seed(4)
    return Events(*(torch.randint(0, end, (number,), generator=generator) for end in shape), *shape)


def an_input(kind, shape, number=60):
    steps, batch, channels = shape
    if kind == "static":
        return Static((torch.rand(batch, channels) - 0.2).relu() * 2, steps)
    return events(shape, number) if kind == "events" else Dense(events(shape, number).dense())


@pytest.mark.parametrize("readout", [li, lif], ids=["li", "lif"])
@pytest.mark.parametrize("spike_from", ["after", "before"])
@pytest.mark.parametrize("recurrent", [False, True], ids=["feed-forward", "recurrent"])
@pytest.mark.parametrize("kind", ["events", "dense", "static"])
@pytest.mark.parametrize("kernel", ["reference", "auto"])
def test_dense_layers_equal_nested_loops(kernel, kind, recurrent, spike_from, readout):
    """What recurrent connections carry at step t are the spikes of the membrane at t - 1."""
    hidden = partial(LIF, recurrent=recurrent, spike_from=spike_from)
    net = network((4, 6, 5, 2), hidden, readout, kernel=kernel)
    prune(net)
    values = assert_counts_agree(net, an_input(kind, (9, 3, 4)), 3)
    assert (values["synops_mac/hidden1"] > 0) == (kind == "static")
    assert values["synops_mac/hidden2"] == 0 < values["synops_ac/hidden2"]


def test_neurons_that_do_not_hear_themselves_have_one_connection_less():
    net = network((4, 6, 2), adlif)
    assert_counts_agree(net, an_input("dense", (9, 3, 4)), 3)
    assert net.layers["hidden1"].neuron.recurrent.diagonal().count_nonzero() == 0
    assert size_of(net)["connection_sparsity"] == 0
    net.weights()["hidden1_recurrent"].data[0, 1] = 0
    assert size_of(net)["connection_sparsity"] == 1 / (4 * 6 + 6 * 5 + 6 * 2)


SUM, AVERAGE = partial(SumPool2d, kernel_size=2), partial(AvgPool2d, kernel_size=2)
IMAGE_LAYERS = {
    "plain": {"conv": conv(4, 3)},
    "strided": {"conv": conv(4, 3, stride=2, padding=1)},
    "dilated": {"conv": conv(4, 2, dilation=2, padding=1)},
    "grouped": {"conv": conv(4, 3, groups=2)},
    "all of it": {"conv": conv(6, 2, stride=2, padding=2, dilation=3, groups=2)},
    "summed": {"pool": partial(SUM, stride=2), "conv": conv(4, 2)},
    "averaged": {"pool": partial(AVERAGE, stride=2), "conv": conv(4, 2, padding=1)},
    "thirds": {"pool": partial(AvgPool2d, kernel_size=3, stride=2), "conv": conv(4, 2)},
    "overlapping": {"pool": partial(SUM, stride=1), "conv": conv(4, 3, stride=2)},
    "current": {"conv": conv(4, 2), "pool": partial(AVERAGE, stride=2)},
    "dense": {
        "pool": partial(SUM, stride=2),
        "flat": Flatten,
        "full": partial(Linear, num_outputs=8),
    },
}


@pytest.mark.parametrize("kind", ["events", "static"])
@pytest.mark.parametrize("neuron", [LIF, partial(iaf, multiple=True)], ids=["lif", "multi-spike"])
@pytest.mark.parametrize("parts", IMAGE_LAYERS.values(), ids=IMAGE_LAYERS)
@pytest.mark.parametrize("kernel", ["reference", "auto"])
def test_layers_of_images_equal_nested_loops(kernel, parts, neuron, kind):
    """As the first layer and, behind one that keeps the image's shape, as the second."""
    shape = (2, 7, 6)
    first = {"conv": conv(2, 3, padding=1)}
    for hidden in ({"a": parts}, {"a": first, "b": parts}):
        net = conv_network(shape, hidden, neuron, kernel=kernel)
        prune(net)
        assert_counts_agree(net, an_input(kind, (4, 2, 84), 100), 2)


def test_multi_spikes_feed_back_with_their_number():
    net = network((4, 6, 2), partial(iaf, multiple=True, recurrent=True, threshold=0.3))
    prune(net)
    assert_counts_agree(net, an_input("dense", (6, 3, 4)), 3)
