"""MNIST: what is refused without the data, and what the real data become."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from snnexp.datasets import MNIST, as_floats
from snnexp.datasets.mnist import FILES

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
