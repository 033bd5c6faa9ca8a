"""Adaptive neurons against their published loops and closed forms, and what comes with them."""

import math
from functools import partial

import pytest
import torch

from snnexp import kernels
from snnexp.inputs import Dense
from snnexp.kernels import NeuronParameters
from snnexp.models import (
    ALIF,
    RF,
    AdLIF,
    BatchNorm,
    BiasedLI,
    Boxcar,
    Exponential,
    Network,
    Orthogonal,
    RangeLI,
    SEAdLIF,
    Triangle,
)
from tests.models import made

DT = 4e-3
adlif = partial(
    AdLIF,
    dt=DT,
    alpha=[0.82, 0.96],
    beta=[0.967, 0.992],
    a=[-1.0, 1.0],
    b=[0.0, 2.0],
    recurrent=True,
    surrogate=Boxcar(width=0.5, peak=1.0),
)
se_adlif = partial(
    SEAdLIF,
    dt=DT,
    tau_mem=[0.02, 0.1],
    tau_adapt=[0.24, 1.2],
    a=[0.0, 1.0],
    b=[0.0, 2.0],
    scale=120.0,
    recurrent=True,
    surrogate=Exponential(alpha=5.0, scale=0.4),
)
alif = partial(
    ALIF,
    dt=DT,
    tau_mem=[0.01, 0.03],
    tau_adapt=[0.02, 0.3],
    beta=[0.0, 0.5],
    threshold=1.2,
    recurrent=True,
    surrogate=Triangle(width=1.0, peak=0.3),
)
rf = partial(
    RF,
    dt=DT,
    tau_mem=[0.02, 0.1],
    frequency=[5.0, 40.0],
    threshold=0.8,
    recurrent=True,
    surrogate=Boxcar(width=0.5, peak=1.0),
)


def published_adlif(neuron, current, weight):
    """`u` is the membrane, which loses the last step's spike with a gradient."""
    alpha, beta = neuron.alpha.clamp(0.82, 0.96), neuron.beta.clamp(0.967, 0.992)
    a, b = neuron.a.clamp(-1, 1), neuron.b.clamp(0, 2)
    u = w = s = torch.zeros_like(current[0])
    spikes, trace = [], []
    for x in current:
        w = beta * w + a * u + b * s
        feedback = s @ weight.t() if weight is not None else 0
        u = alpha * (u - s) + (1 - alpha) * (x + feedback - w)
        s = neuron.surrogate.spike(u - 1)
        spikes.append(s)
        trace.append(u)
    return torch.stack(spikes), torch.stack(trace)


def published_se_adlif(neuron, current, weight):
    """Symplectic: the adaptation sees the new, already reset membrane."""
    tau_u = 0.02 + 0.08 * neuron.place_mem
    tau_w = 0.24 + 0.96 * neuron.place_adapt
    d_u, d_w = torch.exp(-DT / tau_u), torch.exp(-DT / tau_w)
    u = w = z = torch.zeros_like(current[0])
    spikes, trace = [], []
    for x in current:
        soma = x + neuron.bias + (z @ weight.t() if weight is not None else 0)
        u = d_u * u + (1 - d_u) * (soma - w)
        z = neuron.surrogate.spike(u - 1)
        u = u * (1 - z.detach())
        w = d_w * w + (1 - d_w) * (neuron.a * u + neuron.b * z) * 120.0
        spikes.append(z)
        trace.append(u)
    return torch.stack(spikes), torch.stack(trace)


def published_alif(neuron, current, weight):
    """The threshold moves; the trace is the membrane's distance to it."""
    alpha = torch.exp(-DT / (0.01 + 0.02 * neuron.place_mem))
    rho = torch.exp(-DT / (0.02 + 0.28 * neuron.place_adapt))
    v = a = z = torch.zeros_like(current[0])
    spikes, trace = [], []
    for x in current:
        feedback = z @ weight.t() if weight is not None else 0
        v = alpha * v + x + feedback - 1.2 * z
        a = rho * a + z
        z = neuron.surrogate.spike(v - (1.2 + neuron.beta * a))
        spikes.append(z)
        trace.append(v - neuron.beta * a)
    return torch.stack(spikes), torch.stack(trace)


def published_rf(neuron, current, weight):
    """In complex numbers."""
    tau, frequency = 0.02 + 0.08 * neuron.place_mem, 5 + 35 * neuron.place_frequency
    turn = torch.exp(torch.complex(-DT / tau, 2 * math.pi * frequency * DT))
    z, u = torch.zeros_like(current[0]), torch.zeros_like(current[0]) + 0j
    spikes, trace = [], []
    for x in current:
        feedback = z @ weight.t() if weight is not None else 0
        u = turn * (u - 0.8 * z) + x + feedback
        z = neuron.surrogate.spike(u.real - 0.8)
        spikes.append(z)
        trace.append(u.real)
    return torch.stack(spikes), torch.stack(trace)


@pytest.mark.parametrize("recurrent", [False, True], ids=["feed-forward", "recurrent"])
@pytest.mark.parametrize("kernel", ["reference", "torch", "numba"])
@pytest.mark.parametrize(
    ("neuron", "published"),
    [
        (adlif, published_adlif),
        (se_adlif, published_se_adlif),
        (alif, published_alif),
        (rf, published_rf),
    ],
)
def test_the_update_is_the_published_loop(neuron, published, kernel, recurrent):
    """Its spikes, its membrane, and the gradients of all that learns, beyond the ranges too."""
    torch.manual_seed(0)
    neuron = neuron(size=6, recurrent=recurrent).double()
    with torch.no_grad():
        if not isinstance(neuron, RF):
            (neuron.beta if isinstance(neuron, ALIF) else neuron.a)[0] = 1.5
        if recurrent:
            neuron.recurrent.normal_(0, 2)
        if isinstance(neuron, SEAdLIF):
            neuron.bias.normal_(0, 0.5)
    current = torch.randn(40, 3, 6, dtype=torch.double).add_(1).mul_(6).requires_grad_()
    masked = None
    if recurrent:
        free = 1 - torch.eye(6) if not neuron.autapses else 1
        masked = neuron.recurrent * free
        neuron.recurrent.data.mul_(free)
    of = [current, *neuron.parameters()]
    expected = published(neuron, current, masked)
    weights = [torch.randn_like(part) for part in expected]
    loss = sum((part * weight).sum() for part, weight in zip(expected, weights, strict=True))
    wanted = torch.autograd.grad(loss, of)
    scan = kernels.scan(current, neuron.constants, neuron.recurrent, membrane=True, kernel=kernel)
    found = scan.dense()
    assert torch.equal(found.spikes, expected[0]) and 0.05 < expected[0].mean() < 0.95
    torch.testing.assert_close(found.membrane, expected[1], rtol=1e-10, atol=1e-10)
    loss = (found.spikes * weights[0]).sum() + (found.membrane * weights[1]).sum()
    for one, other in zip(torch.autograd.grad(loss, of), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_constant_current_is_shared_between_membrane_and_adaptation():
    """At rest v = x - q and q = scale a v, so that v = x / (1 + scale a)."""
    torch.manual_seed(0)
    neuron = se_adlif(size=5, recurrent=False, a=[0.05, 0.05]).double()
    membrane = kernels.scan(torch.full((3000, 1, 5), 1.4).double(), neuron.constants, membrane=True)
    torch.testing.assert_close(membrane.membrane[-1, 0], torch.full((5,), 0.2).double())


def test_what_follows_a_spike():
    """From v = 0, q = J: v(k) = -(1 - alpha) J (beta^k - alpha^k) / (beta - alpha)."""
    torch.manual_seed(0)
    neuron = se_adlif(size=1, recurrent=False, a=[0.0, 0.0]).double()
    p = neuron.constants
    alpha, beta, jump = p.keep_mem.item(), p.keep_adapt.item(), p.from_spike.item()
    assert jump == pytest.approx((1 - beta) * 120 * neuron.b.item())
    current = torch.zeros(20, 1, 1, dtype=torch.double)
    current[0] = 1000.0
    scan = kernels.scan(current, p, membrane=True).dense()
    assert scan.spikes.sum() == 1
    k = torch.arange(20, dtype=torch.double)
    expected = -(1 - alpha) * jump * (beta**k - alpha**k) / (beta - alpha)
    torch.testing.assert_close(scan.membrane[:, 0, 0], expected)


def test_a_spike_raises_the_threshold_and_takes_one_from_the_membrane():
    """v(k) = alpha^k 2 - alpha^(k-1), a(k) = rho^(k-1) after a spike at v(0) = 2."""
    times = {"tau_mem": [0.02, 0.02], "tau_adapt": [0.2, 0.2], "beta": [0.5, 0.5]}
    neuron = alif(size=1, recurrent=False, threshold=1.0, **times).double()
    current = torch.zeros(20, 1, 1, dtype=torch.double)
    current[0] = 2.0
    scan = kernels.scan(current, neuron.constants, membrane=True).dense()
    assert scan.spikes.sum() == 1
    k, alpha, rho = torch.arange(1, 20), math.exp(-DT / 0.02), math.exp(-DT / 0.2)
    expected = 2 * alpha**k - alpha ** (k - 1.0) - 0.5 * rho ** (k - 1.0)
    torch.testing.assert_close(scan.membrane[1:, 0, 0], expected.double())
    neuron.place_mem.data.fill_(0.3)
    assert neuron.value("tau_mem") == 0.02  # a range of one value


def test_a_resonator_swings_and_loses_the_threshold_at_its_spike():
    """Re u(k) = 0.7 r^k cos(k phi) after a spike at 1.5, phi being a tenth of a turn."""
    settings = {"tau_mem": [0.05, 0.05], "frequency": [25.0, 25.0]}
    neuron = rf(size=1, recurrent=False, **settings).double()
    current = torch.zeros(20, 1, 1, dtype=torch.double)
    current[0] = 1.5
    scan = kernels.scan(current, neuron.constants, membrane=True).dense()
    assert scan.spikes.sum() == 1
    k, r = torch.arange(1, 20, dtype=torch.double), math.exp(-DT / 0.05)
    expected = 0.7 * r**k * torch.cos(2 * math.pi * k / 10)
    torch.testing.assert_close(scan.membrane[1:, 0, 0], expected)


def test_what_learns_is_drawn_from_its_ranges():
    torch.manual_seed(0)
    first, second = adlif(size=2000), se_adlif(size=2000)
    drawn = {
        "alpha": (first.alpha, 0.82, 0.96),
        "beta": (first.beta, 0.967, 0.992),
        "a": (first.a, -1, 1),
        "b": (second.b, 0, 2),
        "tau_mem": (second.value("tau_mem"), 0.02, 0.1),
        "tau_adapt": (second.value("tau_adapt"), 0.24, 1.2),
    }
    for values, low, high in drawn.values():
        assert low <= values.min() and values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=(high - low) / 40)
    assert not second.bias.any()


def test_bounds_are_kept_by_each_neuron_in_its_published_way():
    """Clamped where they are used (Bittar & Garner), or moved back after a step (Baronig)."""
    first, second = adlif(size=3), se_adlif(size=3)
    with torch.no_grad():
        for values in (first.a, second.a, second.place_mem):
            values.copy_(torch.tensor([-5.0, 0.5, 5.0]))
    assert first.constants.from_membrane.tolist() == [-1, 0.5, 1]
    first.constrain()
    assert first.a.tolist() == [-5, 0.5, 5]
    second.constrain()
    assert second.a.tolist() == second.place_mem.tolist() == [0, 0.5, 1]


def network(neuron, **options):
    torch.manual_seed(0)
    return Network(
        num_inputs=7,
        num_outputs=3,
        dt=DT,
        backend=made.ideal(),
        hidden_sizes=[5, 6],
        neuron=neuron,
        readout=partial(BiasedLI, tau_mem=0.06),
        init=Orthogonal(gain=1.0, recurrent_gain=1.0),
        **options,
    )


def test_no_adlif_neuron_ever_excites_itself():
    model = network(adlif)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    before = model.layers["hidden1"].neuron.recurrent.detach().clone()
    for _ in range(3):
        activity, _ = model(Dense(torch.rand(20, 4, 7).mul(4).round()))
        activity.readout.membrane.square().sum().backward()
        optimizer.step()
    for layer in list(model.layers.values())[:2]:
        assert not layer.neuron.recurrent.diagonal().any()
    assert (model.layers["hidden1"].neuron.recurrent != before).any()


def test_recurrent_weights_are_orthogonal_and_the_others_within_their_bound():
    torch.manual_seed(0)
    init, matrix, weight = Orthogonal(gain=2.0, recurrent_gain=0.5), torch.empty(9, 9), None
    init.fill(matrix, 0, 2, recurrent=True)
    torch.testing.assert_close(matrix @ matrix.t(), 0.25 * torch.eye(9))
    weight = torch.empty(500, 16)
    init.fill(weight, 0, 2)
    assert 0.49 < weight.abs().max() <= 0.5


def test_integrators_follow_their_updates():
    biased = BiasedLI(size=2, dt=DT, tau_mem=0.06).double()
    with torch.no_grad():
        biased.bias.copy_(torch.tensor([0.0, 0.5]))
    trace = kernels.scan(torch.ones(50, 1, 2, dtype=torch.double), biased.constants).membrane
    k, alpha = torch.arange(1, 51, dtype=torch.double), math.exp(-DT / 0.06)
    for neuron, drive in enumerate((1.0, 1.5)):
        torch.testing.assert_close(trace[:, 0, neuron], drive * (1 - alpha**k))
    torch.manual_seed(0)
    ranged = RangeLI(size=2, dt=DT, alpha=[0.8, 0.9]).double()
    with torch.no_grad():
        ranged.alpha[1] = 2.0
    trace = kernels.scan(torch.ones(50, 1, 2, dtype=torch.double), ranged.constants).membrane
    for neuron, alpha in enumerate((ranged.alpha[0].item(), 0.9)):
        assert 0.8 <= alpha <= 0.9
        torch.testing.assert_close(trace[:, 0, neuron], 1 - alpha**k)


def test_batch_norm_takes_steps_and_samples_together_and_evaluates_by_averages():
    current = torch.randn(8, 5, 3, dtype=torch.double) * 2 + 1
    norm = BatchNorm(size=3, momentum=0.25, epsilon=1e-5).double()
    mean, variance = current.mean((0, 1)), current.var((0, 1), unbiased=False)
    torch.testing.assert_close(norm(current), (current - mean) / (variance + 1e-5).sqrt())
    average, spread = 0.25 * mean, 0.75 + 0.25 * variance * 40 / 39  # of 40 rows, unbiased
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.bias.fill_(0.5)
    expected = 3 * (current - average) / (spread + 1e-5).sqrt() + 0.5
    torch.testing.assert_close(norm.eval()(current), expected)


def test_batch_norm_of_a_single_value_goes_by_averages():
    """A last batch may have one sample, and a static input one step; torch refuses that."""
    norm = BatchNorm(size=3, momentum=0.25, epsilon=1e-5)
    current = torch.randn(1, 1, 3)
    assert norm.training
    torch.testing.assert_close(norm(current), current / (1 + 1e-5) ** 0.5)
    assert torch.equal(norm.mean, torch.zeros(3))


def test_every_layers_current_is_normalized_and_segments_of_it_are_refused():
    model = network(adlif, norm=partial(BatchNorm, momentum=0.05, epsilon=1e-5))
    spikes = torch.rand(600, 2, 7).round()  # longer than a segment, and yet one average
    model(Dense(spikes))
    first = model.layers["hidden1"]
    torch.testing.assert_close(first.norm.mean, 0.05 * (spikes @ first.weight.t()).mean((0, 1)))
    assert all(layer.norm.mean.any() for layer in model.layers.values())
    backend = made.ideal()
    backend.checkpoint_every = 10
    with pytest.raises(ValueError, match=r"^norm: its averages would be those of a segment"):
        Network(
            num_inputs=7,
            num_outputs=3,
            dt=DT,
            backend=backend,
            hidden_sizes=[5],
            neuron=adlif,
            readout=partial(BiasedLI, tau_mem=0.06),
            init=Orthogonal(gain=1.0, recurrent_gain=1.0),
            norm=partial(BatchNorm, momentum=0.05, epsilon=1e-5),
        )


def test_dropout_takes_hidden_spikes_in_training_alone():
    """Those that are left count for 1 / (1 - share), and the input loses none."""
    model, inputs = network(se_adlif, dropout=0.2), Dense(torch.rand(300, 8, 7).mul(60).round())
    activity, _ = model(inputs)
    first, second = activity.layers["hidden1"], activity.layers["hidden2"]
    assert first.arrived is None
    sent, arrived = first.spikes, second.arrived.spikes
    assert sent.sum() > 2000
    assert set(arrived.unique().tolist()) == {0.0, 1.25}
    assert not arrived[sent == 0].any()
    lost = (arrived[sent > 0] == 0).double().mean().item()
    assert lost == pytest.approx(0.2, abs=0.04)
    again, _ = model.eval()(inputs)
    assert all(layer.arrived is None for layer in again.layers.values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: adlif(size=1, alpha=[0.9, 0.8]), r"^alpha: \[0.9, 0.8\]; give the lowest value"),
        (lambda: adlif(size=1, beta=[0.9, 1.8]), r"^beta\[1\]: 1.8; it must lie between 0 and 1"),
        (lambda: se_adlif(size=1, tau_mem=[0.0, 1]), r"^tau_mem\[0\]: 0.0 s; it must be a finite"),
        (lambda: alif(size=1, beta=[0.5, 0.4]), r"^beta: \[0.5, 0.4\]; give the lowest value"),
        (lambda: alif(size=1, beta=[0.0, math.inf]), r"^beta: \[0.0, inf\]; give .* both finite$"),
        (lambda: se_adlif(size=1, a=[-math.inf, 0]), r"^a: \[-inf, 0\]; give .* both finite$"),
        (lambda: rf(size=1, frequency=[5.0, 60.0]), r"^frequency\[1\]: 60.0 Hz; it .* 50 Hz"),
        (lambda: rf(size=1, frequency=[0.0, 6.0]), r"^frequency\[0\]: 0.0 Hz; it must be a finite"),
        (lambda: alif(size=1, tau_adapt=[1e-3, 0.1]), r"^tau_adapt\[0\]: 0.001 s; it must be at"),
        (lambda: rf(size=1, tau_mem=[1e-9, 0.1]), r"^tau_mem\[0\]: 1e-09 s; it must be at least"),
        (lambda: alif(size=1, threshold=0), r"^threshold: 0; it must be a finite number above 0"),
        (lambda: network(adlif, dropout=1.5), r"^dropout: 1.5; it must lie between 0 and 1"),
        (
            lambda: NeuronParameters(keep_mem=1.0, from_spike=1.0),
            r"^from_membrane, from_spike: ada",
        ),
    ],
)
def test_what_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
