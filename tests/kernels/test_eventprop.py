"""Exact gradients against finite differences of losses in continuous time, found without a grid."""

import math

import numpy as np
import pytest
import torch

from snnexp import kernels
from snnexp.decoders import FirstSpike
from snnexp.inputs import Dense
from tests.models import made

TAU_MEM, TAU_SYN, END = 20e-3, 5e-3, 60e-3
ARRIVALS = [(0, 2.13e-3), (1, 9.37e-3), (2, 21.91e-3), (0, 34.55e-3)]  # channel, time in s
HIDDEN = [[9.5, 3.0, 8.5], [2.0, 13.0, 4.5], [6.0, 5.5, 10.5], [14.5, -2.0, 2.5]]
OUT = [[8.0, 5.0, 4.0, 2.0], [-3.0, 9.0, 6.0, 3.0]]


def membrane(v, i, t):
    """V after t s from membrane v and current i: tau_mem v' = -v + i, tau_syn i' = -i."""
    share = TAU_SYN / (TAU_SYN - TAU_MEM)
    return v * np.exp(-t / TAU_MEM) + i * share * (np.exp(-t / TAU_SYN) - np.exp(-t / TAU_MEM))


def crossing(v, i, span):
    """When the membrane first reaches 1 within `span` s, or None; it has one peak."""
    c = i * TAU_SYN / (TAU_MEM - TAU_SYN)
    a = v + c  # the membrane is a e^(-t / tau_mem) - c e^(-t / tau_syn)
    if c <= 0 or a <= 0:
        return None
    peak = math.log(c * TAU_MEM / (a * TAU_SYN)) / (1 / TAU_SYN - 1 / TAU_MEM)
    high = min(max(peak, 0.0), span)
    if membrane(v, i, high) <= 1:
        return None
    low = 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if membrane(v, i, middle) <= 1 else (low, middle)
    return high


def spike_times(arrivals):
    """Those of a neuron that gets (time, weight), and resets its membrane to 0."""
    found, v, i, now = [], 0.0, 0.0, 0.0
    for time, weight in [*sorted(arrivals), (END, 0.0)]:
        while (wait := crossing(v, i, time - now)) is not None:
            i, v, now = i * math.exp(-wait / TAU_SYN), 0.0, now + wait
            found.append(now)
        v, i = membrane(v, i, time - now), i * math.exp(-(time - now) / TAU_SYN) + weight
        now = time
    return found


def hidden_events(hidden, out):
    """What reaches each output: (time, weight)."""
    times = [spike_times([(t, row[c]) for c, t in ARRIVALS]) for row in hidden]
    return [[(t, row[n]) for n, spikes in enumerate(times) for t in spikes] for row in out]


def trace_loss(hidden, out):
    """The mean over time of the integrators' squared membranes, of the first less the second."""
    grid = (np.arange(60000) + 0.5) * END / 60000
    total = 0.0
    for sign, events in zip((1, -1), hidden_events(hidden, out), strict=True):
        waits = [(np.clip(grid - t, 0, None), w) for t, w in events]
        trace = sum(membrane(0.0, w, wait) for wait, w in waits)
        total += sign * (trace**2).sum() * END / 60000
    return total / END


def time_loss(hidden, out):
    """First output spikes, in s: of the first twice, less the second."""
    first, second = (spike_times(events)[0] for events in hidden_events(hidden, out))
    return (2 * first - second) / END


def on_grid(loss, steps, kernel):
    """Gradients of both weights, [neuron, input], by the scans on a grid of `steps` steps."""
    dt = END / steps
    spikes = torch.zeros(steps, 1, 3, dtype=torch.double)
    for channel, time in ARRIVALS:
        spikes[round(time / dt), 0, channel] += 1
    taus = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "dt": dt, "normalized": True}
    weights = [torch.tensor(w, dtype=torch.double, requires_grad=True) for w in (HIDDEN, OUT)]
    lif = made.cuba_lif(size=1, gradient="eventprop", **taus).constants
    sent = kernels.scan(Dense(spikes).project(weights[0]), lif, kernel=kernel).dense().spikes
    current = torch.nn.functional.linear(sent, weights[1])
    if loss is trace_loss:
        trace = kernels.scan(
            current, made.cuba_li(size=1, **taus).constants, kernel=kernel
        ).membrane
        value = (trace[:, 0] ** 2 @ torch.tensor([1.0, -1.0]).double()).sum() / steps
    else:
        fired = kernels.scan(current, lif, kernel=kernel).dense().spikes
        times = -FirstSpike(scale=1.0, scale_gradient=True, dt=dt).decode(fired)[0]
        value = (2 * times[0] - times[1]) / END
    return value.item(), torch.autograd.grad(value, weights)


def differences(loss, step=1e-5):
    """The same gradients of the loss in continuous time, by central differences."""
    weights = [np.array(HIDDEN), np.array(OUT)]
    found = []
    for which in (0, 1):
        gradient = np.zeros_like(weights[which])
        for place in np.ndindex(gradient.shape):
            for sign in (1, -1):
                moved = [w.copy() for w in weights]
                moved[which][place] += sign * step
                gradient[place] += sign * loss(*moved) / (2 * step)
        found.append(gradient)
    return found


@pytest.mark.parametrize("loss", [trace_loss, time_loss])
def test_gradients_approach_those_of_continuous_time_with_the_grid(loss):
    """The whole chain: input weights through hidden spikes' times, into a trace or spike times."""
    assert sum(len(events) for events in hidden_events(HIDDEN, OUT)) >= 10
    exact = differences(loss)
    errors = []
    for steps in (1500, 48000):
        value, gradients = on_grid(loss, steps, "numba")
        assert value == pytest.approx(loss(HIDDEN, OUT), rel=200 / steps)
        pairs = list(zip(gradients, exact, strict=True))
        errors.append(max(np.abs(g.numpy() - e).max() / np.abs(e).max() for g, e in pairs))
    assert errors[1] < 5e-3
    assert errors[1] < errors[0] / 4
