"""Augmentations: what each may do to events, and that draws come from the generator alone."""

import pytest
import torch

from snnexp import augmentations
from snnexp.encoders import EventGrid
from snnexp.recordings import Recordings

EVENTS, BATCH, CHANNELS = 4000, 20, 50


@pytest.fixture
def made():
    rng = torch.Generator().manual_seed(1)
    return Recordings(
        torch.rand(EVENTS, generator=rng),
        torch.randint(CHANNELS, (EVENTS,), generator=rng).int(),
        torch.randint(BATCH, (EVENTS,), generator=rng).sort().values.int(),
        BATCH,
        CHANNELS,
        True,
    )


def drawn(name, made, seed=0, **settings):
    change = getattr(augmentations, name)(**settings)
    return change(made, torch.Generator().manual_seed(seed))


def left(made):
    """Which events were not lost."""
    return made.time.isfinite()


def test_roll_shifts_a_whole_batch_round_the_end(made):
    shifts = set()
    for seed in range(40):
        rolled = drawn("Roll", made, seed, channels=3)
        (shift,) = ((rolled.channel - made.channel) % CHANNELS).unique().tolist()
        shifts.add(shift)
    assert shifts == {0, 1, 2, 3, 47, 48, 49}


def test_channel_shift_has_a_number_for_each_sample_and_loses_what_leaves(made):
    shifted = drawn("ChannelShift", made, channels=4)
    draws = torch.randint(-4, 5, (BATCH,), generator=torch.Generator().manual_seed(0))
    expected = made.channel + draws[made.sample.long()]
    inside = (expected >= 0) & (expected < CHANNELS)
    assert torch.equal(left(shifted), inside) and not inside.all()
    assert torch.equal(shifted.channel.long()[inside], expected[inside])
    assert torch.equal(shifted.time[inside], made.time[inside])
    assert draws.unique().numel() > 2


def test_channel_jitter_has_the_standard_deviation_asked_for(made):
    middle = Recordings(made.time, torch.full_like(made.channel, 25), made.sample, BATCH, 50, True)
    jittered = drawn("ChannelJitter", middle, std=3.0)
    moved = (jittered.channel - 25).float()
    assert left(jittered).all()
    assert moved.mean().abs() < 0.2  # four standard errors
    assert moved.std().item() == pytest.approx((9 + 1 / 12) ** 0.5, rel=0.05)  # rounding adds 1/12


def test_time_shift_and_stretch_are_one_number_a_sample(made):
    shift = drawn("TimeShift", made, seconds=0.1).time - made.time
    factor = drawn("TimeStretch", made, most=1.5).time / made.time
    for sample in range(BATCH):
        own = made.sample == sample
        assert shift[own].max() - shift[own].min() < 1e-6
        assert factor[own].max() - factor[own].min() < 1e-4
    assert shift.abs().max() <= 0.1 + 1e-6 and shift.unique().numel() > 2
    assert factor.min() >= 1 / 1.5 - 1e-4 and factor.max() <= 1.5 + 1e-4


def test_dropout_loses_the_share_asked_for(made):
    kept = int(left(drawn("Dropout", made, probability=0.25)).sum())
    assert kept == pytest.approx(0.75 * EVENTS, abs=4 * (EVENTS * 0.1875) ** 0.5)
    assert left(drawn("Dropout", made, probability=0.0)).all()


def test_a_lost_event_stays_lost_and_enters_no_bin(made):
    gone = drawn("Dropout", made, probability=1.0)
    moved = drawn("TimeStretch", drawn("TimeShift", gone, seconds=3.0), most=2.0)
    grid = EventGrid(num_features=50, dt=0.1, steps=10, channels=50, values="counts", augment={})
    assert grid(made).dense().sum() == EVENTS
    assert not grid(moved).dense().any()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Roll", {"channels": -1}),
        ("ChannelShift", {"channels": -1}),
        ("ChannelJitter", {"std": 0.0}),
        ("TimeShift", {"seconds": -0.1}),
        ("TimeStretch", {"most": 1.0}),
        ("Dropout", {"probability": 1.1}),
    ],
)
def test_bad_values_are_refused(name, settings):
    (key,) = settings
    with pytest.raises(ValueError, match=f"^{key}: "):
        getattr(augmentations, name)(**settings)
