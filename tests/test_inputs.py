"""The three kinds of input: each projects as the matrix product of its dense copy would."""

import pytest
import torch
from torch.nn import functional

from snnexp import kernels
from snnexp.inputs import Dense, Events, Static

STEPS, BATCH, CHANNELS = 6, 3, 4


def dense():
    generator = torch.Generator().manual_seed(0)
    return Dense(torch.randint(0, 3, (STEPS, BATCH, CHANNELS), generator=generator).float())


def static():
    generator = torch.Generator().manual_seed(0)
    return Static(torch.rand(BATCH, CHANNELS, generator=generator), STEPS)


def events(count=40):
    """40 events in 72 bins, so that some bins hold several."""
    generator = torch.Generator().manual_seed(0)
    ends = (STEPS, BATCH, CHANNELS)
    entries = (torch.randint(0, end, (count,), generator=generator) for end in ends)
    return Events(*entries, *ends)


KINDS = {
    "dense": dense(),
    "static": static(),
    "events": events(),
    "no events": events(0),
}
every_kind = pytest.mark.parametrize("inputs", KINDS.values(), ids=KINDS)


@pytest.mark.parametrize("kind", ["dense", "events", "no events"])
def test_counts_are_those_of_the_dense_copy(kind):
    assert torch.equal(KINDS[kind].counts, KINDS[kind].dense().sum(0))


@pytest.mark.parametrize("kind", ["events", "no events"])
def test_bins_of_several_events_are_active_once(kind):
    active = (KINDS[kind].dense() != 0).sum((0, 1))
    assert torch.equal(KINDS[kind].active(), active)


def test_counts_carry_gradients_even_if_first_asked_for_without():
    inputs = Dense(torch.ones(3, 2, 4, requires_grad=True))
    with torch.no_grad():
        assert inputs.counts[0, 0] == 3
    inputs.counts.sum().backward()
    assert inputs.spikes.grad.eq(1).all()


@every_kind
def test_projection_and_its_gradient_equal_those_of_the_dense_copy(inputs):
    weight = torch.randn(5, CHANNELS, generator=torch.Generator().manual_seed(1))
    upstream = torch.randn(STEPS, BATCH, 5, generator=torch.Generator().manual_seed(2))
    results = []
    for project in (inputs.project, lambda w: functional.linear(inputs.dense(), w)):
        w = weight.clone().requires_grad_()
        current = kernels.whole(project(w)).expand(
            STEPS, -1, -1
        )  # static values give one step for all
        (current * upstream).sum().backward()
        results.append((current, w.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@every_kind
def test_sizes_are_those_of_the_dense_copy(inputs):
    sizes = (inputs.num_steps, inputs.batch_size, inputs.num_channels)
    assert sizes == tuple(inputs.dense().shape) == (STEPS, BATCH, CHANNELS)


@every_kind
def test_to_moves_every_tensor(inputs):
    moved = inputs.to("meta")
    assert type(moved) is type(inputs)
    assert moved.dense().device.type == "meta"
    assert moved.num_steps == STEPS
    torch.testing.assert_close(inputs.to("cpu").dense(), inputs.dense())


def test_events_in_one_bin_add_up():
    index = torch.tensor
    inputs = Events(index([1, 1, 0]), index([0, 0, 1]), index([2, 2, 0]), 2, 2, 3)
    expected = torch.zeros(2, 2, 3)
    expected[1, 0, 2], expected[0, 1, 0] = 2, 1
    assert torch.equal(inputs.dense(), expected)
    current = kernels.whole(inputs.project(torch.tensor([[1.0, 10.0, 100.0]])))
    assert current.flatten().tolist() == [0, 1, 200, 0]


def test_static_values_apply_at_every_step():
    inputs = Static(torch.tensor([[0.5, 2.0]]), 3)
    assert inputs.dense().tolist() == [[[0.5, 2.0]]] * 3
    current = inputs.project(torch.tensor([[2.0, 1.0]]))
    assert current.expand(inputs.num_steps, -1, -1).flatten().tolist() == [3.0, 3.0, 3.0]
