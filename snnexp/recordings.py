"""Recorded events before they lie on a time grid: compact, indexed by batch."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float16, Int, Int16
from torch import Tensor

from snnexp.inputs import Tensors, sent


@dataclass(frozen=True)
class Recordings(Tensors):
    """A batch of recordings as flat arrays, one entry an event.

    time: in s; -inf for an event that was lost. channel, sample: counted from 0.
    is_training: whether they may be augmented. label: the samples' classes, where they are known.
    """

    time: Float[Tensor, " event"]
    channel: Int[Tensor, " event"]
    sample: Int[Tensor, " event"]
    batch_size: int
    num_channels: int
    is_training: bool
    label: Int[Tensor, " sample"] | None = None


@dataclass(frozen=True)
class Words:
    """Recordings that are indexed by batch: 4 bytes an event, which may lie in a mapped file.

    time: in s, as published in half precision. first: of each recording of the file its first
    event, and the number of all events. chosen: the recordings that are meant, in this order.
    label: of each recording of the file its class, where it is known.
    """

    time: Float16[np.ndarray, " event"]
    channel: Int16[np.ndarray, " event"]
    first: Int[np.ndarray, " bound"]
    chosen: Int[np.ndarray, " recording"]
    num_channels: int
    is_training: bool
    label: Int[np.ndarray, " word"] | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def nbytes(self) -> int:
        """Of the events."""
        return self.time.nbytes + self.channel.nbytes

    def to(self, device: torch.device | str) -> "WordsOnDevice":
        """The same with the events in the memory of `device`."""
        time, channel = (torch.from_numpy(part.copy()) for part in (self.time, self.channel))
        return WordsOnDevice(self, time.to(device), channel.to(device))

    def numbers(self, index: slice | Tensor) -> Int[np.ndarray, " recording"]:
        """Which recordings of the file these are."""
        return self.chosen[index if isinstance(index, slice) else index.numpy()]

    def __getitem__(self, index: slice | Tensor) -> Recordings:
        words = self.numbers(index)
        parts = [slice(a, b) for a, b in zip(self.first[words], self.first[words + 1], strict=True)]
        sizes = torch.from_numpy(self.first[words + 1] - self.first[words])
        return Recordings(
            torch.from_numpy(_take(self.time, parts)).float(),
            torch.from_numpy(_take(self.channel, parts)).int(),
            torch.arange(len(words), dtype=torch.int32).repeat_interleave(sizes),
            len(words),
            self.num_channels,
            self.is_training,
            None if self.label is None else torch.from_numpy(self.label[words]),
        )


@dataclass(frozen=True)
class WordsOnDevice:
    """`Words` whose batches are made where the events lie; the host never waits for them.

    time, channel: those of `words`.
    """

    words: Words
    time: Float16[Tensor, " event"]
    channel: Int16[Tensor, " event"]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def nbytes(self) -> int:
        """Of the events."""
        return self.words.nbytes

    def to(self, device: torch.device | str) -> "WordsOnDevice":
        """The same in the memory of `device`."""
        return WordsOnDevice(self.words, self.time.to(device), self.channel.to(device))

    def __getitem__(self, index: slice | Tensor) -> Recordings:
        own, device = self.words, self.time.device
        chosen = own.numbers(index)
        start, size = own.first[chosen], own.first[chosen + 1] - own.first[chosen]
        total = int(size.sum())
        shift = start - (np.cumsum(size) - size)
        shifts, sizes = sent(torch.from_numpy(np.stack([shift, size])), device)
        sample = torch.arange(len(chosen), dtype=torch.int32, device=device)
        place = torch.arange(total, device=device)
        place += shifts.repeat_interleave(sizes, output_size=total)
        return Recordings(
            self.time[place].float(),
            self.channel[place].int(),
            sample.repeat_interleave(sizes, output_size=total),
            len(chosen),
            own.num_channels,
            own.is_training,
            None if own.label is None else sent(torch.from_numpy(own.label[chosen]), device),
        )


def _take(values: np.ndarray, parts: list[slice]) -> np.ndarray:
    return np.concatenate([values[part] for part in parts]) if parts else values[:0].copy()
