"""A whole network: hxtorch's backward rule written out by hand, state, and refusals."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from snnexp import models
from snnexp.decoders import MaxOverTime
from snnexp.inputs import Dense, Events
from snnexp.models import BatchNorm, DeepNetwork, Normal, SuperSpike
from tests.models.made import cuba_li, cuba_lif, iaf, ideal, li, lif, network

ALPHA = 50.0
A, B = 2e-6 / 6e-6, 2e-6 / 5e-6
EULER = {"method": "euler", "tau_syn": 5e-6}


def spikes(steps, batch, channels, share):
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(steps, batch, channels, generator=generator) < share).double()


def gradients_by_hand(x, w_hidden, w_out, labels):
    """Loss and dL/dW in numpy: forward by explicit Euler, backward by hxtorch's adjoint rule."""

    def integrate(current, fire):
        v = i = np.zeros(current.shape[1:])
        z, u, out = [], [], []
        for now in current:
            v = v + A * (i - v)
            i = i * (1 - B) + now
            u.append(v - 1.0)
            z.append((v > 1.0) * 1.0)
            v = v * (1 - z[-1]) if fire else v
            out.append(v)
        return np.stack(out), np.stack(z), np.stack(u)

    _, z, u = integrate(x @ w_hidden.T, fire=True)
    trace, _, _ = integrate(z @ w_out.T, fire=False)
    scores, batch = trace.max(0), np.arange(len(labels))
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    loss = -np.log(shares[batch, labels]).mean()
    shares[batch, labels] -= 1
    highest = trace == scores
    upstream = highest / highest.sum(0) * shares / len(labels)  # amax splits ties evenly

    grad_out, grad_hidden = np.zeros_like(w_out), np.zeros_like(w_hidden)
    l_v = l_i = np.zeros(scores.shape)
    m_v = m_i = np.zeros(z.shape[1:])
    for t in reversed(range(len(x))):
        grad_out += l_i.T @ z[t]
        grad_hidden += m_i.T @ x[t]
        m_v = m_v * (1 - z[t]) + (l_i @ w_out) / (ALPHA * np.abs(u[t]) + 1) ** 2
        m_i, m_v = m_i * (1 - B) + A * m_v, m_v * (1 - A)
        l_v = l_v + upstream[t]
        l_i, l_v = l_i * (1 - B) + A * l_v, l_v * (1 - A)
    return z, loss, grad_hidden, grad_out


def test_gradients_equal_hxtorchs_backward_rule():
    neuron = partial(cuba_lif, **EULER, surrogate=SuperSpike(slope=ALPHA))
    net = network((5, 8, 3), neuron, partial(cuba_li, **EULER)).double()
    x = spikes(40, 6, 5, 0.4)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    activity, _ = net(Dense(x))
    scores = MaxOverTime(scale=1.0, scale_gradient=True)(activity)
    loss = functional.cross_entropy(scores, labels)
    loss.backward()
    hidden, readout = net.weights().values()
    z, expected, *gradients = gradients_by_hand(
        x.numpy(), hidden.detach().numpy(), readout.detach().numpy(), labels.numpy()
    )
    assert 50 < z.sum() < 1000
    np.testing.assert_array_equal(activity.layers["hidden1"].spikes.detach().numpy(), z)
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    for weight, gradient in zip((hidden, readout), gradients, strict=True):
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(weight.grad.numpy(), gradient, rtol=0, atol=1e-10)


RECURRENT = partial(lif, recurrent=True)


@pytest.mark.parametrize(
    ("neuron", "readout"),
    [
        (RECURRENT, li),
        (partial(RECURRENT, spike_from="before"), partial(lif, spike_from="before")),
        (partial(cuba_lif, recurrent=True, tau_ref=5e-6), partial(cuba_lif, recurrent=True)),
    ],
    ids=["lif", "lif before", "cuba_lif"],
)
def test_two_segments_of_a_recurrent_network_equal_one_run(neuron, readout):
    net, x = network((5, 7, 6, 3), neuron, readout).double(), spikes(30, 4, 5, 0.5)
    record = {"record_membrane": True, "record_margin": True}
    whole, last = net(Dense(x), **record)
    first, state = net(Dense(x[:11]), **record)
    second, end = net(Dense(x[11:]), state, **record)
    for name, layer in whole.layers.items():
        for what in ("spikes", "membrane", "margin"):
            recorded = getattr(layer, what)
            parts = [getattr(part.layers[name], what) for part in (first, second)]
            if recorded is not None:
                torch.testing.assert_close(torch.cat(parts), recorded, rtol=0, atol=1e-12)
        for a, b in zip(last[name], end[name], strict=True):
            torch.testing.assert_close(b, a, rtol=0, atol=1e-12)
    assert all(layer.spikes.sum() > 10 for layer in whole.hidden.values())


@pytest.mark.parametrize("kernel", ["reference", "torch", "numba"])
def test_counts_of_several_spikes_a_step_are_carried_on_from_the_scan(kernel):
    net = network((5, 7, 3), partial(iaf, multiple=True), kernel=kernel)
    activity, _ = net(Dense(spikes(30, 4, 5, 0.5).float()))
    train = activity.layers["hidden1"].train
    assert train.spikes.max() > 1 and train.counts is train.counted
    assert torch.equal(train.counts, train.spikes.sum(0))
    ways = (train.counts, train.spikes.sum(0))
    weight = net.weights()["hidden1"]
    carried, summed = (
        torch.autograd.grad(counts.square().sum(), weight, retain_graph=True)[0] for counts in ways
    )
    torch.testing.assert_close(carried, summed)
    assert train.to("meta").counts.device.type == "meta"


@pytest.mark.parametrize("kernel", ["reference", "torch", "numba"])
@pytest.mark.parametrize("every", [1, 7, 29, 30, 100])
@pytest.mark.parametrize("neuron", [RECURRENT, partial(cuba_lif, recurrent=True)])
def test_checkpoints_change_neither_values_nor_gradients(neuron, every, kernel):
    net, x = network((5, 7, 6, 3), neuron).double(), spikes(30, 4, 5, 0.5)
    net.backend.kernel = kernel
    events = Events(*x.nonzero(as_tuple=True), *x.shape)
    outcomes = []
    for net.backend.checkpoint_every, inputs in (
        (None, Dense(x)),
        (every, Dense(x)),
        (every, events),
    ):
        activity, state = net(inputs)
        counts = [layer.counts.square().sum() for layer in activity.hidden.values()]
        loss = activity.readout.membrane.square().sum() + sum(counts)
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        assert activity.layers["hidden1"].spikes.shape == (30, 4, 7)
        outcomes.append([activity.readout.membrane, *counts, *state.values(), *gradients])
    for checkpointed in outcomes[1:]:
        for expected, found in zip(outcomes[0], checkpointed, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_checkpoints_are_told_of_the_device_whose_draws_they_repeat(monkeypatch):
    """Given no tensor, as before the first segment, dropout on a GPU would be drawn anew."""
    net, x = network((5, 7, 3), lif), Dense(spikes(30, 4, 5, 0.5).float())
    net.backend.checkpoint_every = 10
    given = []

    def run(function, *arguments, **_):
        given.append([a for a in tree_leaves(arguments) if isinstance(a, torch.Tensor)])
        return function(*arguments)

    monkeypatch.setattr(models.network, "checkpoint", run)
    net(x)
    assert len(given) == 3 and all(given)


def test_layers_weights_and_records():
    net = network((5, 7, 6, 3), RECURRENT)
    shapes = {name: tuple(weight.shape) for name, weight in net.weights().items()}
    assert shapes == {
        "hidden1": (7, 5),
        "hidden1_recurrent": (7, 7),
        "hidden2": (6, 7),
        "hidden2_recurrent": (6, 6),
        "readout": (3, 6),
    }
    assert all(weight.any() for weight in net.weights().values())
    x = Dense(spikes(9, 2, 5, 0.5).float())
    activity, _ = net(x)
    assert list(activity.layers) == ["hidden1", "hidden2", "readout"]
    assert [layer.membrane is None for layer in activity.layers.values()] == [True, True, False]
    activity, _ = net(x, record_membrane=True, record_margin=True)
    assert activity.layers["hidden2"].membrane.shape == (9, 2, 6)
    assert [layer.margin is None for layer in activity.layers.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("sizes", "neuron", "start"),
    [
        ((5, 3), lif, r"hidden_sizes: \[\]"),
        ((5, 0, 3), lif, "hidden_sizes: 0;"),
        ((5, 4, 3), li, "neuron: LI does not spike"),
    ],
)
def test_refusals_name_the_argument_first(sizes, neuron, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        network(sizes, neuron)


def test_a_deep_network_has_as_many_layers_of_the_width_and_their_own_neurons():
    net = DeepNetwork(
        num_inputs=4,
        num_outputs=2,
        dt=1e-3,
        backend=ideal(),
        depth=3,
        width=5,
        neuron=lif,
        deep_neuron=partial(lif, beta=0.3),
        readout=li,
        init=Normal(mean=0.0, std=1.0, fan_in_scaled=True),
    )
    assert list(net.layers) == ["hidden1", "hidden2", "hidden3", "readout"]
    assert [layer.neuron.size for layer in net.layers.values()] == [5, 5, 5, 2]
    assert [layer.neuron.constants.keep_mem for layer in net.layers.values()] == [
        0.9,
        0.3,
        0.3,
        0.9,
    ]


def test_a_norms_averages_and_its_epsilon_are_those_given():
    """Of 0 and 4: mean 2, variance 4, with n - 1 for the average 8; momentum 0.25, epsilon 5."""
    norm = BatchNorm(size=1, momentum=0.25, epsilon=5.0)
    found = norm(torch.tensor([0.0, 4.0]).view(2, 1, 1)).flatten()
    torch.testing.assert_close(found, torch.tensor([-2 / 3, 2 / 3]))
    assert (norm.mean.item(), norm.variance.item()) == pytest.approx((0.5, 0.75 + 0.25 * 8))
    single = norm(torch.ones(1, 1, 1)).item()  # has no variance: by the averages
    assert single == pytest.approx((1 - 0.5) / (2.75 + 5) ** 0.5)
