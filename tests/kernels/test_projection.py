"""Spikes that the compiled loops project as they go, against the plain loop over their current."""

import pytest
import torch
from torch.nn import functional

from snnexp import kernels
from snnexp.inputs import Dense, Events
from snnexp.kernels import Projection
from tests.kernels.scans import INTEGRATORS, SPIKING
from tests.models import made

STEPS, BATCH, CHANNELS = 7, 5, 70
NEURONS = {
    "lif": SPIKING[next(iter(SPIKING))],
    "refractory": next(p for p in SPIKING.values() if p.refractory_steps),
    "multiple": SPIKING["iaf True"],
    "li": INTEGRATORS["li"],
}


def spikes_from_a_layer(density):
    """Packed spikes, and the leaf that their gradients reach."""
    leaf = 1.2 * (torch.rand(STEPS, BATCH, CHANNELS) < density).double()
    leaf.requires_grad_()
    return kernels.scan(leaf, made.lif(size=1, beta=0.5).constants, kernel="numba").spikes, leaf


def source(kind, density):
    """Spikes of a kind, the same as floats, and what takes their gradient, if anything."""
    if kind == "layer":
        train, leaf = spikes_from_a_layer(density)
        return train, train.dense(), leaf
    if kind == "dense":
        spikes = (torch.rand(STEPS, BATCH, CHANNELS) < density).double()
        return Dense(spikes), spikes, None
    number = int(density * STEPS * BATCH * CHANNELS)
    places = (torch.randint(n, (number,)) for n in (STEPS, BATCH, CHANNELS))
    events = Events(*places, STEPS, BATCH, CHANNELS)
    return events, events.dense().double(), None


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize("density", [0.02, 0.25])
@pytest.mark.parametrize("kind", ["layer", "dense", "events"])
@pytest.mark.parametrize("name", NEURONS)
def test_a_projection_is_run_as_its_current(name, kind, density, size, recurrent):
    torch.manual_seed(0)
    p = NEURONS[name]
    sent, spikes, leaf = source(kind, density)
    weight = (0.5 * torch.randn(size, CHANNELS, dtype=torch.double)).requires_grad_()
    back = None
    if recurrent and p.surrogate is not None:
        back = (0.1 * torch.randn(size, size, dtype=torch.double)).requires_grad_()
    leaves = [part for part in (weight, back, leaf) if part is not None]
    projected = sent.project(weight)
    assert isinstance(projected, Projection)
    torch.testing.assert_close(projected.tensor(), functional.linear(spikes, weight))
    results = []
    for current, kernel in ((projected, "auto"), (functional.linear(spikes, weight), "reference")):
        scan = kernels.scan(current, p, back, membrane=True, kernel=kernel).dense()
        seen = [scan.membrane, scan.state[:2], *([scan.spikes] if p.surrogate else [])]
        upstream = [torch.sin(torch.arange(part.numel())).view_as(part) for part in seen]
        loss = sum((part * up).sum() for part, up in zip(seen, upstream, strict=True))
        results.append((*seen, *torch.autograd.grad(loss, leaves, retain_graph=True)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", ["torch", "reference"])
def test_other_kernels_take_its_current(kernel):
    events = Events(torch.tensor([1]), torch.tensor([0]), torch.tensor([2]), 3, 1, 4)
    weight = torch.tensor([[0.0, 0.0, 0.5, 0.0]])
    scan = kernels.scan(events.project(weight), made.li(size=1, beta=0.5).constants, kernel=kernel)
    assert scan.membrane.flatten().tolist() == [0.0, 0.5, 0.25]


def test_a_weight_that_takes_no_gradient_gets_none():
    sent, _, leaf = source("layer", 0.25)
    scan = kernels.scan(sent.project(torch.rand(3, CHANNELS, dtype=torch.double)), NEURONS["li"])
    scan.membrane.sum().backward()
    assert leaf.grad.abs().sum() > 0


def test_a_weight_of_other_channels_is_refused():
    train, _ = spikes_from_a_layer(0.1)
    with pytest.raises(ValueError, match=r"^weight: it takes 69 channels, not 70"):
        train.project(torch.zeros(4, 69, dtype=torch.double))
