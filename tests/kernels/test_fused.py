"""The compiled loop against the plain one: the same spikes, traces and gradients in float64."""

from itertools import product

import pytest
import torch

from snnexp import kernels
from snnexp.models import (
    ArcTan,
    Boxcar,
    Exponential,
    Gaussian,
    Sigmoid,
    SuperSpike,
    Surrogate,
    Triangle,
)
from tests.models import made

SURROGATES = [
    ArcTan(slope=3.0, peak=0.7),
    SuperSpike(slope=5.0),
    Sigmoid(slope=4.0),
    Gaussian(sigma=0.4),
    Triangle(width=0.8, peak=0.3),
    Boxcar(width=0.5, peak=1.0),
    Exponential(alpha=5.0, scale=0.4),
]
LIF = [
    {"reset": reset, "reset_delay": delay, "spike_from": source, "detach_reset": detach}
    for reset, delay, source, detach in product(
        ("subtract", "subtract_scaled", "zero", "none"),
        (True, False),
        ("after", "before"),
        (True, False),
    )
]
CUBA = [
    {"method": method, "tau_ref": tau_ref, "leak": leak, "reset": reset, "detach_reset": detach}
    for method, tau_ref, leak, reset, detach in product(
        ("euler", "exponential"), (0.0, 6e-6), (0.0, 0.2), (0.0, -0.3), (True, False)
    )
]
NEURONS = [
    *(made.lif(size=1, **settings) for settings in LIF),
    *(made.cuba_lif(size=1, normalized=False, **settings) for settings in CUBA),
    made.li(size=1),
    made.li(size=1, normalized=True),
    *(made.cuba_li(size=1, method=method, leak=0.2) for method in ("euler", "exponential")),
]


def outcome(kernel, parameters, shape, *, recurrent=False, static=False, seed=0):
    """Everything that a scan gives, and the gradients of a random weighting of it all."""
    draw = torch.Generator().manual_seed(seed)
    steps, batch, size = shape
    start = [torch.rand(batch, size, generator=draw, dtype=torch.double) for _ in "viz"]
    start[2] = start[2].round()
    current = torch.randn(1 if static else steps, batch, size, generator=draw).double()
    weight = torch.randn(size, size, generator=draw).double() / size**0.5
    leaves = [current, *start, *([weight] if recurrent else [])]
    for leaf in leaves:
        leaf.requires_grad_()
    state = (*start, torch.zeros(batch, size, dtype=torch.double))
    found = kernels.scan(
        current,
        parameters,
        weight if recurrent else None,
        state,
        steps=steps,
        membrane=True,
        margin=True,
        kernel=kernel,
    )
    parts = [part for part in (found.spikes, found.membrane, *found.state[:2]) if part is not None]
    loss = sum(
        (part * torch.randn(part.shape, generator=draw, dtype=torch.double)).sum() for part in parts
    )
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    gradients = [torch.zeros(()) if g is None else g for g in gradients]
    return [part.detach() for part in (*parts, *found.state)], gradients


def assert_agreement(parameters, shape, **options):
    plain, gradients = outcome("reference", parameters, shape, **options)
    compiled, compiled_gradients = outcome("numba", parameters, shape, **options)
    for expected, found in zip(plain, compiled, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for expected, found in zip(gradients, compiled_gradients, strict=True):
        found = found if expected.ndim else found.abs().sum()  # unused there, so zero here
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("recurrent", [False, True])
def test_every_neuron_agrees(neuron, recurrent):
    if recurrent and not neuron.spiking:
        pytest.skip("an integrator has no recurrence")
    assert_agreement(neuron.constants, (17, 3, 5), recurrent=recurrent)
    assert_agreement(neuron.constants, (9, 2, 4), recurrent=recurrent, static=True, seed=1)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: type(s).__name__)
def test_every_surrogate_agrees(surrogate):
    assert_agreement(made.lif(size=1, surrogate=surrogate).constants, (20, 4, 7))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (40, 1, 1), (7, 3, 300), (60, 40, 257)])
@pytest.mark.parametrize("recurrent", [False, True])
def test_every_size_agrees(shape, recurrent):
    assert_agreement(made.lif(size=1).constants, shape, recurrent=recurrent)


def test_a_current_that_is_not_contiguous():
    current = torch.randn(4, 6, 5, dtype=torch.double).permute(1, 2, 0)
    constants = made.lif(size=1).constants
    plain = kernels.scan(current, constants, kernel="reference").spikes
    assert torch.equal(kernels.scan(current, constants, kernel="numba").spikes, plain)


def test_a_surrogate_of_ones_own_runs_in_the_plain_loop(caplog):
    class Own(Surrogate):
        def derivative(self, x):
            return torch.ones_like(x)

        @property
        def half_width(self):
            return 1.0

    current = torch.randn(5, 2, 3, requires_grad=True)
    with caplog.at_level("INFO"):
        scan = kernels.scan(current, made.lif(size=1, surrogate=Own()).constants)
    scan.spikes.sum().backward()
    assert current.grad is not None and (current.grad != 0).all()
    assert "plain loop runs over time, since the compiled one does not know Own" in caplog.text


@pytest.mark.parametrize("kernel", ["reference", "numba"])
def test_nothing_is_kept_and_no_graph_grows_without_gradients(kernel):
    with torch.no_grad():
        scan = kernels.scan(torch.randn(5, 2, 3), made.lif(size=1).constants, kernel=kernel)
    assert scan.spikes.grad_fn is None and scan.membrane is None and scan.margin is None
