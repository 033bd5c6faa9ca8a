"""Rates and synaptic operations: NeuroBench's worked examples, and a count by nested loops."""

from functools import partial

import pytest
import torch

from snnexp.activity import Activity, LayerActivity
from snnexp.inputs import Dense, Events, Static
from snnexp.metrics import ActivityMetrics
from snnexp.models import SuperSpike
from tests.models.made import cuba_li, li, lif, network

DT = 1e-3
SURROGATE = SuperSpike(slope=20.0)
LIF = partial(lif, reset="zero", surrogate=SURROGATE)


def measure(net, *activities):
    metrics = ActivityMetrics(net, DT)
    for activity in activities:
        metrics.update(activity)
    return metrics.compute()


def dense(steps, batch, channels, *spikes):
    """Dense input with spikes at (step, sample, channel)."""
    grid = torch.zeros(steps, batch, channels)
    for place in spikes:
        grid[place] += 1
    return Dense(grid)


def driven(net, inputs):
    """What the network does under `inputs`, with every record."""
    with torch.no_grad():
        return net(inputs, record_margin=True)[0]


EXAMPLE = dense(4, 2, 3, (0, 0, 0), (1, 0, 0), (3, 0, 2), (2, 1, 1))


def test_linear_3_to_5_costs_10_accumulates_a_sample():
    """Two samples with 4 spikes in all, each to 5 neurons; a zero weight spares two."""
    net = network((3, 5, 2), LIF)
    values = measure(net, driven(net, EXAMPLE))
    assert values["synops_ac/hidden1"] == 10
    assert values["input_spikes_per_sample"] == 2
    assert values["synops_mac_per_sample"] == 0
    with torch.no_grad():
        net.weights()["hidden1"][0, 0] = 0
    assert measure(net, driven(net, EXAMPLE))["synops_ac/hidden1"] == 9


def test_linear_20_to_5_all_ones_costs_1000_accumulates():
    net = network((20, 5, 2), LIF)
    values = measure(net, driven(net, Dense(torch.ones(10, 5, 20))))
    assert values["synops_ac/hidden1"] == 1000


@pytest.mark.parametrize(
    ("values", "spikes", "kind", "count"),
    [
        ([0, 1.3, -1], False, "mac", 4),  # each column has two weights
        ([0, 2, 0], False, "mac", 2),
        ([0, 1, 1], True, "ac", 4),
        ([0, 0, 0], True, "ac", 0),
    ],
)
def test_neurobenchs_example(values, spikes, kind, count):
    net = network((3, 3, 2), LIF)
    weight = [[1.3, 0, -3.2], [0, 1.2, -5.1], [-1.1, 2.7, 0]]
    with torch.no_grad():
        net.weights()["hidden1"].copy_(torch.tensor(weight))
    row = torch.tensor([values]).float()
    found = measure(net, driven(net, Dense(row[None]) if spikes else Static(row, 1)))
    assert found[f"synops_{kind}/hidden1"] == count
    assert f"synops_{'mac' if kind == 'ac' else 'ac'}/hidden1" not in found


def test_a_static_input_multiplies_at_each_step():
    """3 and 1 values that are not zero, 5 neurons, 7 steps: 105 and 35 a sample."""
    net = network((3, 5, 2), LIF)
    inputs = Static(torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.3, 0.0]]), 7)
    values = measure(net, driven(net, inputs))
    assert values["synops_mac/hidden1"] == values["synops_mac_per_sample"] == 70
    assert values["input_spikes_per_sample"] == 0


def made_activity(steps=4, dtype=torch.float32):
    """Two samples: neuron 0 silent, 1 spikes in half of the steps, 2 in one, 3 in all but one."""
    spikes = torch.zeros(steps, 2, 4, dtype=dtype)
    spikes[:, 0, 1] = 1
    spikes[0, 1, 2] = 1
    spikes[:, :, 3] = 1
    spikes[0, 0, 3] = 0
    margin = torch.full((steps, 2, 4), 1.0)
    margin[0, 0] = torch.tensor([0.0, SURROGATE.half_width, -SURROGATE.half_width, 0.03])
    layers = {
        "hidden1": LayerActivity(Dense(spikes), None, margin),
        "readout": LayerActivity(membrane=torch.zeros(steps, 2, 2)),
    }
    layers["readout"].membrane[1, 1] = 0.1
    return Activity(dense(steps, 2, 3, (0, 0, 0), (0, 0, 0), (0, 1, 2)), layers)


def test_rates_and_shares_of_a_hand_made_activity():
    """half_width of SuperSpike with slope 20 is 0.0207, so that 0.03 lies outside."""
    net = network((3, 4, 2), LIF)
    metrics = ActivityMetrics(net, DT)
    metrics.update(made_activity())
    values = metrics.compute()
    spikes = 4 + 1 + 7
    expected = {
        "spikes_per_sample": spikes / 2,
        "spikes_per_neuron/hidden1": spikes / 2 / 4,
        "spikes_per_step/hidden1": spikes / 2 / 4 / 4,
        "rate_hz/hidden1": spikes / 2 / 4 / 4e-3,
        "rate_hz": spikes / 2 / 4 / 4e-3,
        "dead/hidden1": 1 / 4,
        "saturated/hidden1": 2 / 4,
        "in_window/hidden1": 3 / 32,
        "input_spikes_per_sample": 3 / 2,
        "silent_output_fraction": 1 / 2,
        "synops_ac/hidden1": 2 * 4 / 2,  # two spikes in one bin arrive as one
        "synops_ac/readout": spikes * 2 / 2,
        "synops_ac_per_sample": 4 + spikes,
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    rates = metrics.neuron_rates()["hidden1"]
    torch.testing.assert_close(rates, torch.tensor([0, 4, 1, 7]) / 8e-3)


def test_batches_of_unequal_size_add_up_to_means_over_samples():
    net = network((3, 5, 2), LIF)
    small = dense(4, 1, 3, *[(0, 0, channel) for channel in range(3)])
    values = measure(net, driven(net, EXAMPLE), driven(net, small))
    assert values["synops_ac/hidden1"] == pytest.approx((20 + 15) / 3)
    assert values["input_spikes_per_sample"] == pytest.approx(7 / 3)


def test_counts_of_half_precision_spikes_are_whole():
    """bfloat16 has no 601; a GPU run in mixed precision sums such spikes."""
    found = measure(network((3, 4, 2), LIF), made_activity(601, torch.bfloat16))
    assert found["spikes_per_sample"] == (601 + 1 + 1201) / 2


@pytest.mark.parametrize("leak", [0.0, 0.3])
@pytest.mark.parametrize("method", ["exponential", "euler"])
def test_outputs_without_a_spike_or_a_moving_membrane_are_silent(leak, method):
    taus = {"tau_mem": 14e-3, "tau_syn": 1.4e-3}
    integrator = partial(cuba_li, **taus, leak=leak, normalized=False, method=method)
    for readout in (li, lif, integrator):
        net = network((3, 4, 2), LIF, readout)
        net.weights()["readout"].data.fill_(2.0)
        silent = measure(net, driven(net, dense(40, 2, 3)))
        assert silent["silent_output_fraction"] == 1
        assert silent["spikes_per_sample"] == 0
        inputs = dense(40, 2, 3, *[(0, 0, channel) for channel in range(3)])
        activity = driven(net, inputs)
        assert activity.layers["hidden1"].spikes[:, 0].any()
        assert measure(net, activity)["silent_output_fraction"] == 0.5


def operations(weight, spikes):
    """Nested loops: one for each step, sample and pair of a busy channel and a weight not zero."""
    count = 0
    for step in spikes.tolist():
        for sample in step:
            for channel, value in enumerate(sample):
                for row in weight.tolist():
                    count += value != 0 and row[channel] != 0
    return count


def events():
    generator = torch.Generator().manual_seed(4)
    ends = (9, 3, 4)
    return Events(*(torch.randint(0, end, (60,), generator=generator) for end in ends), *ends)


@pytest.mark.parametrize("readout", [li, lif], ids=["li", "lif"])
@pytest.mark.parametrize("spike_from", ["after", "before"])
@pytest.mark.parametrize("recurrent", [False, True], ids=["feed-forward", "recurrent"])
@pytest.mark.parametrize("kind", ["events", "dense", "static"])
def test_synops_equal_a_count_by_nested_loops(kind, recurrent, spike_from, readout):
    """What recurrent connections carry at step t are the spikes of the membrane at t - 1."""
    hidden = partial(LIF, recurrent=recurrent, spike_from=spike_from)
    net = network((4, 6, 5, 2), hidden, readout)
    for weight in net.weights().values():
        weight.data[torch.rand(weight.shape) < 0.3] = 0
    inputs = {
        "events": events(),
        "dense": Dense(events().dense()),
        "static": Static((torch.rand(3, 4) - 0.2).relu() * 2, 9),
    }[kind]
    activity = driven(net, inputs)
    weights, flow = net.weights(), inputs.dense()
    counts = {}
    for name, layer in activity.layers.items():
        counts[name] = operations(weights[name], flow)
        flow = layer.spikes
        if f"{name}_recurrent" in weights:
            assert flow[-2].any()  # so that it matters which steps feed back
            first = torch.zeros_like(flow[:1])
            carried = flow if spike_from == "before" else torch.cat([first, flow[:-1]])
            counts[f"{name}_recurrent"] = operations(weights[f"{name}_recurrent"], carried)
    values = measure(net, activity)
    for name, count in counts.items():
        part = "mac" if kind == "static" and name == "hidden1" else "ac"
        assert count > 0
        assert values[f"synops_{part}/{name}"] == pytest.approx(count / 3), name
    assert values["synops_ac_per_sample"] + values["synops_mac_per_sample"] == pytest.approx(
        sum(counts.values()) / 3
    )
