"""MNIST: what is refused without the data, and what the real data become."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from snnexp.datasets import MNIST, as_floats
from snnexp.datasets import mnist as module
from snnexp.datasets.mnist import FILES
from snnexp.randomness import generator

REAL = os.environ.get("SNNEXP_DATA")
LABELS = "t10k-labels-idx1-ubyte"


def mnist(**changes):
    settings = {
        "root": None,
        "download": False,
        "val_share": 0.08,
        "val_seed": None,
        "fraction": 1.0,
        "size": 28,
        "threshold": 0.0,
    }
    return MNIST(**settings | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_share": 0.0}, r"^val_share: 0\.0; it must lie between"),
        ({"fraction": 1.5}, r"^fraction: 1\.5; it must be above 0"),
        ({"size": 32}, r"^size: 32 pixels; it must be at most 28"),
        ({"threshold": 2.0}, r"^threshold: 2\.0; it must lie between 0 and 1"),
        ({}, r"^root: .*/MNIST/raw lacks train-images-idx3-ubyte, .* name with dataset\.root"),
    ],
)
def test_bad_values_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        mnist(**{"root": str(tmp_path)} | changes)


def number_of(split):
    """The first pixel of each made image is its place in the file."""
    return split.values[:, 0].tolist()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """50 training and 4 test images in the official layout, whose checksums count as known."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    sums = {}
    for part, total, first in (("train", 50, 0), ("t10k", 4, 100)):
        images = np.zeros((total, 28, 28), np.uint8)
        images[:, 0, 0] = np.arange(total) + first
        images[:, 1, 2:4] = 50, 51
        labels = (np.arange(total) % 10).astype(np.uint8)
        for kind, head, values in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            name, data = f"{part}-{kind}-ubyte", bytes(head) + values.tobytes()
            (folder / name).write_bytes(data)
            sums[name] = len(data), hashlib.md5(data, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(module, "FILES", sums)
    return tmp_path


def test_the_last_training_images_validate(made):
    data = mnist(root=str(made), val_share=0.1)
    assert number_of(data.splits["train"]) == list(range(45))
    assert number_of(data.splits["val"]) == list(range(45, 50))
    assert number_of(data.splits["test"]) == list(range(100, 104))
    for split in data.splits.values():
        assert split.labels.tolist() == [number % 10 for number in number_of(split)]
    assert data.splits["test"].values[0, 28 + 2 : 28 + 4].tolist() == [50, 51]


def test_images_that_validate_are_drawn_by_a_seed_of_their_own(made):
    for seed in (1, 2):
        order = torch.randperm(50, generator=generator(seed, 0, "validation")).tolist()
        data = mnist(root=str(made), val_share=0.1, val_seed=seed)
        assert number_of(data.splits["train"]) == order[:45]
        assert number_of(data.splits["val"]) == order[45:]


@pytest.mark.parametrize("val_seed", [None, 1])
def test_a_fraction_is_of_what_is_trained_on_and_always_the_same(made, val_seed):
    whole, part, again = (
        mnist(root=str(made), val_share=0.1, val_seed=val_seed, fraction=fraction).splits
        for fraction in (1.0, 0.2, 0.2)
    )
    share = torch.randperm(45, generator=generator(0, 0, "fraction"))[:9].tolist()
    every = number_of(whole["train"])
    for splits in (part, again):
        assert number_of(splits["train"]) == [every[place] for place in share]
    assert number_of(part["val"]) == number_of(whole["val"])


def test_pixels_below_a_threshold_are_0(made):
    """0.2 is 51 of 255."""
    values = mnist(root=str(made), threshold=0.2).splits["train"].values
    assert values[0].nonzero().flatten().tolist() == [28 + 3]


def test_smaller_images_are_rounded_means_of_areas():
    """Of the first area (1, 1, 1, 0) the mean is 0.75, of the next one (255, 255, 255, 252)."""
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    images[1, :2, :4] = torch.tensor([[1, 1, 255, 255], [1, 0, 255, 252]])
    small = module._prepare(images, 14, 0.0)
    assert (small.dtype, small.shape) == (torch.uint8, (2, 196))
    assert small[1, :3].tolist() == [1, 254, 0] and not small[0].any()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:-1], rf"{LABELS} has 11 bytes instead of 12; remove it"),
        (lambda data: data[:-1] + b"\x0b", rf"{LABELS} has md5 .* instead of "),
    ],
    ids=["truncated", "foreign"],
)
def test_a_spoilt_made_file_is_refused_by_name(made, spoil, message):
    path = made / "MNIST" / "raw" / LABELS
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        mnist(root=str(made))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:-1], rf"{LABELS} has 10007 bytes instead of 10008; .*"),
        (lambda data: data[:-1] + b"\x0b", rf"{LABELS} has md5 .* instead of {FILES[LABELS][1]}"),
    ],
    ids=["truncated", "foreign"],
)
@pytest.mark.data
@pytest.mark.skipif(REAL is None, reason="SNNEXP_DATA is not set")
def test_a_spoilt_file_is_refused_by_name(tmp_path, spoil, message):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).symlink_to(Path(str(REAL)).resolve() / "MNIST" / "raw" / name)
    path = folder / LABELS
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(spoil(data))
    with pytest.raises(ValueError, match=message):
        mnist(root=str(tmp_path))
    shutil.rmtree(folder)


@pytest.mark.data
@pytest.mark.skipif(REAL is None, reason="SNNEXP_DATA is not set")
def test_the_splits():
    """Published counts of digits, in the training files 5923 zeros and in the test files 980."""
    data = mnist()
    sizes = {stage: len(split) for stage, split in data.splits.items()}
    assert sizes == {"train": 55_200, "val": 4_800, "test": 10_000}
    zeros = {stage: int((split.labels == 0).sum()) for stage, split in data.splits.items()}
    assert (zeros["train"] + zeros["val"], zeros["test"]) == (5923, 980)
    values = data.splits["train"].values
    assert (values.dtype, values.shape[1]) == (torch.uint8, 784)
    assert as_floats(values[:100]).max() == 1

    drawn = mnist(val_seed=1, fraction=0.5)
    assert len(drawn.splits["train"]) == 27_600
    assert not torch.equal(drawn.splits["val"].values, data.splits["val"].values)
    assert torch.equal(drawn.splits["test"].values, data.splits["test"].values)


@pytest.mark.data
@pytest.mark.skipif(REAL is None, reason="SNNEXP_DATA is not set")
def test_smaller_images_are_means_of_areas_and_thresholds_cut():
    """14 x 14: each pixel is the mean of four, to within rounding."""
    full, half = mnist().splits["test"].values, mnist(size=14, threshold=0.5).splits["test"].values
    means = full.view(-1, 14, 2, 14, 2).float().mean((2, 4)).flatten(1)
    kept = half > 0
    assert kept.any() and (half[kept] >= 127.5).all()
    assert ((half.float() - means).abs()[kept] <= 0.5).all()
    assert (means[~kept] < 128).all()
    assert mnist(size=16).shape == (1, 16, 16)
