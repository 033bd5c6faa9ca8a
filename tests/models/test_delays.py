"""Axonal delays: where a spike arrives, what is counted, segments of time, and gradients."""

import math
import re
from functools import partial

import pytest
import torch

from snnexp import synops
from snnexp.inputs import Dense, Events, Static
from snnexp.metrics import SynapticOperations
from snnexp.models import FixedDelay, LearntDelay, Network, Normal
from tests.models.made import conv, conv_network, cuba_lif, ideal, li, lif, network

fixed = partial(FixedDelay, low=0.0, high=5e-3, inputs=True)
learnt = partial(LearntDelay, low=0.0, high=5e-3, longest=8e-3, inputs=True)


def delay_of(steps, kind=LearntDelay):
    """Delays of these steps of 1 ms."""
    more = {} if kind is FixedDelay else {"longest": 8e-3}
    delay = kind(size=len(steps), dt=1e-3, low=0.0, high=8e-3, inputs=True, **more).double()
    seconds = 1e-3 * torch.tensor(steps, dtype=torch.double)
    if kind is FixedDelay:
        delay.seconds.copy_(seconds)
    else:
        delay.share.data.copy_(seconds / 8e-3)
    return delay


def delayed(sizes, delays, neuron=lif):
    """As `network`, with delays."""
    torch.manual_seed(0)
    return Network(
        num_inputs=sizes[0],
        num_outputs=sizes[-1],
        dt=1e-3,
        backend=ideal(),
        hidden_sizes=list(sizes[1:-1]),
        neuron=partial(neuron, dt=1e-3),
        readout=li,
        init=Normal(mean=2.0, std=3.0, fan_in_scaled=True),
        delays=delays,
    )


def spikes(steps=30, batch=4, channels=5, share=0.3):
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(steps, batch, channels, generator=generator) < share).float()


@pytest.mark.parametrize("kind", [FixedDelay, LearntDelay])
def test_each_channel_arrives_after_its_own_delay_rounded_to_steps(kind):
    """Sent at steps 0, 1 and 2; 2.4 steps are 2, 2.6 are 3; what falls off the end is lost."""
    sent = torch.zeros(6, 1, 4)
    sent[[0, 1, 2, 2], 0, [0, 1, 2, 3]] = 1
    arrived, _ = delay_of([0.0, 2.4, 2.6, 4.0], kind)(Dense(sent), None)
    assert arrived.spikes.nonzero()[:, [0, 2]].tolist() == [[0, 0], [3, 1], [5, 2]]


@pytest.mark.parametrize("steps", [2.5, 28.5, 29.5])
def test_the_longest_delay_may_end_within_a_step(steps):
    """In float32 these are a little more than so many steps, and are rounded up."""
    delay = LearntDelay(size=1, dt=1e-4, low=0.0, high=0.0, longest=steps * 1e-4, inputs=True)
    delay.share.data.fill_(1.0)
    sent = torch.zeros(40, 1, 1)
    sent[0] = 1
    arrived, _ = delay(Dense(sent), None)
    assert arrived.spikes.nonzero()[:, 0].tolist() == [math.ceil(steps)]


@pytest.mark.parametrize("delays", [fixed, learnt])
def test_delays_are_drawn_within_their_range_and_leave_the_weights_alone(delays):
    net, without = delayed((200, 100, 3), delays), delayed((200, 100, 3), None)
    for one, other in zip(net.weights().values(), without.weights().values(), strict=True):
        assert torch.equal(one, other)
    assert {name: len(found) for name, found in net.delays().items()} == {
        "hidden1": 200,
        "readout": 100,
    }
    for found in net.delays().values():
        assert 0 <= found.min() < 0.5e-3 and 4.5e-3 < found.max() <= 5e-3
    inside = delayed((5, 6, 3), partial(delays.func, **{**delays.keywords, "inputs": False}))
    assert list(inside.delays()) == ["readout"]


def test_delays_of_no_steps_change_nothing():
    x = spikes()
    none = partial(FixedDelay, low=0.0, high=0.0, inputs=True)
    expected, _ = delayed((5, 7, 3), None)(Dense(x))
    found, _ = delayed((5, 7, 3), none)(Dense(x))
    assert found.layers["hidden1"].spikes.sum() > 10
    assert torch.equal(found.readout.membrane, expected.readout.membrane)


def test_a_common_delay_shifts_the_whole_response():
    """5 steps in each of 2 layers: the readout's trace comes 10 steps later."""
    net = delayed((5, 7, 3), partial(FixedDelay, low=5e-3, high=5e-3, inputs=True))
    x = spikes()
    before = delayed((5, 7, 3), None)(Dense(x))[0].readout.membrane
    after = net(Dense(x))[0].readout.membrane
    assert not after[:10].any() and before.any()
    torch.testing.assert_close(after[10:], before[:-10])


@pytest.mark.parametrize("neuron", [lif, partial(cuba_lif, recurrent=True)])
@pytest.mark.parametrize("every", [1, 4, 11])
def test_segments_of_time_change_neither_values_nor_gradients(every, neuron):
    net, x = delayed((5, 7, 6, 3), learnt, neuron).double(), spikes().double()
    outcomes = []
    for net.backend.checkpoint_every in (None, every):
        for inputs in (Dense(x), Events(*x.nonzero(as_tuple=True), *x.shape)):
            net.zero_grad()
            activity, _ = net(inputs)
            activity.readout.membrane.square().sum().backward()
            gradients = [parameter.grad for parameter in net.parameters()]
            arrived = [layer.arrived.spikes for layer in activity.layers.values()]
            outcomes.append([activity.readout.membrane, *arrived, *gradients])
    assert all(value.any() for value in outcomes[0])
    for outcome in outcomes[1:]:
        for one, other in zip(outcomes[0], outcome, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_run_goes_on_from_its_state():
    net, x = delayed((5, 7, 3), fixed), spikes()
    whole, _ = net(Dense(x))
    first, state = net(Dense(x[:11]))
    second, _ = net(Dense(x[11:]), state)
    joined = torch.cat([first.readout.membrane, second.readout.membrane])
    torch.testing.assert_close(joined, whole.readout.membrane)


def test_operations_count_what_arrives_not_what_is_sent():
    """Of 3 spikes 2 arrive at 7 neurons, each of which answers; 100 steps on nothing arrives."""
    net = delayed((1, 7, 3), partial(FixedDelay, low=2e-3, high=2e-3, inputs=True))
    net.layers["readout"].delay = FixedDelay(size=7, dt=1e-3, low=0.1, high=0.1, inputs=True)
    net.layers["hidden1"].weight.data.fill_(1.1)
    x = torch.zeros(6, 1, 1)
    x[[0, 2, 5]] = 1
    activity, _ = net(Dense(x))
    assert activity.layers["hidden1"].counts.sum() == 14
    assert [n.item() for n in synops.by_layer(activity, net).values()] == [14, 0]
    metric = SynapticOperations(net)
    metric.update(activity)
    values = metric.compute()
    assert values["synops_ac/hidden1"] == values["synops_fanout/hidden1"] == 14
    assert values["synops_ac/readout"] == values["synops_mac_per_sample"] == 0


@pytest.mark.parametrize("steps", [0.0, 1.0, 3.0, 7.0])
def test_the_gradient_is_exact_where_what_is_sent_is_quadratic(steps):
    """z(t) = t^2, delayed by n: d/dn sum_t g(t) (t - n)^2 = -2 sum_t g(t) (t - n).

    At n = 0 the slope is one-sided: that of the chord to the step before, -(2 t - 1).
    """
    delay = delay_of([steps])
    time = torch.arange(-9.0, 12.0, dtype=torch.double)
    parts = (time**2)[:, None, None].split([9, 12])
    arrived, _ = delay(Dense(parts[1]), parts[0])
    g = torch.linspace(-1, 2, 12, dtype=torch.double)
    (arrived.spikes[:, 0, 0] * g).sum().backward()
    t = time[9:]
    slope = -2 * (t - steps) if steps else -(2 * t - 1)
    assert delay.share.grad.item() == pytest.approx(8 * (g * slope).sum().item())


def test_a_trace_falls_with_the_delay_as_its_decay_says():
    """v(T) = w beta^(T - n); the central difference is w beta^(T - n) sinh(ln 1 / beta)."""
    net = delayed((1, 1, 1), learnt).double()
    layer = net.layers["readout"]
    layer.delay.share.data.fill_(3 / 8)
    x = torch.zeros(20, 1, 1, dtype=torch.double)
    x[2] = 1
    delayed_spike, _ = layer.delay(Dense(x), None)
    v = layer(delayed_spike, None, net.backend, True, False)[0].membrane[-1, 0, 0]
    v.backward()
    w, beta = layer.weight.item(), 0.9
    assert v.item() == pytest.approx(w * beta ** (17 - 3))
    expected = w * beta**14 * math.sinh(math.log(1 / beta))
    assert layer.delay.share.grad.item() / 8 == pytest.approx(expected)
    exact = w * beta**14 * math.log(1 / beta)  # of continuous time
    assert expected == pytest.approx(exact, rel=math.log(beta) ** 2 / 5)


def test_gradients_of_what_is_sent_go_back_by_the_delay():
    """Against autograd on an index, in float64."""
    delay, x = delay_of([0.0, 2.0, 8.0]), spikes(12, 2, 3).double().requires_grad_()
    past = spikes(9, 2, 3, 0.6).double().requires_grad_()
    weight = torch.rand(12, 2, 3, dtype=torch.double)
    arrived, rest = delay(Dense(x), past)
    loss = (arrived.spikes * weight).sum() + rest.square().sum()
    found = torch.autograd.grad(loss, [x, past])
    known = torch.cat([past, x])
    columns = [known[9 - n : 21 - n, :, c] for c, n in enumerate((0, 2, 8))]
    again = (torch.stack(columns, 2) * weight).sum() + known[-9:].square().sum()
    for one, other in zip(found, torch.autograd.grad(again, [x, past]), strict=True):
        torch.testing.assert_close(one, other)


def test_a_learnt_delay_stays_within_its_range_and_can_come_back():
    delay = delay_of([4.0, 4.0])
    delay.share.data.copy_(torch.tensor([-0.2, 1.3]))
    assert delay.seconds.tolist() == pytest.approx([0, 8e-3])
    delay.seconds.sum().backward()  # descent shortens both
    assert delay.share.grad.tolist() == pytest.approx([0, 8e-3])
    delay.share.grad = None
    (-delay.seconds).sum().backward()
    assert delay.share.grad.tolist() == pytest.approx([-8e-3, 0])


def test_a_learnt_delay_finds_the_coincidence():
    """Two spikes 4 steps apart: the earlier channel learns to wait until both arrive at once."""
    torch.manual_seed(1)
    delay = delay_of([1.0, 1.0])
    x = torch.zeros(20, 1, 2, dtype=torch.double)
    x[2, 0, 0] = x[6, 0, 1] = 1
    optimizer = torch.optim.Adam(delay.parameters(), lr=5e-3)
    kernel = torch.exp(-torch.arange(-12.0, 13.0, dtype=torch.double).abs() / 4)
    for _ in range(300):
        optimizer.zero_grad()
        arrived = delay(Dense(x), None)[0].spikes[:, 0].T[:, None]
        response = torch.nn.functional.conv1d(arrived, kernel[None, None], padding=12)
        (-(response[0] * response[1]).sum()).backward()
        optimizer.step()
    first, second = (delay.seconds.detach() / 1e-3).round().tolist()
    assert first - second == 4


@pytest.mark.parametrize("kernel", ["torch", "auto"])
def test_kernels_agree_on_delayed_spikes(kernel):
    net, x = delayed((5, 7, 6, 3), learnt), spikes()
    outcomes = []
    for net.backend.kernel in ("reference", kernel):
        net.zero_grad()
        membrane = net(Dense(x))[0].readout.membrane
        membrane.square().sum().backward()
        outcomes.append([membrane, *(parameter.grad for parameter in net.parameters())])
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_images_can_be_delayed():
    net = conv_network((1, 5, 5), {"a": {"conv": conv(2, 3)}})
    later = FixedDelay(size=25, dt=1e-3, low=3e-3, high=3e-3, inputs=True)
    x = spikes(12, 2, 25)
    before = net(Dense(x))[0].readout.membrane
    net.layers["a"].delay = later
    after = net(Dense(x))[0].readout.membrane
    assert before.any()
    torch.testing.assert_close(after[3:], before[:-3])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"low": -1e-3}, "low: -0.001 s; it must lie between 0 and high = 0.005 s"),
        ({"low": 6e-3}, "low: 0.006 s; it must lie between 0 and high = 0.005 s"),
        ({"high": 9e-3}, "high: 0.009 s; it must not be above longest = 0.008 s"),
        ({"longest": 0.0}, "longest: 0.0 s; it must be a finite number above 0"),
    ],
)
def test_what_cannot_be_is_refused(changed, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        learnt(size=3, dt=1e-3, **changed)


def test_static_values_have_no_spikes_to_delay():
    with pytest.raises(ValueError, match=r"^inputs: true, but the network's input are static"):
        delayed((5, 7, 3), fixed)(Static(torch.rand(2, 5), 10))
    partly = delayed((5, 7, 3), partial(FixedDelay, low=0.0, high=5e-3, inputs=False))
    assert partly(Static(torch.rand(2, 5), 10))[0].layers["readout"].arrived is not None


def test_a_network_without_delays_records_no_arrivals():
    activity, state = network((5, 7, 3))(Dense(spikes()))
    assert all(layer.arrived is None for layer in activity.layers.values())
    assert list(state) == list(activity.layers)
