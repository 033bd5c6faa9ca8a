"""Recorded events on a time grid: pooling, binning, cutting, and augmentations in training only."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from snnexp.encoders import EventGrid
from snnexp.recordings import Recordings, Words


def recordings(time, channel, sample, batch=2, channels=10, training=False):
    return Recordings(
        torch.tensor(time),
        torch.tensor(channel, dtype=torch.int32),
        torch.tensor(sample, dtype=torch.int32),
        batch,
        channels,
        training,
    )


def grid(**changes):
    settings = {"num_features": 10, "dt": 0.25, "steps": 3, "channels": 10, "values": "binary"}
    return EventGrid(**settings | {"augment": {}} | changes)


def test_events_fall_into_their_bins():
    """Events at 0.5 and 0.6 s share step 2 of sample 1; one at 0.75 s lies beyond 3 steps."""
    made = recordings([0.0, 0.25, 0.5, 0.6, 0.75], [3, 3, 9, 9, 9], [0, 0, 1, 1, 1])
    for values, twice in (("binary", 1.0), ("counts", 2.0)):
        spikes = grid(values=values)(made).dense()
        expected = torch.zeros(3, 2, 10)
        expected[0, 0, 3] = expected[1, 0, 3] = 1
        expected[2, 1, 9] = twice
        assert torch.equal(spikes, expected)


def test_events_before_the_grid_are_cut():
    assert not grid()(recordings([-0.01], [0], [0])).dense().any()


def test_no_events_are_silence():
    assert not grid()(recordings([], [], [])).dense().any()


@pytest.mark.parametrize("channels", [1, 3, 5, 10])
def test_pooling_merges_neighbours_evenly(channels):
    """Channel c of 10 belongs to floor(c M / 10)."""
    made = recordings([0.0] * 10, list(range(10)), [0] * 10)
    counts = grid(channels=channels, values="counts")(made).dense()[0, 0]
    expected = torch.tensor([c * channels // 10 for c in range(10)]).bincount()
    assert torch.equal(counts.long(), expected)


def test_augmentations_change_training_recordings_only_and_one_after_another():
    seen = []

    def note(name):
        def change(values, generator):
            seen.append((name, values.num_channels, generator))
            return values

        return change

    encoder = grid(channels=5, augment={"a": note("a"), "b": note("b")})
    encoder(recordings([0.0], [0], [0]))
    assert seen == []
    draws = torch.Generator()
    encoder(recordings([0.0], [0], [0], training=True), draws)
    assert seen == [("a", 5, draws), ("b", 5, draws)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 11}, r"^channels: 11; the recordings have 10"),
        ({"values": "bits"}, r"^values: 'bits'; choose one of binary, counts"),
        ({"steps": 0}, r"^steps: 0"),
    ],
)
def test_bad_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        grid(**changes)


@pytest.mark.parametrize("index", [slice(0, 3), slice(2, 2), torch.tensor([2, 0, 2, 1])])
@pytest.mark.parametrize("labelled", [True, False])
def test_batches_of_words_on_a_device_are_those_of_the_host(index, labelled):
    """Of four recordings, one of them empty, three are chosen in another order."""
    draw = np.random.default_rng(0)
    first = np.array([0, 3, 3, 8, 10])
    words = Words(
        draw.random(10).astype(np.float16),
        draw.integers(0, 7, 10).astype(np.int16),
        first,
        np.array([3, 1, 2]),
        num_channels=7,
        is_training=True,
        label=np.array([4, 5, 6, 7]) if labelled else None,
    )
    host, device = words[index], words.to("cpu")[index]
    for field in fields(Recordings):
        expected, found = getattr(host, field.name), getattr(device, field.name)
        if isinstance(expected, torch.Tensor):
            assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist()), field.name
        else:
            assert found == expected, field.name
