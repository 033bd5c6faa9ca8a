"""The custom operators as torch checks them, and what packed spikes and events become."""

import pytest
import torch
from torch.library import opcheck

from snnexp import kernels
from snnexp.inputs import Dense, Events, Static
from snnexp.kernels import operators, whole
from snnexp.kernels.scan import switches
from tests.kernels.scans import EVERY, INTEGRATORS, SPIKING
from tests.models import made

CUBA = next(name for name in SPIKING if name.startswith("cuba") and "6e-06" in name)

EXACT = next(name for name in SPIKING if name.startswith("exact") and "6e-06" in name)


def arguments(p, source, kernel, *, recurrent, history, packed):
    """Those of the operator `scan`."""
    current, state = torch.randn(5, 2, 3), torch.zeros(4 + p.adaptive, 2, 3)
    asked = switches(
        p, False, packed=packed, margin=True, membrane=True, synaptic=True, history=EVERY * history
    )
    weight = torch.randn(3, 3, requires_grad=True) if recurrent else None
    table = p.table(current, 3).clone().requires_grad_(history)
    state, rest = state.requires_grad_(), (None, None, list(asked), [3.0, 1.0], 5, kernel)
    drive = {"current": (current.requires_grad_(), None, None, None, None)}
    synapse = torch.randn(3, 70, requires_grad=True)
    words, link = bits()
    drive["bits"] = (None, words, None, link, synapse)
    start, channel = operators.sort_events(
        *(torch.randint(n, (20,)) for n in (5, 2, 70)), (5, 2, 70)
    )
    drive["events"] = (None, channel, start, None, synapse)
    return table, *drive[source], weight, state, *rest


def bits():
    """Words of 70 channels, and what their gradients go through."""
    train, _ = packed(steps=5, batch=2)
    return train.words[0], train.links[0].detach().requires_grad_()


@pytest.mark.parametrize(
    ("kernel", "source"),
    [("torch", "current"), ("numba", "current"), ("numba", "bits"), ("numba", "events")],
)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("name", [next(iter(SPIKING)), EXACT, CUBA, "adaptive hard", "li"])
def test_scan_is_a_sound_operator(name, history, recurrent, kernel, source):
    p = (SPIKING | INTEGRATORS)[name]
    packed, spiking = kernel == "numba" and p.surrogate is not None, p.surrogate is not None
    inputs = arguments(
        p, source, kernel, recurrent=recurrent and spiking, history=history, packed=packed
    )
    opcheck(operators.scan.registered, inputs)


def packed(steps=6, batch=3, size=70, dtype=torch.float32):
    """A layer's packed spikes, with the current that gradients reach."""
    current = torch.randn(steps, batch, size, dtype=dtype, requires_grad=True)
    scan = kernels.scan(current, made.lif(size=1).constants, kernel="numba")
    return scan.spikes, current


@pytest.mark.parametrize("size", [1, 5, 63, 64, 65, 70, 127, 128, 129])
@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_a_bit_of_a_word_is_a_neuron(size, dtype):
    spikes = (torch.rand(3, 2, size) < 0.5).to(dtype)
    words, found = operators.pack(spikes)
    expected = torch.zeros(3, 2, (size + 63) // 64, dtype=torch.int64)
    for neuron in range(size):
        expected[..., neuron // 64] |= spikes[..., neuron].long() << neuron % 64
    assert found == spikes.sum()
    assert torch.equal(words, expected)
    assert torch.equal(operators.unpack(words, torch.zeros_like(spikes)), spikes)


def test_projections_are_sound_operators():
    train, _ = packed()
    weight = torch.randn(4, 70, requires_grad=True)
    words, link = train.words[0], train.links[0].detach().requires_grad_()
    opcheck(operators.project.registered, (words, link, weight))
    opcheck(operators.unpack.registered, (words, link))
    step, sample, channel = (torch.randint(n, (20,)) for n in (6, 3, 70))
    start, ordered = operators.sort_events(step, sample, channel, (6, 3, 70))
    opcheck(operators.project_events.registered, (start, ordered, weight, 3))


@pytest.mark.parametrize("outputs", [1, 10, 64, 130])
def test_packed_spikes_project_as_dense_ones_do(outputs):
    train, current = packed(dtype=torch.double)
    weight = torch.randn(outputs, 70, dtype=torch.double, requires_grad=True)
    upstream = torch.randn(6, 3, outputs, dtype=torch.double)
    results = []
    for spikes in (whole(train.project(weight)), torch.nn.functional.linear(train.dense(), weight)):
        gradients = torch.autograd.grad(spikes, (weight, current), upstream, retain_graph=True)
        results.append((spikes, *gradients))
    assert train.counts.sum() > 10
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(train.counts, train.dense().sum(0))
    assert torch.equal(train.last(), train.dense()[-1])


def test_many_spikes_are_projected_by_one_product():
    current = torch.full((4, 2, 65), 2.0, dtype=torch.double, requires_grad=True)
    train = kernels.scan(current, made.lif(size=1).constants, kernel="numba").spikes
    weight = torch.randn(3, 65, dtype=torch.double)
    assert train.counts.sum() == 4 * 2 * 65
    torch.testing.assert_close(whole(train.project(weight)), weight.sum(1).expand(4, 2, 3))


def test_segments_join_to_the_whole():
    train, current = packed(dtype=torch.double)
    constants = made.lif(size=1).constants
    first = kernels.scan(current[:2], constants, kernel="numba")
    rest = kernels.scan(current[2:], constants, state=first.state, kernel="numba")
    joined = kernels.join([first.spikes, rest.spikes])
    weight = torch.randn(5, 70, dtype=torch.double)
    for expected, parts in (
        (train.dense(), joined.dense()),
        (whole(train.project(weight)), whole(joined.project(weight))),
        (train.counts, joined.counts),
    ):
        torch.testing.assert_close(parts, expected)
        gradients = [torch.autograd.grad(x.square().sum(), current, retain_graph=True)[0]
                     for x in (expected, parts)]  # fmt: skip
        torch.testing.assert_close(*gradients)
    assert (joined.num_steps, joined.batch_size, joined.num_channels) == (6, 3, 70)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("outputs", [1, 7, 40])
def test_events_project_as_dense_spikes_do(ordered, outputs):
    """Some fall into one bin, and most rows are empty."""
    bins = torch.randperm(8 * 3 * 70)[:40]
    bins = bins.sort().values if ordered else bins
    bins[1] = bins[0]
    rows, channel = bins // 70, bins % 70
    events = Events(rows // 3, rows % 3, channel, 8, 3, 70)
    weight = torch.randn(outputs, 70, dtype=torch.double, requires_grad=True)
    upstream = torch.randn(8, 3, outputs, dtype=torch.double)
    dense = events.dense().double()
    assert dense.max() == 2
    expected = torch.nn.functional.linear(dense, weight)
    found = whole(events.project(weight))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(x, weight, upstream)[0] for x in (expected, found)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("kind", ["few", "many", "counts", "halves"])
def test_dense_spikes_project_alike_whatever_they_are(kind):
    spikes = (torch.rand(9, 4, 100) < (0.7 if kind == "many" else 0.1)).double()
    spikes = spikes * {"counts": 3, "halves": 0.5}.get(kind, 1)
    weight = torch.randn(6, 100, dtype=torch.double, requires_grad=True)
    found = whole(Dense(spikes).project(weight))
    expected = torch.nn.functional.linear(spikes, weight)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(x.square().sum(), weight)[0] for x in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("steps", [1, 3, 4, 8, 20])
def test_inputs_split_in_time(steps):
    rows = torch.randint(8 * 3, (40,))
    events = Events(rows // 3, rows % 3, torch.randint(7, (40,)), 8, 3, 7)
    for inputs in (events, Dense(events.dense()), Static(torch.rand(3, 7), 8)):
        parts = inputs.split(steps)
        assert [part.num_steps for part in parts] == [
            min(steps, 8 - start) for start in range(0, 8, steps)
        ]
        assert torch.equal(torch.cat([part.dense() for part in parts]), inputs.dense())


@pytest.mark.parametrize("kernel", ["torch", "numba"])
def test_autocast_leaves_the_scan_in_float32(kernel):
    current = torch.randn(5, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        half = kernels.scan(current.bfloat16(), made.lif(size=1).constants, kernel=kernel)
        whole = kernels.scan(current.bfloat16().float(), made.lif(size=1).constants, kernel=kernel)
    assert half.state.dtype == torch.float32
    assert torch.equal(half.state, whole.state)


def test_a_second_derivative_is_refused():
    current = torch.randn(4, 2, 3, requires_grad=True)
    scan = kernels.scan(current, made.lif(size=1).constants, kernel="numba")
    counts = scan.spikes.counts
    (first,) = torch.autograd.grad(counts.square().sum(), current, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("place", [(8, 0, 0), (0, 3, 0), (0, 0, 7), (-1, 0, 0), (0, 0, -1)])
def test_events_outside_their_sizes_are_refused(place):
    step, sample, channel = (torch.tensor([0, index]) for index in place)
    events = Events(step, sample, channel, 8, 3, 7)
    with pytest.raises(ValueError, match=r"^events: one lies outside 8 steps, 3 samples and 7"):
        events.project(torch.zeros(2, 7))


@pytest.mark.parametrize("kernel", ["torch", "numba"])
def test_shapes_that_do_not_fit_are_refused(kernel):
    current, constants = torch.zeros(5, 2, 3), made.lif(size=1).constants
    with pytest.raises(ValueError, match=r"^recurrent: its shape is \(2, 3\), not \(3, 3\)"):
        kernels.scan(current, constants, torch.zeros(2, 3), kernel=kernel)
    with pytest.raises(ValueError, match=r"^state: its shape is \(4, 1, 3\), not \(4, 2, 3\)"):
        kernels.scan(current, constants, state=torch.zeros(4, 1, 3), kernel=kernel)
    measured = kernels.Measured(torch.zeros(4, 2, 3))
    with pytest.raises(ValueError, match=r"^measured spikes: its shape is \(4, 2, 3\)"):
        kernels.scan(current, constants, measured=measured, kernel=kernel)
    train, _ = packed()
    with pytest.raises(ValueError, match=r"^weight: it takes 69 channels, not 70"):
        train.project(torch.zeros(4, 69))
