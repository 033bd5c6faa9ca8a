"""Delays of single connections, learnt and tapped: where spikes arrive, gradients, refusals."""

import math
import re
from functools import partial

import pytest
import torch

from snnexp import kernels, synops
from snnexp.inputs import Dense, Events
from snnexp.metrics import SynapticOperations
from snnexp.models import DelayedLinear, Network, Normal, TappedLinear
from tests.models.made import ideal, li, lif

LONGEST = 8e-3
delayed = partial(DelayedLinear, longest=LONGEST, widths=[4e-3, 0.5e-3], narrowing=0.25)
tapped = partial(TappedLinear, taps=4, spacing=2e-3)


def synapse_of(steps):
    """Connections [neuron, channel] with delays of these steps of 1 ms."""
    steps = torch.tensor(steps, dtype=torch.double)
    made = delayed(input_shape=steps.shape[1:], num_outputs=len(steps), dt=1e-3).double()
    made.share.data.copy_(steps * 1e-3 / LONGEST)
    made.weight.data.normal_()
    return made


def network(sizes, neuron=lif, synapse=delayed):
    torch.manual_seed(0)
    return Network(
        num_inputs=sizes[0],
        num_outputs=sizes[-1],
        dt=1e-3,
        backend=ideal(),
        hidden_sizes=list(sizes[1:-1]),
        neuron=neuron,
        readout=li,
        init=Normal(mean=4.0, std=3.0, fan_in_scaled=True),
        synapse=synapse,
    )


def spikes(steps=30, batch=4, channels=5):
    return (torch.rand(steps, batch, channels) < 0.3).float()


@pytest.mark.parametrize("known", [9, 10, 31])
def test_the_convolution_is_the_sum_over_steps(known):
    """An odd and an even circle; 9 steps leave one whose past is whole."""
    z, kernel = torch.randn(known, 2, 3).double(), torch.randn(9, 4, 3).double()
    z.requires_grad_(), kernel.requires_grad_()
    by_hand = torch.stack(
        [
            sum(z[t - k] @ kernel[k].T for k in range(9))  # type: ignore[misc]
            for t in range(8, known)
        ]
    )
    found = kernels.convolve(z, kernel)
    torch.testing.assert_close(found, by_hand)
    weight = torch.randn_like(found)
    grads = [torch.autograd.grad((x * weight).sum(), [z, kernel]) for x in (found, by_hand)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_in_evaluation_a_spike_arrives_at_one_step_of_each_neuron():
    """Sent at step 1: after 0, 2.4 -> 2 and 7.6 -> 8 steps; what falls off the end is lost."""
    synapse = synapse_of([[0.0], [2.4], [7.6]]).eval()
    for length, there in ((12, 3), (9, 2)):
        known = torch.zeros(8 + length, 1, 1, dtype=torch.double)
        known[8 + 1] = 1
        current = synapse(Dense(known), synapse.weight)[:, 0]
        expected = torch.zeros(length, 3, dtype=torch.double)
        for neuron, step in list(enumerate((1, 3, 9)))[:there]:
            expected[step, neuron] = synapse.weight[neuron, 0]
        torch.testing.assert_close(current, expected)


def test_a_delay_that_is_rounded_up_beyond_the_longest_is_not_lost():
    """The longest, 2.5 steps, is a little more in float32; the kernel has the steps 0 to 2."""
    synapse = delayed(input_shape=(1,), num_outputs=1, dt=1e-4, longest=2.5e-4).eval()
    synapse.share.data.fill_(1.0)
    assert synapse.kernel().flatten().tolist() == [0, 0, 1]


def test_in_training_it_arrives_as_a_gaussian_round_its_delay_whose_sum_is_the_weight():
    synapse = synapse_of([[3.3, 0.0]]).train()
    synapse.width = 1.5e-3
    kernel = synapse.kernel()
    assert kernel.shape == (9, 1, 2)
    for channel, delay in enumerate((3.3, 0.0)):
        by_hand = [math.exp(-((k - delay) ** 2) / 2 / 1.5**2) for k in range(9)]
        expected = torch.tensor(by_hand).double() / sum(by_hand)
        torch.testing.assert_close(kernel[:, 0, channel].detach(), expected)


@pytest.mark.parametrize(
    ("done", "width"), [(0.0, 4e-3), (0.125, math.sqrt(2) * 1e-3), (0.25, 0.5e-3), (0.9, 0.5e-3)]
)
def test_the_width_falls_exponentially_and_then_stays(done, width):
    """Half way from 4 to 0.5 ms is their geometric mean."""
    net = network((5, 7, 3))
    net.proceed(done)
    for layer in net.layers.values():
        assert layer.synapse.width == pytest.approx(width)


def test_a_run_narrows_epoch_by_epoch(train):
    result = train("model=dcls_delays", "time.dt=20e-3", "trainer.max_epochs=2")
    synapse = result.classifier.network.layers["hidden1"].synapse
    assert synapse.width == 5e-3  # the second epoch of two has half of the run behind it
    assert synapse.reach == 12


def test_the_gradient_moves_a_delay_towards_the_coincidence():
    """A spike at step 2, another wanted at step 7: the delay learns to be 5 steps."""
    synapse = synapse_of([[1.0]])
    synapse.weight.data.fill_(1.0)
    optimizer = torch.optim.Adam([synapse.share], lr=0.01)
    known = torch.zeros(28, 1, 1, dtype=torch.double)
    known[8 + 2] = 1
    for epoch in range(200):
        synapse.proceed(epoch / 200)
        optimizer.zero_grad()
        (-synapse(Dense(known), synapse.weight)[7].sum()).backward()
        optimizer.step()
    assert round(synapse.seconds.item() / 1e-3) == 5


def test_a_wide_gaussian_has_the_derivative_of_its_formula():
    """d log g(k) / dd = (k - d) / w^2 - mean of the same over g."""
    synapse = synapse_of([[3.3]])
    synapse.width = 2e-3
    g = synapse.kernel()
    (slope,) = torch.autograd.grad(g[5].sum(), synapse.share)
    steps = torch.arange(9.0).double()
    weights = g.detach()[:, 0, 0]
    pull = (steps - 3.3) / 4
    expected = weights[5] * (pull[5] - (weights * pull).sum())
    assert slope.item() / 8 == pytest.approx(expected.item())


@pytest.mark.parametrize("synapse", [delayed, tapped])
@pytest.mark.parametrize("every", [1, 11])
def test_segments_of_time_change_neither_values_nor_gradients(every, synapse):
    net, x = network((5, 7, 6, 3), synapse=synapse).double(), spikes().double()
    outcomes = []
    for net.backend.checkpoint_every in (None, every):
        for inputs in (Dense(x), Events(*x.nonzero(as_tuple=True), *x.shape)):
            net.zero_grad()
            activity, _ = net(inputs)
            activity.readout.membrane.square().sum().backward()
            outcomes.append(
                [activity.readout.membrane, *(parameter.grad for parameter in net.parameters())]
            )
    assert all(value.any() for value in outcomes[0])
    for outcome in outcomes[1:]:
        for one, other in zip(outcomes[0], outcome, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_a_spike_counts_at_each_of_its_connections():
    net = network((5, 7, 3)).eval()
    x = spikes()
    activity, _ = net(Dense(x))
    assert synops.by_layer(activity, net)["hidden1"] == x.sum() * 7 / 4


def test_the_network_names_its_delays():
    found = network((5, 7, 3)).delays()
    assert {name: tuple(seconds.shape) for name, seconds in found.items()} == {
        "hidden1_synapse": (7, 5),
        "readout_synapse": (3, 7),
    }
    assert found["hidden1_synapse"].min() >= 0 and found["hidden1_synapse"].max() <= LONGEST


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"longest": 0.0}, "longest: 0.0 s; it must be a finite number above 0"),
        ({"widths": [1e-3]}, "widths: [0.001] s; give the first and the last"),
        ({"widths": [1e-3, 2e-3]}, "widths: [0.001, 0.002] s; give the first and the last"),
        ({"widths": [1e-3, 0.0]}, "widths[1]: 0.0 s; it must be a finite number above 0"),
        ({"narrowing": 1.5}, "narrowing: 1.5; it must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(changed, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        delayed(input_shape=(3,), num_outputs=2, dt=1e-3, **changed)


def test_a_spike_arrives_at_each_tap_with_its_weight():
    """Sent at step 1, taps two steps apart: it arrives at 1, 3, 5 and 7."""
    synapse = tapped(input_shape=(2,), num_outputs=3, dt=1e-3)
    assert synapse.reach == 6
    synapse.weight.data.normal_()
    known = torch.zeros(6 + 9, 1, 2)
    known[6 + 1, 0, 1] = 1
    current = synapse(Dense(known), synapse.weight)[:, 0]
    expected = torch.zeros(9, 3)
    for tap, step in enumerate((1, 3, 5, 7)):
        expected[step] = synapse.weight[:, 1, tap].detach()
    torch.testing.assert_close(current, expected)


def test_a_spike_counts_at_each_tap():
    net = network((5, 7, 3), synapse=tapped).eval()
    x = spikes()
    activity, _ = net(Dense(x))
    assert synops.by_layer(activity, net)["hidden1"] == x.sum() * 7 * 4 / 4
    layer = net.layers["hidden1"]
    layer.weight.data[0, 0, :3] = 0
    counter = SynapticOperations(net)
    counter.update(activity)
    counts = counter.compute()
    assert counts["synops_ac/hidden1"] == (x.sum() * 28 - x[..., 0].sum() * 3) / 4
    assert counts["synops_dense/hidden1"] == len(x) * 5 * 28


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"taps": 0}, "taps: 0; it must be a whole number of at least 1"),
        ({"spacing": 1.5e-3}, "spacing: 0.0015 s is no whole number of steps of 0.001 s"),
        ({"spacing": 0.0}, "spacing: 0.0 s; it must be a finite number above 0"),
        ({"input_shape": (1, 4, 4)}, "input_shape: (1, 4, 4), but TappedLinear takes channels"),
    ],
)
def test_taps_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        tapped(**{"input_shape": (3,), "num_outputs": 2, "dt": 1e-3} | changed)
