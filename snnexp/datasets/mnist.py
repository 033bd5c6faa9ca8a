"""MNIST: 70,000 handwritten digits (LeCun, Cortes & Burges)."""

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.nn import functional

from snnexp.checks import require, require_between, require_whole
from snnexp.datasets.memory import MemoryDataset, Split
from snnexp.randomness import generator

FILES = {
    "train-images-idx3-ubyte": (47040016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7840016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10008, "27ae3e4e09519cfbb04c329615203637"),
}
"""The official files, uncompressed: bytes and md5."""

PUBLISHED = 28
"""Pixels a side."""


class MNIST(MemoryDataset):
    """Images [sample, pixel] as uint8, row by row, which stand for [0, 1] in steps of 1 / 255.

    root: folder that holds MNIST/raw, torchvision's layout; None for the environment's SNNEXP_DATA,
    else `data`. download: fetch what is missing there, by torchvision.
    val_share: the part of the 60,000 training images that validates: the last ones, as in
    snnTorch's Optuna tutorial, or with a `val_seed` drawn by it. fraction: the part of the
    remaining ones that is trained on, drawn once and for all.
    size: pixels a side, 28 as published or fewer, by averaging areas. threshold: pixels below it
    are 0, in [0, 1], after resizing.
    Raises ValueError for files that are missing, truncated or others than the official ones.
    """

    num_classes = 10
    class_names = tuple("0123456789")

    def __init__(
        self,
        *,
        root: str | None,
        download: bool,
        val_share: float,
        val_seed: int | None,
        fraction: float,
        size: int,
        threshold: float,
    ):
        require(0 < val_share < 1, f"val_share: {val_share!r}; it must lie between 0 and 1")
        require(0 < fraction <= 1, f"fraction: {fraction!r}; it must be above 0 and at most 1")
        require_between(0, 1, threshold=threshold)
        require_whole(1, size=size)
        require(size <= PUBLISHED, f"size: {size!r} pixels; it must be at most {PUBLISHED}")
        self.shape = (1, size, size)
        self.num_features = size * size
        folder = _find(root, download)
        images, labels = _read(folder, "train")
        chosen, held_out = _divide(len(labels), val_share, val_seed, fraction)
        test_images, test_labels = _read(folder, "t10k")
        parts = {
            "train": (images[chosen], labels[chosen]),
            "val": (images[held_out], labels[held_out]),
            "test": (test_images, test_labels),
        }
        self.splits = {
            stage: Split(_prepare(values, size, threshold), numbers)
            for stage, (values, numbers) in parts.items()
        }


def _divide(
    total: int, val_share: float, val_seed: int | None, fraction: float
) -> tuple[Int[Tensor, " chosen"], Int[Tensor, " held_out"]]:
    """Indices of the training and of the validation samples."""
    order = torch.arange(total)
    if val_seed is not None:
        order = torch.randperm(total, generator=generator(val_seed, 0, "validation"))
    rest = total - round(val_share * total)
    chosen, held_out = order[:rest], order[rest:]
    require(len(held_out) > 0 and rest > 0, f"val_share: {val_share!r} leaves one split empty")
    if fraction < 1:
        share = torch.randperm(rest, generator=generator(0, 0, "fraction"))[
            : round(fraction * rest)
        ]
        require(len(share) > 0, f"fraction: {fraction!r} of {rest} samples leaves none")
        chosen = chosen[share]
    return chosen, held_out


def _prepare(
    images: UInt8[Tensor, "sample height width"], size: int, threshold: float
) -> UInt8[Tensor, "sample pixel"]:
    if size != PUBLISHED:
        parts = images[:, None].split(10_000)
        resized = [functional.interpolate(part.float(), size=size, mode="area") for part in parts]
        images = torch.cat([part.round().byte() for part in resized])[:, 0]
    flat = images.flatten(1)
    return flat if threshold == 0 else flat.where(flat >= threshold * 255, torch.zeros_like(flat))


def _find(root: str | None, download: bool) -> Path:
    """The folder of the four files; they are fetched where one is missing and may be."""
    base = Path(root or os.environ.get("SNNEXP_DATA") or "data")
    folder = base / "MNIST" / "raw"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if not missing:
        return folder
    way_out = "put the official idx files there, or name with dataset.root where they lie"
    require(download, f"root: {folder} lacks {', '.join(missing)}; {way_out}, or allow download")
    from torchvision.datasets import MNIST as Torchvision

    try:
        Torchvision(str(base), download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"root: {folder} lacks {', '.join(missing)}, and downloading failed ({error}); "
            f"{way_out}"
        ) from error
    return folder


def _read(
    folder: Path, part: str
) -> tuple[UInt8[Tensor, "sample height width"], Int[Tensor, " sample"]]:
    """Images and labels of one part, `train` or `t10k`."""
    images = _bytes(folder / f"{part}-images-idx3-ubyte")[16:].reshape(-1, PUBLISHED, PUBLISHED)
    labels = _bytes(folder / f"{part}-labels-idx1-ubyte")[8:]
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def _bytes(path: Path) -> np.ndarray:
    """A file's bytes, behind a check of its size and checksum."""
    size, checksum = FILES[path.name]
    found = path.stat().st_size
    way_out = "remove it, so that it is fetched again, or replace it by the official one"
    require(found == size, f"root: {path} has {found} bytes instead of {size}; {way_out}")
    data = path.read_bytes()
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    require(digest == checksum, f"root: {path} has md5 {digest} instead of {checksum}; {way_out}")
    return np.frombuffer(bytearray(data), dtype=np.uint8)
