"""Yin-Yang: the published samples, the symbol's geometry, and refusals."""

import pytest
import torch

from snnexp.datasets import YinYang
from snnexp.datasets.yinyang import classify

PUBLISHED = {
    "sizes": {"train": 5000, "val": 1000, "test": 1000},
    "seeds": {"train": 42, "val": 41, "test": 40},
    "radius_small": 0.1,
    "radius_big": 0.5,
}
SMALL = {**PUBLISHED, "sizes": {"train": 60, "val": 30, "test": 20}}


@pytest.fixture(scope="module")
def published():
    return YinYang(**PUBLISHED)


def test_the_first_point_is_the_published_one(published):
    split = published.splits["train"]
    expected = torch.tensor([0.680308, 0.450499, 0.319692, 0.549501])
    torch.testing.assert_close(split.values[0], expected, atol=5e-7, rtol=0)
    assert split.labels[0] == 2


@pytest.mark.parametrize(
    ("stage", "counts"),
    [("train", [1681, 1702, 1617]), ("val", [316, 336, 348]), ("test", [350, 316, 334])],
)
def test_class_counts_are_the_published_ones(published, stage, counts):
    split = published.splits[stage]
    assert split.labels.bincount().tolist() == counts
    assert len(split) == sum(counts)
    assert len(split.values.unique(dim=0)) == sum(counts)


@pytest.mark.parametrize(
    ("x", "y", "label"),
    [
        (0.25, 0.5, 2),  # the centres of the dots
        (0.75, 0.5, 2),
        (0.75, 0.59, 2),
        (0.75, 0.61, 0),  # the right head belongs to the lower half
        (0.75, 0.7, 0),
        (0.25, 0.39, 1),  # the left head to the upper one
        (0.25, 0.3, 1),
        (0.5, 0.9, 1),  # the upper half, above the heads
        (0.25, 0.7, 1),
        (0.5, 0.1, 0),  # the lower half, below the heads
        (0.75, 0.3, 0),
    ],
)
def test_classes_at_hand_picked_points(published, x, y, label):
    assert classify(x, y, published.radius_small, published.radius_big) == label
    assert published.class_names[label] == ("yin", "yang", "dot")[label]


def test_sizes_seeds_and_radii_can_be_changed():
    small, same = YinYang(**SMALL), YinYang(**SMALL)
    other = YinYang(**{**SMALL, "seeds": {"train": 1, "val": 41, "test": 40}})
    assert [len(split) for split in small.splits.values()] == [60, 30, 20]
    assert torch.equal(small.splits["train"].values, same.splits["train"].values)
    assert not torch.equal(small.splits["train"].values, other.splits["train"].values)
    assert torch.equal(small.splits["val"].values, other.splits["val"].values)


def test_the_symbol_scales_with_its_radii():
    split = YinYang(**{**SMALL, "radius_small": 0.02, "radius_big": 0.3}).splits["train"]
    values, labels = split.values, split.labels
    x, y = values[:, 0], values[:, 1]
    torch.testing.assert_close(values[:, 2:], 1 - values[:, :2])
    assert (torch.hypot(x - 0.3, y - 0.3) <= 0.3 + 1e-6).all()
    centre = torch.where(x > 0.3, 0.45, 0.15)
    assert ((torch.hypot(x - centre, y - 0.3) <= 0.02 + 1e-6) == (labels == 2)).all()


def test_grid_covers_the_plane():
    values, inside, extent = YinYang(**SMALL).grid(3)
    assert extent == (0, 1, 0, 1)
    xs, ys = values[:, 0].tolist(), values[:, 1].tolist()
    assert (xs, ys) == ([0, 0.5, 1] * 3, [0, 0, 0, 0.5, 0.5, 0.5, 1, 1, 1])
    torch.testing.assert_close(values[:, 2:], 1 - values[:, :2])
    cross = [False, True, False, True, True, True, False, True, False]
    assert inside.tolist() == cross
    values, inside, extent = YinYang(**{**SMALL, "radius_big": 0.3}).grid(3)
    assert values[-1].tolist() == pytest.approx([0.6, 0.6, 0.4, 0.4])
    assert (extent, inside.tolist()) == ((0, 0.6, 0, 0.6), cross)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"radius_small": 0.25}, "radius_small: 0.25"),
        ({"radius_small": 0.0}, "radius_small: 0.0"),
        ({"radius_big": 0.6}, "radius_big: 0.6"),
        ({"sizes": {"train": 0, "val": 1, "test": 1}}, r"sizes\.train: 0"),
        ({"seeds": {"train": 0, "val": -1, "test": 1}}, r"seeds\.val: -1"),
        ({"seeds": {"train": 2**32, "val": 1, "test": 1}}, r"seeds\.train: 4294967296"),
        ({"sizes": {"train": 1, "val": 1}}, "sizes"),
        ({"seeds": {"train": 1, "val": 1, "test": 1, "tset": 1}}, "seeds"),
    ],
    ids=str,
)
def test_refusals_name_the_argument_first(change, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        YinYang(**{**SMALL, **change})
