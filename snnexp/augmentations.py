"""Changes of training recordings, drawn anew for each batch: `augmentation(recordings, generator)`.

Channels are those of the run, behind the pooling. Events that leave the
channels are lost, those that leave the time grid are cut with the binning.
"""

from dataclasses import replace

import torch
from torch import Tensor

from snnexp.checks import require, require_between, require_positive, require_whole
from snnexp.recordings import Recordings


def _uniform(low: float, high: float, size: int, like: Tensor, rng: torch.Generator) -> Tensor:
    draws = torch.rand(size, generator=rng, device=like.device)
    return low + (high - low) * draws


def _whole(most: int, size: int, like: Tensor, rng: torch.Generator) -> Tensor:
    """Whole numbers from -most to most, each as likely."""
    draws = torch.randint(-most, most + 1, (size,), generator=rng, device=like.device)
    return draws.int()


def _keep(recordings: Recordings, kept: Tensor) -> Recordings:
    """The others are lost: marking them costs a tenth of taking them out."""
    return replace(recordings, time=recordings.time.where(kept, -torch.inf))


def _move(recordings: Recordings, channel: Tensor) -> Recordings:
    """The events in other channels; those outside are lost."""
    inside = (channel >= 0) & (channel < recordings.num_channels)
    return _keep(replace(recordings, channel=channel), inside)


class Roll:
    """All samples of a batch shifted by one number of channels, at most `channels`, round the end.

    As Spyx' shift_augment (Heckel & Nowotny 2024).
    """

    def __init__(self, *, channels: int):
        (self.channels,) = require_whole(0, channels=channels)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        shift = _whole(self.channels, 1, recordings.channel, generator)
        return replace(
            recordings, channel=(recordings.channel + shift).remainder(recordings.num_channels)
        )


class ChannelShift:
    """Each sample shifted by a number of channels of its own, at most `channels`."""

    def __init__(self, *, channels: int):
        (self.channels,) = require_whole(0, channels=channels)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        shift = _whole(self.channels, r.batch_size, r.channel, generator)
        return _move(r, r.channel + shift[r.sample.long()])


class ChannelJitter:
    """Each event moved by a normally distributed number of channels, rounded; `std` in channels."""

    def __init__(self, *, std: float):
        (self.std,) = require_positive(std=std)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        draws = torch.randn(len(r.time), generator=generator, device=r.time.device)
        return _move(r, r.channel + (draws * self.std).round().int())


class TimeShift:
    """Each sample shifted by a time of its own from U(-seconds, seconds)."""

    def __init__(self, *, seconds: float):
        (self.seconds,) = require_positive("s", seconds=seconds)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        shift = _uniform(-self.seconds, self.seconds, r.batch_size, r.time, generator)
        return replace(r, time=r.time + shift[r.sample.long()])


class TimeStretch:
    """Each sample's times multiplied by a factor of its own, log-uniform in [1 / most, most]."""

    def __init__(self, *, most: float):
        require(most > 1, f"most: {most!r}; it must be a number above 1")
        (self.most,) = require_positive(most=most)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        power = _uniform(-1, 1, r.batch_size, r.time, generator)
        return replace(r, time=r.time * (self.most**power)[r.sample.long()])


class Dropout:
    """Each event lost with `probability`."""

    def __init__(self, *, probability: float):
        (self.probability,) = require_between(0, 1, probability=probability)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        time = recordings.time
        draws = torch.rand(len(time), generator=generator, device=time.device)
        return _keep(recordings, draws >= self.probability)
