"""Triton's kernels against the plain loop; `test_triton.py` runs this in a process of its own.

On a CPU that is Triton's interpreter, which multiplies no tiles of bfloat16.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from snnexp import kernels
from snnexp.kernels import Projection, dispatch, operators, triton_scan, whole
from snnexp.kernels.scan import switches
from snnexp.kernels.switches import NUMBERS
from tests.kernels.scans import EVERY, INTEGRATORS, SPIKING, outcome
from tests.kernels.test_agreement import SURROGATES
from tests.models import made

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LIF = made.lif(size=1).constants
CUBA = SPIKING[[name for name in SPIKING if name.startswith("cuba") and "6e-06" in name][-1]]


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch, request):
    """A scan that fell back to another kernel would agree, too."""
    if "falls_back" not in request.node.name:
        monkeypatch.setattr(dispatch, "_tell", lambda line: pytest.fail(line))


def assert_agreement(p, shape, **options):
    plain, gradients = outcome("reference", p, shape, device=DEVICE, **options)
    found, found_gradients = outcome("triton", p, shape, device=DEVICE, **options)
    assert plain.keys() == found.keys()
    if "spikes" in plain:
        assert torch.equal(plain["spikes"], found["spikes"])
    close = 1e-11 if options.get("dtype", torch.double) == torch.double else 2e-5
    for name, expected in plain.items():
        torch.testing.assert_close(found[name], expected, rtol=close, atol=close, msg=name)
    for expected, gradient in zip(gradients, found_gradients, strict=True):
        scale = max(expected.abs().max().item(), 1e-3)
        torch.testing.assert_close(gradient, expected, rtol=10 * close, atol=10 * close * scale)


@pytest.mark.parametrize("name", SPIKING)
def test_every_spiking_neuron_agrees(name):
    assert_agreement(SPIKING[name], (3, 2, 5), learn=True, static=name in list(SPIKING)[::4])


@pytest.mark.parametrize("name", [*list(SPIKING)[::3], list(SPIKING)[-1]])
def test_spiking_neurons_agree_with_recurrence(name):
    learn = name in list(SPIKING)[::2]
    assert_agreement(SPIKING[name], (3, 2, 5), learn=learn, recurrent=True, dtype=torch.float32)


ALONE = (*list(SPIKING)[:80:16], *list(SPIKING)[-5:])


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", ALONE)
def test_a_number_that_alone_is_learnt_agrees(name, number):
    if SPIKING[name].adaptive or NUMBERS.index(number) < NUMBERS.index("keep_adapt"):
        assert_agreement(SPIKING[name], (3, 2, 5), learn=True, only=number)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_every_integrator_agrees(name):
    assert_agreement(INTEGRATORS[name], (4, 3, 5), learn=True)
    assert_agreement(INTEGRATORS[name], (4, 3, 5), static=True, dtype=torch.float32)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: type(s).__name__)
def test_every_surrogate_agrees(surrogate):
    assert_agreement(made.lif(size=1, surrogate=surrogate).constants, (6, 2, 7))


@pytest.mark.parametrize("measured", ["spikes", "spikes, membrane"])
@pytest.mark.parametrize("name", [*list(SPIKING)[:80:13], *list(SPIKING)[-5:-2]])
def test_what_was_measured_goes_forward_and_the_models_gradient_back(name, measured):
    assert_agreement(SPIKING[name], (4, 3, 6), learn=True, measured=measured)


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 1, 1), (1, 40, 1), (5, 2, 33), (3, 3, 131)])
@pytest.mark.parametrize("p", [LIF, CUBA], ids=["lif", "cuba"])
def test_odd_sizes_agree(shape, p):
    """The last has more units than a tile."""
    assert_agreement(p, shape, learn=True)


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 1, 1), (4, 17, 33), (3, 2, 64), (3, 2, 131)])
@pytest.mark.parametrize("p", [LIF, CUBA], ids=["lif", "cuba"])
def test_odd_sizes_agree_with_recurrence(shape, p):
    """Seventeen samples are one more than a tile has; 131 neurons' weights do not stay."""
    assert_agreement(p, shape, learn=True, recurrent=True, dtype=torch.float32)


def test_a_gpu_with_less_shared_memory_has_fewer_neurons_in_a_tile(monkeypatch):
    """That of compute capability 8.6, where quarters of 256 x 256 float32 do not fit."""
    monkeypatch.setattr(triton_scan, "SHARED", 101376)
    monkeypatch.setattr(triton_scan, "_shared", lambda device: 101376)
    in_tiles = {size: _has_tiles(torch.empty(size, size)) for size in (128, 129, 256)}
    assert in_tiles == {128: True, 129: False, 256: False}
    assert _has_tiles(torch.empty(256, 256, dtype=torch.bfloat16))
    assert_agreement(LIF, (3, 2, 131), learn=True, recurrent=True, dtype=torch.float32)


def _has_tiles(weight):
    return triton_scan._divided(weight)[1] is None


LARGE = ["adaptive hard", "adaptive soft", *(list(SPIKING)[n] for n in (2, 41, 49, 70))]


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("name", LARGE)
def test_recurrent_layers_too_large_for_a_tile_agree(name, learn):
    static = learn and name.startswith("adaptive")
    options = {"recurrent": True, "dtype": torch.float32, "learn": learn, "static": static}
    assert_agreement(SPIKING[name], (3, 2, 259), **options)


def test_half_precision_of_a_large_recurrent_layer_is_that_of_its_current():
    torch.manual_seed(0)
    current, weight = torch.randn(4, 2, 300), torch.randn(300, 300) / 15
    half = [part.to(DEVICE, torch.float16).requires_grad_() for part in (current, weight)]
    found = kernels.scan(half[0], LIF, half[1], kernel="triton")
    whole = [part.detach().float().requires_grad_() for part in half]
    plain = kernels.scan(whole[0], LIF, whole[1], kernel="reference")
    assert (found.spikes.dtype, found.state.dtype) == (torch.float16, torch.float32)
    assert (found.spikes != plain.spikes).float().mean() < 0.01
    gradients = torch.autograd.grad(found.spikes.float().sum(), half)
    expected = torch.autograd.grad(plain.spikes.sum(), whole)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert (gradient.float() - wanted).norm() < 0.05 * wanted.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("recurrent", [False, True])
def test_half_precision_is_that_of_currents_and_weights_alone(dtype, recurrent):
    """Forward nothing else is rounded, so that float32 spikes alike with the same currents."""
    if DEVICE == "cpu" and recurrent and dtype == torch.bfloat16:
        pytest.skip("the interpreter multiplies no tiles of bfloat16")
    torch.manual_seed(0)
    leaves = [torch.randn(6, 3, 33), torch.randn(33, 33) / 5]
    leaves = [leaf.to(DEVICE, dtype) for leaf in leaves[: 1 + recurrent]]
    upstream = torch.randn(6, 3, 33, device=DEVICE).to(dtype)
    results = []
    for kernel, kind in (("triton", dtype), ("reference", torch.float32)):
        own = [leaf.to(kind).requires_grad_() for leaf in leaves]
        scan = kernels.scan(own[0], LIF, *own[1:], membrane=True, kernel=kernel)
        assert scan.state.dtype == scan.membrane.dtype == torch.float32
        assert scan.spikes.dtype == kind
        gradients = torch.autograd.grad((scan.spikes * upstream.to(kind)).sum(), own)
        assert all(gradient.dtype == kind for gradient in gradients)
        results.append((scan, [gradient.float() for gradient in gradients]))
    (found, gradients), (plain, expected) = results
    assert torch.equal(found.spikes.float(), plain.spikes)
    torch.testing.assert_close(found.membrane, plain.membrane, rtol=1e-5, atol=1e-5)
    for gradient, wanted in zip(gradients, expected, strict=True):
        assert (gradient - wanted).norm() <= 4 * torch.finfo(dtype).eps * wanted.norm()


def test_autocast_leaves_the_state_in_float32():
    current = torch.randn(5, 2, 3, device=DEVICE).bfloat16()
    with torch.autocast(DEVICE, torch.bfloat16):
        half = kernels.scan(current, LIF, kernel="triton")
    whole = kernels.scan(current.float(), LIF, kernel="triton")
    assert torch.equal(half.state, whole.state)
    assert (half.spikes.dtype, half.state.dtype) == (torch.bfloat16, torch.float32)


def test_gradients_that_are_the_same_at_each_step_agree():
    """Those of a sum over time arrive without a step of their own."""
    results = []
    for kernel in ("triton", "reference"):
        draw = torch.Generator().manual_seed(0)
        current = torch.randn(6, 3, 7, generator=draw, dtype=torch.double).to(DEVICE)
        factor = torch.randn(3, 7, generator=draw, dtype=torch.double).to(DEVICE)
        current.requires_grad_()
        scan = kernels.scan(current, CUBA, membrane=True, kernel=kernel)
        loss = (scan.spikes.sum(0) * factor).sum() + (scan.membrane.sum(0) * factor).sum()
        results.append(torch.autograd.grad(loss, current)[0])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("p", [LIF, CUBA, INTEGRATORS["li"]], ids=["lif", "cuba", "li"])
def test_the_operator_gives_what_torch_expects_of_it(p, learn, dtype):
    current, state = torch.randn(5, 2, 3, device=DEVICE, dtype=dtype), torch.zeros(4, 2, 3)
    asked = switches(
        p, False, packed=False, margin=True, membrane=True, synaptic=True, history=EVERY * learn
    )
    state = state.to(DEVICE)
    inputs = (p.table(state, 3), current, None, None, None, None, None, state, None, None)
    inputs += (list(asked), [3.0, 1.0], 5, "triton")
    found = operators.scan.registered(*inputs)
    with FakeTensorMode() as mode:
        fake = (mode.from_tensor(x) if isinstance(x, torch.Tensor) else x for x in inputs)
        expected = operators.scan.registered(*fake)
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


@pytest.mark.skipif(DEVICE == "cuda", reason="the compiled loops make projections on the CPU")
def test_a_projection_is_made_before():
    spikes, weight = (torch.rand(6, 3, 7) < 0.1).float(), torch.randn(4, 7)
    current = kernels.project(spikes, weight)
    assert isinstance(current, Projection)
    found = kernels.scan(current, LIF, kernel="triton").spikes
    assert torch.equal(found, kernels.scan(whole(current), LIF, kernel="reference").spikes)


@pytest.mark.parametrize(
    ("p", "options", "reason"),
    [
        (LIF, {"smooth": True}, "have no smooth spikes"),
        (LIF, {"recurrent": True}, "recurrent kernels take no float64"),
    ],
)
def test_what_cannot_falls_back_to_torch_and_the_log_says_so(p, options, reason, monkeypatch):
    lines = []
    monkeypatch.setattr(dispatch, "_tell", lines.append)
    found, _ = outcome("triton", p, (4, 2, 3), device=DEVICE, **options)
    expected, _ = outcome("torch", p, (4, 2, 3), device=DEVICE, **options)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    (line,) = lines
    assert line.startswith("torch's operations run the loop over time, since ") and reason in line
