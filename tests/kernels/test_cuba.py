"""CubaLIF, CubaLI and LI against closed forms and an independent step-by-step loop in numpy."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from snnexp.models import SuperSpike
from tests.models import made
from tests.models.made import scan

DT, TAU = 2e-6, 6e-6  # made's
cuba_li = partial(made.cuba_li, size=1)
cuba_lif = partial(made.cuba_lif, size=1, surrogate=SuperSpike(slope=2.0))


def one_spike(neuron, steps=30):
    """The membrane of one input spike at t = 0."""
    return scan(neuron, [1.0] + [0.0] * (steps - 1)).membrane.flatten()


def loop(x, *, a, b, leak, threshold, reset, dead):
    """Explicit Euler as hxtorch computes it; the iaf rule's `dead` steps follow a spike."""
    i, v = np.zeros(x.shape[1:]), np.full(x.shape[1:], leak)
    wait = np.zeros(x.shape[1:], int)
    spikes, membrane = [], []
    for now in x:
        v = v + a * (leak - v + i)
        i = i * (1 - b) + now
        held = wait > 0
        z = (v > threshold) & ~held
        v = np.where(z | held, reset, v)
        wait = np.where(z, dead, np.maximum(wait - 1, 0))
        spikes.append(z)
        membrane.append(v)
    return np.stack(spikes), np.stack(membrane)


@pytest.mark.parametrize(
    ("tau_ref", "dead"), [(0.0, 0), (1e-6, 1), (2e-6, 1), (3e-6, 2), (4e-6, 2), (9.9e-6, 5)]
)
@pytest.mark.parametrize(("leak", "reset"), [(0.0, 0.0), (0.25, -0.5)])
def test_euler_equals_hxtorchs_steps(tau_ref, dead, leak, reset):
    rng = np.random.default_rng(0)
    x = rng.normal(0.4, 2.0, (80, 3, 5)) * (rng.random((80, 3, 5)) < 0.4)
    taus = {"tau_mem": 8e-6, "tau_syn": 5e-6}
    neuron = cuba_lif(size=5, method="euler", leak=leak, reset=reset, tau_ref=tau_ref, **taus)
    found = scan(neuron, x)
    a, b = DT / taus["tau_mem"], DT / taus["tau_syn"]
    spikes, membrane = loop(x, a=a, b=b, leak=leak, threshold=1.0, reset=reset, dead=dead)
    assert spikes.sum() > 30
    np.testing.assert_array_equal(found.spikes.numpy() == 1, spikes)
    np.testing.assert_allclose(found.membrane.numpy(), membrane, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dead_steps_where_the_quotient_is_not_exact(dtype):
    """10 us are 5 steps of 2 us in either precision, though 1e-5 / 2e-6 > 5 in floats."""
    current = torch.full((12, 1, 1), 50.0, dtype=dtype)
    result = cuba_lif(tau_ref=1e-5).scan(current, None, None, True, False)
    assert result.spikes.flatten().tolist() == [1, 0, 0, 0, 0, 0] * 2


def test_exponential_euler_closed_forms():
    """Equal time constants: (1 - d) k d^(k-1); other ones: g (b^k - a^k) / (b - a), k = 1, ..."""
    k = torch.arange(1, 31).double()
    d = math.exp(-DT / TAU)
    torch.testing.assert_close(one_spike(cuba_li()), (1 - d) * k * d ** (k - 1))
    a = math.exp(-DT / 2.5e-6)
    torch.testing.assert_close(
        one_spike(cuba_li(tau_syn=2.5e-6)), (1 - d) * (d**k - a**k) / (d - a)
    )


def test_explicit_euler_closed_form():
    """a k (1-a)^(k-1), k = 0, ...: one step later, and its peak of 4/9 at dt / tau = 1/3."""
    k = torch.arange(30).double()
    trace = one_spike(cuba_li(method="euler"))
    torch.testing.assert_close(trace, k / 3 * (2 / 3) ** (k - 1))
    assert trace.max().item() == pytest.approx(4 / 9)


@pytest.mark.parametrize(
    ("method", "gain"), [("exponential", 1 - math.exp(-1 / 3)), ("euler", 1 / 3)]
)
def test_unnormalised_gain_and_leak(method, gain):
    normalised = one_spike(cuba_li(method=method))
    plain = one_spike(cuba_li(method=method, normalized=False))
    torch.testing.assert_close(plain * gain, normalised)
    lifted = one_spike(cuba_li(method=method, leak=0.3))
    torch.testing.assert_close(lifted, normalised + 0.3)  # linear, and at rest at its leak
    spiking = one_spike(cuba_lif(method=method, threshold=9.0))
    torch.testing.assert_close(spiking, normalised)


@pytest.mark.parametrize(("normalized", "gain"), [(False, 1.0), (True, 0.1)])
def test_li_closed_forms(normalized, gain):
    neuron = made.li(size=1, normalized=normalized)
    t = torch.arange(30).double()
    torch.testing.assert_close(one_spike(neuron), gain * 0.9**t)
    step = scan(neuron, [0.7] * 30).membrane.flatten()
    torch.testing.assert_close(step, 0.7 * gain * (1 - 0.9 ** (t + 1)) / 0.1)


@pytest.mark.parametrize(("tau_ref", "dead"), [(0.0, 0), (2.0e-6, 1), (5.0e-6, 3)])
def test_refractory_steps_of_a_driven_neuron(tau_ref, dead):
    """A drive far above the threshold spikes as soon as it may: every 1 + dead steps."""
    result = scan(cuba_lif(tau_ref=tau_ref, reset=-0.5), [50.0] * 24)
    expected = [float(step % (1 + dead) == 0) for step in range(24)]
    assert result.spikes.flatten().tolist() == expected
    assert result.membrane.flatten().tolist() == [-0.5] * 24


@pytest.mark.parametrize(("x", "spikes"), [(1.0, [0, 0]), (1.0 + 1e-12, [0, 1])])
def test_the_threshold_is_strict(x, spikes):
    """dt = tau forgets all but the last current, and euler sees it one step late."""
    taus = {"tau_mem": DT, "tau_syn": DT}
    result = scan(cuba_lif(method="euler", normalized=False, **taus), [x, 0.0])
    assert result.spikes.flatten().tolist() == spikes


def test_recurrent_spikes_arrive_one_step_later():
    current = torch.zeros(3, 1, 2)
    current[0, 0, 0] = 1.5
    weight = torch.tensor([[0.0, 0.0], [2.0, 0.0]], dtype=torch.float64)  # [to, from]
    neuron = cuba_lif(size=2, recurrent=True, normalized=False, tau_syn=DT / 10)
    assert scan(neuron, current, weight).spikes[:, 0].tolist() == [[1, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize("tau_ref", [0.0, 4e-6], ids=["no tau_ref", "tau_ref"])
@pytest.mark.parametrize("x", [1.2, 0.7], ids=["spike", "no spike"])
@pytest.mark.parametrize("detach_reset", [True, False])
def test_gradient_of_the_second_margin(detach_reset, x, tau_ref):
    """v(1) = x (1 - z) + reset z with z = H(x - 1), by hand; v~(2) = d v(1) + i(2)."""
    d, reset, z = math.exp(-1 / 3), -0.5, float(x > 1)
    s = 0.0 if detach_reset else 1 / (1 + 2.0 * abs(x - 1)) ** 2
    expected = d * ((1 - z) + (reset - x) * s) + d
    current = torch.tensor([x, 0.1], dtype=torch.float64, requires_grad=True)
    neuron = cuba_lif(normalized=False, reset=reset, detach_reset=detach_reset, tau_ref=tau_ref)
    scan(neuron, current).margin[1].sum().backward()
    torch.testing.assert_close(current.grad, torch.tensor([expected, 1.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"tau_mem": 0.0}, "tau_mem: 0.0 s;"),
        ({"tau_syn": -1.0}, "tau_syn: -1.0 s;"),
        ({"tau_ref": -1.0}, "tau_ref: -1.0 s;"),
        ({"reset": 1.0}, "threshold: 1.0;"),
        ({"leak": 1.5}, "threshold: 1.0;"),
        ({"method": "midpoint"}, "method: 'midpoint';"),
        ({"method": "euler", "tau_mem": 1e-6}, "tau_mem: 1e-06 s"),
        ({"method": "euler", "tau_syn": 1e-6}, "tau_syn: 1e-06 s"),
    ],
)
def test_refusals_name_the_argument_first(change, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        cuba_lif(**change)
