"""Every kernel against the plain loop: the same spikes, traces and gradients."""

from functools import partial

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.autograd.gradcheck import GradcheckError

from snnexp import kernels
from snnexp.kernels.switches import NUMBERS
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
from tests.kernels.scans import INTEGRATORS, SPIKING, learnable, outcome
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
FAST = pytest.mark.parametrize("kernel", ["torch", "numba"])


def assert_agreement(kernel, parameters, shape, **options):
    plain, gradients = outcome("reference", parameters, shape, **options)
    found, found_gradients = outcome(kernel, parameters, shape, **options)
    assert plain.keys() == found.keys()
    if "spikes" in plain and not options.get("smooth"):
        assert torch.equal(plain["spikes"], found["spikes"])
    for name, expected in plain.items():
        torch.testing.assert_close(found[name], expected, rtol=1e-11, atol=1e-11, msg=name)
    for expected, gradient in zip(gradients, found_gradients, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10 * max(scale, 1e-3))


@FAST
@pytest.mark.parametrize("name", SPIKING)
def test_every_spiking_neuron_agrees(name, kernel):
    p = SPIKING[name]
    for recurrent in (False, True):
        for learn in (False, True):
            assert_agreement(kernel, p, (11, 3, 5), recurrent=recurrent, learn=learn)
        assert_agreement(kernel, p, (9, 2, 4), recurrent=recurrent, static=True, seed=1)


@FAST
@pytest.mark.parametrize("only", NUMBERS)
def test_every_number_may_learn_alone(only, kernel):
    """Which spares the gradients of the others, and of a plain neuron the synaptic current."""
    for name, p in SPIKING.items():
        if p.adaptive or only in NUMBERS[: NUMBERS.index("keep_adapt")]:
            options = {"recurrent": "zero" in name, "learn": True, "only": only}
            assert_agreement(kernel, p, (8, 2, 3), **options)


@pytest.mark.parametrize("batch", [1, 9, 17])
@pytest.mark.parametrize("size", [31, 32, 100, 128, 150, 256])
def test_recurrent_products_agree_at_any_rate(size, batch):
    """Few spikes are added one by one, many go through a product; tiles end within a layer."""
    for threshold, low, high in ((0.1, 0.3, 1.0), (2.5, 0.0, 0.1)):
        p = made.lif(size=1, threshold=threshold).constants
        spikes = outcome("numba", p, (6, batch, size), recurrent=True)[0]["spikes"]
        assert low < spikes.mean() < high
        assert_agreement("numba", p, (6, batch, size), recurrent=True)


@FAST
@pytest.mark.parametrize("name", SPIKING)
@pytest.mark.parametrize("measured", ["spikes", "spikes, membrane"])
def test_what_was_measured_goes_forward_and_the_models_gradient_back(name, measured, kernel):
    if SPIKING[name].multiple:
        pytest.skip("a chip's neuron spikes once in a step")
    for recurrent in (False, True):
        options = {"recurrent": recurrent, "learn": True, "measured": measured}
        assert_agreement(kernel, SPIKING[name], (7, 3, 6), **options)


@FAST
@pytest.mark.parametrize("name", INTEGRATORS)
def test_every_integrator_agrees(name, kernel):
    for learn in (False, True):
        assert_agreement(kernel, INTEGRATORS[name], (17, 3, 5), learn=learn)
        assert_agreement(kernel, INTEGRATORS[name], (9, 2, 4), learn=learn, static=True)


@FAST
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: type(s).__name__)
def test_every_surrogate_agrees(surrogate, kernel):
    constants = made.lif(size=1, surrogate=surrogate).constants
    assert_agreement(kernel, constants, (20, 4, 7))
    assert_agreement(kernel, constants, (6, 2, 3), smooth=True, recurrent=True)


@FAST
@given(
    steps=st.integers(1, 30),
    batch=st.integers(1, 9),
    size=st.sampled_from([1, 2, 3, 7, 31, 63, 64, 65, 127, 130]),
    recurrent=st.booleans(),
    learn=st.booleans(),
    name=st.sampled_from(sorted(SPIKING)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_sizes_agree(kernel, steps, batch, size, recurrent, learn, name, seed):
    options = {"recurrent": recurrent, "learn": learn, "seed": seed}
    p = SPIKING[name]
    assume(not (p.multiple and recurrent))  # its spikes grow without bound
    assert_agreement(kernel, p, (steps, batch, size), **options)


@FAST
@given(
    steps=st.integers(1, 40),
    batch=st.integers(1, 5),
    size=st.integers(1, 140),
    recurrent=st.booleans(),
    name=st.sampled_from(["lif", "adaptive soft", "adaptive hard"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_float32_agrees_where_no_rounding_moved_a_spike(
    kernel, steps, batch, size, recurrent, name, seed
):
    options = {"recurrent": recurrent, "seed": seed, "dtype": torch.float32}
    p = made.lif(size=1).constants if name == "lif" else SPIKING[name]
    plain, gradients = outcome("reference", p, (steps, batch, size), **options)
    found, found_gradients = outcome(kernel, p, (steps, batch, size), **options)
    assume(torch.equal(plain["spikes"], found["spikes"]))
    for expected, gradient in zip(gradients, found_gradients, strict=True):
        assert (gradient - expected).norm() <= 1e-4 * expected.norm()


@FAST
@pytest.mark.parametrize("shape", [(60, 40, 257), (7, 300, 3), (5, 3, 1500)])
@pytest.mark.parametrize("recurrent", [False, True])
def test_sizes_of_more_than_a_block_agree(shape, recurrent, kernel):
    assert_agreement(kernel, made.lif(size=1).constants, shape, recurrent=recurrent)
    assert_agreement(kernel, SPIKING["adaptive hard"], shape, recurrent=recurrent, learn=True)


@FAST
def test_a_current_that_is_not_contiguous(kernel):
    current = torch.randn(4, 6, 5, dtype=torch.double).permute(1, 2, 0)
    constants = made.lif(size=1).constants
    plain = kernels.scan(current, constants, kernel="reference").spikes
    assert torch.equal(kernels.scan(current, constants, kernel=kernel).dense().spikes, plain)


@pytest.mark.parametrize("kernel", ["reference", "torch", "numba"])
@pytest.mark.parametrize(
    "name",
    [n for n, p in SPIKING.items() if not (p.exact or p.refractory_steps or p.multiple)],
)
@pytest.mark.parametrize("recurrent", [False, True])
def test_gradients_are_those_of_finite_differences_with_a_smooth_spike(name, recurrent, kernel):
    from dataclasses import replace

    p = replace(SPIKING[name], attached=True, surrogate=Sigmoid(slope=4.0))
    draw = torch.Generator().manual_seed(3)
    start = torch.rand(4 + p.adaptive, 2, 3, generator=draw, dtype=torch.double)
    start[3] = 0
    current = torch.randn(4, 2, 3, generator=draw, dtype=torch.double)
    weight = torch.randn(3, 3, generator=draw, dtype=torch.double)

    def run(current, state, weight, smooth=True):
        scan = kernels.scan(
            current, p, weight if recurrent else None, state, membrane=True, smooth=smooth,
            kernel=kernel,
        )  # fmt: skip
        return scan.dense().spikes, scan.membrane, scan.state[:2], scan.state[4:]

    step = partial(run, smooth=False)
    leaves = (current.requires_grad_(), start.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    with pytest.raises(GradcheckError):  # a step's are not
        torch.autograd.gradcheck(step, leaves, fast_mode=True)


@pytest.mark.parametrize("kernel", ["reference", "torch", "numba"])
@pytest.mark.parametrize("shape", [(5, 0, 3), (0, 2, 3), (5, 2, 0)])
def test_nothing_to_scan_is_refused(shape, kernel):
    with pytest.raises(ValueError, match=r"^current: its shape is \(\d, \d, \d\);"):
        kernels.scan(torch.zeros(shape), made.lif(size=1).constants, kernel=kernel)


def test_steps_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"^current: it has 3 steps, not 5 or one for all"):
        kernels.scan(torch.zeros(3, 1, 1), made.lif(size=1).constants, steps=5)


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
    assert "plain loop runs over time, since the faster ones do not know Own" in caplog.text


def test_without_numba_torch_runs_the_loop_and_the_log_says_so_once(caplog, monkeypatch):
    from snnexp.kernels import compiled, dispatch

    cached = (compiled.load, dispatch._lacking_compiler, dispatch._tell)
    monkeypatch.setitem(__import__("sys").modules, "snnexp.kernels.fused", None)
    for function in cached:
        function.cache_clear()
    current = torch.randn(5, 2, 3)
    with caplog.at_level("INFO"):
        for _ in range(2):
            spikes = kernels.scan(current, made.lif(size=1).constants).spikes
    for function in cached:
        function.cache_clear()
    assert isinstance(spikes, torch.Tensor)
    assert caplog.text.count("torch's operations run the loop over time, since numba cannot") == 1


@pytest.mark.parametrize("kernel", ["reference", "torch", "numba"])
def test_nothing_is_kept_and_no_graph_grows_without_gradients(kernel):
    with torch.no_grad():
        scan = kernels.scan(torch.randn(5, 2, 3), made.lif(size=1).constants, kernel=kernel)
    assert scan.dense().spikes.grad_fn is None and scan.membrane is None and scan.margin is None


def test_numbas_threads_follow_torchs():
    from numba import get_num_threads

    threads = torch.get_num_threads()
    current = torch.randn(50, 128, 256)
    try:
        for wanted in (1, 2):
            torch.set_num_threads(wanted)
            kernels.scan(current, made.lif(size=1).constants, kernel="numba")
            assert get_num_threads() == wanted
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("name", [*list(SPIKING)[::5], "iaf True", "adaptive soft"])
def test_margins_of_a_static_current_are_made_again(name, learn):
    """Nobody asks for them here, so that the compiled loops do not keep them for the gradient."""
    results = []
    for kernel in ("numba", "reference"):
        draw, p = torch.Generator().manual_seed(3), SPIKING[name]
        state = torch.rand(4 + p.adaptive, 9, 50, generator=draw, dtype=torch.double)
        state[2], state[3] = state[2].round(), 0
        current = torch.rand(1, 9, 50, generator=draw, dtype=torch.double)
        leaves = [current.requires_grad_(), state.requires_grad_()]
        if learn:
            p, numbers = learnable(p, 50, draw, torch.double)
            leaves += numbers
        scan = kernels.scan(current, p, state=state, steps=30, kernel=kernel).dense()
        upstream = torch.rand(30, 9, 50, generator=draw, dtype=torch.double)
        loss = (scan.spikes * upstream).sum() + scan.state[:2].square().sum()
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        pairs = zip(gradients, leaves, strict=True)
        results.append([scan.spikes, *(torch.zeros_like(x) if g is None else g for g, x in pairs)])
    assert 0 < results[0][0].mean() < 1
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
