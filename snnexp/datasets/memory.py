"""Data sets that live in memory as tensors and are batched by indexing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from snnexp.inputs import sent
from snnexp.randomness import generator
from snnexp.recordings import Words, WordsOnDevice

STAGES = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """One part of a data set: values [sample, feature] in [0, 1] and labels [sample].

    Bytes stand for [0, 1] in steps of 1 / 255; a batch of them becomes floats on the device.
    Data sets of events have `Words` in the place of values.
    """

    values: (
        Float[Tensor, "sample feature"] | UInt8[Tensor, "sample feature"] | Words | WordsOnDevice
    )
    labels: Int[Tensor, " sample"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """The same in the memory of `device`, where batches of it are then made."""
        return Split(self.values.to(device), self.labels.to(device))


class IndexSampler(Sampler[Tensor]):
    """Yields one batch after another as tensors of indices.

    The order depends on (seed, epoch) alone if `shuffle`, else it is 0, 1, 2, ... Each of `ranks`
    processes takes every `ranks`-th batch entry of the same order, beginning with its `rank`; a
    shuffled order is filled up from its own start, so that all ranks take equally many steps.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.size, self.batch_size, self.shuffle = size, batch_size, shuffle
        self.seed, self.epoch, self.rank, self.ranks = seed, epoch, rank, ranks

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def order(self) -> Int[Tensor, " index"]:
        """This rank's indices in the order of the current epoch."""
        if not self.shuffle:
            return torch.arange(self.size)[self.rank :: self.ranks]
        rng = generator(self.seed, self.epoch, "order")
        order = torch.randperm(self.size, generator=rng)
        share = -(-self.size // self.ranks) * self.ranks
        return order.repeat(self.ranks)[:share][self.rank :: self.ranks]

    def __iter__(self) -> Iterator[Tensor]:
        order = self.order()
        if len(order):
            yield from order.split(self.batch_size)

    def __len__(self) -> int:
        share = (self.size - self.rank + self.ranks - 1) // self.ranks
        if self.shuffle:
            share = -(-self.size // self.ranks)
        return -(-share // self.batch_size)


class _Batches(Dataset[tuple[Any, Tensor]]):
    """Indexed with a tensor of indices, gives a batch."""

    def __init__(self, split: Split):
        self.split = split

    def __getitem__(self, index: Tensor) -> tuple[Any, Tensor]:
        values, labels = self.split.values, self.split.labels
        there = sent(index, labels.device)
        return values[there if isinstance(values, Tensor) else index], labels[there].long()

    def __len__(self) -> int:
        return len(self.split)


def _as_it_is(batch: Any) -> Any:
    return batch


def as_floats(values: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Values of a `Split` as a network takes them."""
    return values.to(dtype) / 255 if values.dtype == torch.uint8 else values.to(dtype)


class MemoryDataset:
    """A data set of three splits in memory; subclasses set the attributes and fill `splits`.

    shape: (channel, height, width) of images, whose features are in that order; else None.
    """

    num_features: int
    shape: tuple[int, int, int] | None = None
    num_classes: int
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    yields = "values"
    speakers: dict[str, Tensor] | None = None
    """Who spoke, [sample] by split, where that is known."""
    source: str | None = None
    """Which of several known versions of the data this is."""

    def loader(
        self,
        stage: str,
        batch_size: int,
        *,
        seed: int,
        epoch: int = 0,
        rank: int = 0,
        ranks: int = 1,
        split: Split | None = None,
    ) -> DataLoader:
        """Batches (values, labels) of `stage`; the training split is shuffled by (seed, epoch).

        split: a copy of this stage's, such as one on a device.
        """
        split = split or self.splits[stage]
        sampler = IndexSampler(
            len(split),
            batch_size,
            shuffle=stage == "train",
            seed=seed,
            epoch=epoch,
            rank=rank,
            ranks=ranks,
        )
        return DataLoader(_Batches(split), batch_size=None, sampler=sampler, collate_fn=_as_it_is)
