"""Firing rates of activity that is made by hand."""

from functools import partial

import pytest
import torch

from snnexp.activity import Activity, LayerActivity
from snnexp.inputs import Dense
from snnexp.metrics import ActivityMetrics
from snnexp.models import BiasedLI, FixedDelay, SuperSpike
from tests.models.made import cuba_li, iaf, li, lif, network

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


EXAMPLE_OF_ONE = dense(3, 1, 3, (0, 0, 0))


def made_activity(steps=4, dtype=torch.float32):
    """Two samples: neuron 0 silent, 1 spikes in half of the steps, 2 in one, 3 in all but one."""
    spikes = torch.zeros(steps, 2, 4, dtype=dtype)
    spikes[:, 0, 1] = 1
    spikes[0, 1, 2] = 1
    spikes[:, :, 3] = 1
    spikes[0, 0, 3] = 0
    margin = torch.full((steps, 2, 4), 1.0)
    margin[1:] = -1.0  # far below the threshold is outside too
    margin[0, 0] = torch.tensor([0.0, SURROGATE.half_width, -SURROGATE.half_width, 0.03])
    layers = {
        "hidden1": LayerActivity(Dense(spikes), None, margin),
        "readout": LayerActivity(membrane=torch.zeros(steps, 2, 2)),
    }
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
        "silent_output_fraction": 0,
        "activation_sparsity": 1 - spikes / 32,
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    rates = metrics.neuron_rates()["hidden1"]
    torch.testing.assert_close(rates, torch.tensor([0, 4, 1, 7]) / 8e-3)


def test_several_spikes_of_a_step_are_one_place_that_is_not_sparse():
    """5 spikes in 2 of 3 steps of 4 neurons: 10 of 12 places stay without one."""
    net = network((3, 4, 2), partial(iaf, multiple=True))
    spikes = torch.zeros(3, 1, 4)
    spikes[0, 0, 1], spikes[2, 0, 3] = 3, 2
    layers = {"hidden1": LayerActivity(Dense(spikes)), "readout": LayerActivity()}
    values = measure(net, Activity(EXAMPLE_OF_ONE, layers))
    assert values["spikes_per_sample"] == 5
    assert values["activation_sparsity"] == pytest.approx(10 / 12)


def test_batches_of_unequal_size_add_up_to_means_over_samples():
    net = network((3, 5, 2), LIF)
    small = dense(4, 1, 3, *[(0, 0, channel) for channel in range(3)])
    values = measure(net, driven(net, EXAMPLE), driven(net, small))
    assert values["input_spikes_per_sample"] == pytest.approx(7 / 3)


def test_counts_of_half_precision_spikes_are_whole():
    """bfloat16 has no 601; a GPU run in mixed precision sums such spikes."""
    found = measure(network((3, 4, 2), LIF), made_activity(601, torch.bfloat16))
    assert found["spikes_per_sample"] == (601 + 1 + 1201) / 2


@pytest.mark.parametrize("leak", [0.0, 0.3])
@pytest.mark.parametrize("method", ["exponential", "euler"])
def test_outputs_that_do_not_spike_or_that_nothing_reaches_are_silent(leak, method):
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


def test_a_bias_says_nothing_of_a_sample():
    """It moves the membrane of a readout that nothing reached."""
    net = network((3, 4, 2), LIF, partial(BiasedLI, dt=DT, tau_mem=14e-3))
    net.layers["readout"].neuron.bias.data.fill_(0.5)
    net.weights()["hidden1"].data.fill_(2.0)
    activity = driven(net, dense(40, 2, 3, (0, 0, 0), (0, 0, 1), (0, 0, 2)))
    assert activity.readout.membrane[-1].min() > 0.1
    assert measure(net, activity)["silent_output_fraction"] == 0.5


def test_an_integrator_behind_silent_neurons_is_silent_whatever_the_input():
    net = network((3, 4, 2), LIF)
    for weight in net.weights().values():
        weight.data.fill_(0.0)
    assert measure(net, driven(net, EXAMPLE))["silent_output_fraction"] == 1


def test_what_is_still_under_way_at_the_end_says_nothing():
    """hidden1 spikes at once in sample 0 alone; 6 steps later a run of 4 is over, one of 8 not."""
    delays = partial(FixedDelay, low=6 * DT, high=6 * DT, inputs=False)
    for steps, silent in ((4, 1.0), (8, 0.5)):
        net = network((3, 4, 2), LIF)
        net.weights()["hidden1"].data.fill_(2.0)
        net._delay(delays, DT)
        activity = driven(net, dense(steps, 2, 3, (0, 0, 0)))
        assert activity.layers["hidden1"].spikes[0, 0].all()
        assert measure(net, activity)["silent_output_fraction"] == silent
