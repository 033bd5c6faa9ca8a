"""Augmentations: what each may do to events or images, and that draws come from the generator."""

import math

import pytest
import torch

from snnexp import augmentations
from snnexp.encoders import Augmented, EventGrid, NoEncoder
from snnexp.experiment import build
from snnexp.recordings import Recordings
from snnexp.session import compose

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


def test_events_that_a_shift_lost_may_be_rolled(made):
    shifted = drawn("ChannelShift", made, channels=20)
    assert not shifted.channel.ge(0).all() and not shifted.channel.lt(CHANNELS).all()
    rolled = drawn("Roll", shifted, channels=3)
    inside = left(shifted)
    assert torch.equal(left(rolled), inside)
    assert ((rolled.channel - shifted.channel)[inside] % CHANNELS).unique().numel() == 1


def test_channel_shift_has_a_number_for_each_sample_and_loses_what_leaves(made):
    shifted = drawn("ChannelShift", made, channels=4)
    draws = torch.randint(-4, 5, (BATCH,), generator=torch.Generator().manual_seed(0))
    expected = made.channel + draws[made.sample.long()]
    inside = (expected >= 0) & (expected < CHANNELS)
    assert torch.equal(left(shifted), inside) and not inside.all()
    assert torch.equal(shifted.channel.long()[inside], expected[inside])
    assert torch.equal(shifted.time[inside], made.time[inside])
    assert draws.unique().numel() > 2


def test_channel_stretch_is_one_factor_a_sample_about_the_middle(made):
    """Events spread evenly within their channel: they land where the factor puts it, no further."""
    stretched = drawn("ChannelStretch", made, most=1.3)
    rng = torch.Generator().manual_seed(0)
    factor = 1.3 ** (2 * torch.rand(BATCH, generator=rng) - 1)[made.sample.long()]
    low = (made.channel - 25) * factor + 25
    high = (made.channel + 1 - 25) * factor + 25
    kept, moved = left(stretched), stretched.channel
    assert (moved[kept] >= low[kept].floor()).all() and (moved[kept] <= high[kept].ceil()).all()
    assert not kept[(high < 0) | (low >= CHANNELS)].any() and not kept.all()
    assert kept[(low >= 0) & (high < CHANNELS)].all()
    grown = kept & (factor > 1.1)
    assert moved[grown].unique().numel() == CHANNELS  # no gaps
    assert factor.unique().numel() > 2


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
    assert shift.min() < -0.03 and shift.max() > 0.03  # of 20 draws from -0.1 to 0.1
    assert factor.min() >= 1 / 1.5 - 1e-4 and factor.max() <= 1.5 + 1e-4
    assert factor.min() < 0.9 and factor.max() > 1.1


def test_dropout_loses_the_share_asked_for(made):
    kept = int(left(drawn("Dropout", made, probability=0.25)).sum())
    assert kept == pytest.approx(0.75 * EVENTS, abs=4 * (EVENTS * 0.1875) ** 0.5)
    assert left(drawn("Dropout", made, probability=0.0)).all()


def words(*times_and_channels, label):
    """One sample a pair of lists."""
    sizes = torch.tensor([len(times) for times, _ in times_and_channels])
    return Recordings(
        torch.tensor([time for times, _ in times_and_channels for time in times]),
        torch.tensor([c for _, channels in times_and_channels for c in channels]).int(),
        torch.arange(len(sizes)).int().repeat_interleave(sizes),
        len(sizes),
        CHANNELS,
        True,
        torch.tensor(label),
    )


def events_of(made, sample):
    """Times and channels of what is left of a sample."""
    own = left(made) & (made.sample == sample)
    pairs = zip(made.time[own].tolist(), made.channel[own].tolist(), strict=True)
    return sorted((round(time, 4), channel) for time, channel in pairs)


def test_words_of_a_class_are_blended_on_the_centre_of_each():
    """Centres (0.2 s, 15) and (0.5 s, 22.5): 0.3 s and 7.5 channels apart, which rounds to 8.

    The third word is the only one of its class, the fourth is silent and the fifth its only mate.
    """
    made = words(
        ([0.1, 0.3], [10, 20]),
        ([0.4, 0.6], [20, 25]),
        ([0.7], [1]),
        ([], []),
        ([0.8], [2]),
        label=[3, 3, 0, 5, 5],
    )
    both = drawn("Blend", made, share=1.0, kept=1.0)
    assert events_of(both, 0) == [(0.1, 10), (0.1, 12), (0.3, 17), (0.3, 20)]
    assert events_of(both, 1) == [(0.4, 18), (0.4, 20), (0.6, 25), (0.6, 28)]
    assert [events_of(both, n) for n in (2, 3, 4)] == [[(0.7, 1)], [], [(0.8, 2)]]
    assert drawn("Blend", made, share=0.0, kept=0.5).time.isfinite().sum() == 6


def test_lost_events_move_no_centre_and_stay_lost():
    gone = -torch.inf
    made = words(([0.1, gone], [10, 40]), ([0.4, gone, gone], [20, 1, 2]), label=[1, 1])
    both = drawn("Blend", made, share=1.0, kept=1.0)
    assert events_of(both, 0) == [(0.1, 10), (0.1, 10)]
    assert events_of(both, 1) == [(0.4, 20), (0.4, 20)]


def test_a_share_is_blended_and_half_of_the_events_are_kept():
    """Of 4 events kept by halves of 2 words each, 4 remain on average, with variance 2."""
    one = ([0.1, 0.2, 0.3, 0.4], [5, 6, 7, 8])
    made = words(*[one] * 600, label=[n % 3 for n in range(600)])
    both = drawn("Blend", made, share=0.4, kept=0.5)
    counts = torch.bincount(both.sample[left(both)].long(), minlength=600).double()
    copied = both.sample[len(made.time) :][left(both)[len(made.time) :]].unique()
    share = len(copied) / 600  # of blended ones 1 in 16 has no copy left
    assert share == pytest.approx(0.4 * 15 / 16, abs=4 * (0.4 * 0.6 / 600) ** 0.5)
    assert counts[copied.long()].mean().item() == pytest.approx(2 + 2 * 16 / 15, abs=0.4)
    others = torch.ones(600).bool().index_fill(0, copied.long(), False)
    assert (counts[others] == 4).double().mean() > 0.9


def test_partners_are_others_of_the_same_class():
    label = torch.randint(5, (100,))
    seen = set()
    for seed in range(3):
        partner = augmentations._partners(label, torch.Generator().manual_seed(seed))
        assert torch.equal(label[partner], label)
        assert (partner != torch.arange(100)).all()
        assert torch.equal(partner.sort().values, torch.arange(100))
        seen.add(tuple(partner.tolist()))
    assert len(seen) == 3


def test_blending_without_classes_is_refused(made):
    with pytest.raises(ValueError, match=r"^augment: blend takes recordings whose classes"):
        drawn("Blend", made, share=0.5, kept=0.5)


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
        ("ChannelStretch", {"most": 1.0}),
        ("Dropout", {"probability": 1.1}),
        ("Blend", {"share": 1.1, "kept": 0.5}),
    ],
)
def test_bad_values_are_refused(name, settings):
    key = next(iter(settings))
    with pytest.raises(ValueError, match=f"^{key}: "):
        getattr(augmentations, name)(**settings)


STILL = {"shift": 0.0, "rotation": 0.0, "zoom": 1.0}


def blobs(right, down, batch=6, height=41, width=61):
    """Images of a smooth spot `right` and `down` of the centre, in pixels."""
    y = torch.arange(height).double()[:, None] - (height - 1) / 2 - down
    x = torch.arange(width).double() - (width - 1) / 2 - right
    return torch.exp(-(x**2 + y**2) / 8).expand(batch, 1, height, width)


def middles(images):
    """Where the spots are, [image, (right, down)], from the centre."""
    height, width = images.shape[2:]
    mass = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    x = (mass.sum(1) * (torch.arange(width) - (width - 1) / 2)).sum(1)
    y = (mass.sum(2) * (torch.arange(height) - (height - 1) / 2)).sum(1)
    return torch.stack([x, y], 1)


def draws(seed, batch=6):
    """What `Affine` draws for each image: shifts right and down, the turn, the zoom's power."""
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.rand(batch, generator=generator).double() - 1 for _ in range(4)]


def test_images_that_are_not_moved_stay():
    images = torch.rand(3, 2, 5, 7)
    torch.testing.assert_close(drawn("Affine", images, **STILL), images)


def test_each_image_is_shifted_by_its_own_draw():
    moved = drawn("Affine", blobs(2.0, -3.0), 4, **STILL | {"shift": 5.0})
    across, down, *_ = draws(4)
    expected = torch.stack([2 - 5 * across, -3 - 5 * down], 1)
    torch.testing.assert_close(middles(moved), expected, rtol=0, atol=1e-6)


def test_each_image_is_turned_about_its_centre_whatever_its_sides():
    turned = drawn("Affine", blobs(9.0, 0.0), 4, **STILL | {"rotation": 60.0})
    angle = draws(4)[2] * math.radians(60)
    expected = torch.stack([9 * angle.cos(), -9 * angle.sin()], 1)
    torch.testing.assert_close(middles(turned), expected, rtol=0, atol=1e-2)


def test_each_image_is_zoomed_about_its_centre():
    zoomed = drawn("Affine", blobs(8.0, 4.0), 4, **STILL | {"zoom": 1.5})
    factor = 1.5 ** draws(4)[3]
    expected = factor[:, None] * torch.tensor([8.0, 4.0]).double()
    torch.testing.assert_close(middles(zoomed), expected, rtol=0, atol=5e-2)


def test_an_elastic_field_is_what_was_drawn_at_its_nodes():
    """Of ramps, whose values are a pixel's place, the change is the displacement."""
    across, down = torch.arange(29.0).double(), torch.arange(17.0).double()
    ramps = torch.stack([across.expand(17, 29), down[:, None].expand(17, 29)])
    images = ramps.expand(4, 2, 17, 29)
    moved = drawn("Elastic", images, 2, pixels=0.8, nodes=5) - images
    nodes = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(2)).double()
    inner = moved[:, :, 4:13:4, 7:22:7]  # the outer ones may look beyond the border
    torch.testing.assert_close(inner, 0.8 * nodes[:, :, 1:4, 1:4], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Affine", STILL | {"shift": -1.0}),
        ("Affine", STILL | {"rotation": 181.0}),
        ("Affine", STILL | {"zoom": 0.9}),
        ("Elastic", {"pixels": 0.0, "nodes": 5}),
        ("Elastic", {"nodes": 1, "pixels": 1.0}),
    ],
)
def test_bad_values_of_image_changes_are_refused(name, settings):
    wrong = {"shift": -1.0, "rotation": 181.0, "zoom": 0.9, "pixels": 0.0, "nodes": 1}
    (key,) = [key for key, value in settings.items() if value == wrong[key]]
    with pytest.raises(ValueError, match=f"^{key}: "):
        getattr(augmentations, name)(**settings)


@pytest.mark.parametrize("coded", ["constant", "latency"])
def test_training_images_alone_are_changed_by_draws_of_their_epoch_and_batch(coded):
    chosen = ("dataset=ones", "encoder=augmented", f"encoder@encoder.of={coded}")
    dataset, classifier, _ = build(compose([*chosen, "model.hidden_sizes=[3]"]))
    images = dataset.splits["train"].values

    def seen(stage, index=0):
        return classifier.run(images, stage, index)[0].dense()

    assert classifier.encoder.num_channels == 784
    assert torch.equal(seen("train"), seen("train"))
    assert not torch.equal(seen("train"), seen("train", 1))
    assert torch.equal(seen("val"), classifier.encoder.of(images, None).dense())
    assert not torch.equal(seen("train"), seen("val"))
    assert seen("train").min() >= 0 and seen("train").max() <= 1


def test_changes_of_the_other_kind_of_data_are_refused():
    """They would fail on the first batch."""
    events = {"num_features": 4, "dt": 0.1, "steps": 5, "channels": 4, "values": "counts"}
    images = {"num_features": 4, "input_shape": (1, 2, 2), "of": NoEncoder}
    affine = augmentations.Affine(shift=1.0, rotation=0.0, zoom=1.0)
    with pytest.raises(ValueError, match=r"^augment\.turned: Affine changes images, and these"):
        EventGrid(**events, augment={"turned": affine})
    with pytest.raises(ValueError, match=r"^augment\.roll: Roll changes recorded events, and"):
        Augmented(**images, augment={"roll": augmentations.Roll(channels=1)})
