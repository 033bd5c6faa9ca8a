"""Changes of training data, drawn anew for each batch: `augmentation(data, generator)`.

Of recordings channels are those of the run, behind the pooling. Events that leave the
channels are lost, those that leave the time grid are cut with the binning.
Of images [batch, channel, height, width] each gets draws of its own; what comes in from outside
is 0.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

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


class OfRecordings:
    """What changes recordings."""


class OfImages:
    """What changes images."""


class Roll(OfRecordings):
    """All samples of a batch shifted by one number of channels, at most `channels`, round the end.

    As Spyx' shift_augment (Heckel & Nowotny 2024).
    """

    def __init__(self, *, channels: int):
        (self.channels,) = require_whole(0, channels=channels)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        shift = _whole(self.channels, 1, r.channel, generator)
        every = torch.arange(r.num_channels, dtype=shift.dtype, device=shift.device)
        moved = (every + shift).remainder(r.num_channels)
        inside = r.channel.clamp(0, r.num_channels - 1)  # lost events may lie anywhere
        return replace(r, channel=moved.index_select(0, inside))


class ChannelShift(OfRecordings):
    """Each sample shifted by a number of channels of its own, at most `channels`."""

    def __init__(self, *, channels: int):
        (self.channels,) = require_whole(0, channels=channels)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        shift = _whole(self.channels, r.batch_size, r.channel, generator)
        return _move(r, r.channel + shift[r.sample.long()])


class _Stretch(OfRecordings):
    """A factor for each sample, log-uniform in [1 / most, most]."""

    def __init__(self, *, most: float):
        require(most > 1, f"most: {most!r}; it must be a number above 1")
        (self.most,) = require_positive(most=most)

    def factors(self, r: Recordings, generator: torch.Generator) -> Float[Tensor, " event"]:
        """Each event's, that of its sample."""
        power = _uniform(-1, 1, r.batch_size, r.time, generator)
        return (self.most**power)[r.sample.long()]


class ChannelStretch(_Stretch):
    """Each sample's channels multiplied by a factor of its own, log-uniform in [1 / most, most].

    About their middle. An event lies anywhere within its channel, so that channels that grow apart
    leave no gaps. After the warped frequencies of Jaitly & Hinton 2013.
    """

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        factor = self.factors(r, generator)
        within = torch.rand(len(r.time), generator=generator, device=r.time.device)
        middle = r.num_channels / 2
        place = (r.channel + within - middle) * factor + middle
        return _move(r, place.floor().int())


class ChannelJitter(OfRecordings):
    """Each event moved by a normally distributed number of channels, rounded; `std` in channels."""

    def __init__(self, *, std: float):
        (self.std,) = require_positive(std=std)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        draws = torch.randn(len(r.time), generator=generator, device=r.time.device)
        return _move(r, r.channel + (draws * self.std).round().int())


class TimeShift(OfRecordings):
    """Each sample shifted by a time of its own from U(-seconds, seconds)."""

    def __init__(self, *, seconds: float):
        (self.seconds,) = require_positive("s", seconds=seconds)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        shift = _uniform(-self.seconds, self.seconds, r.batch_size, r.time, generator)
        return replace(r, time=r.time + shift[r.sample.long()])


class TimeStretch(_Stretch):
    """Each sample's times multiplied by a factor of its own, log-uniform in [1 / most, most]."""

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        return replace(recordings, time=recordings.time * self.factors(recordings, generator))


class Dropout(OfRecordings):
    """Each event lost with `probability`."""

    def __init__(self, *, probability: float):
        (self.probability,) = require_between(0, 1, probability=probability)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        time = recordings.time
        draws = torch.rand(len(time), generator=generator, device=time.device)
        return _keep(recordings, draws >= self.probability)


class Blend(OfRecordings):
    """Samples blended with another of their class in the batch (Nowotny, Turner & Knight 2022).

    share: of the samples, which are blended; an only one of its class stays as it is. The other one
    is shifted to the sample's centre of mass, in time and in whole channels, and each event of both
    is kept with the probability `kept`.
    """

    def __init__(self, *, share: float, kept: float):
        self.share, self.kept = require_between(0, 1, share=share, kept=kept)

    def __call__(self, recordings: Recordings, generator: torch.Generator) -> Recordings:
        r = recordings
        require(r.label is not None, "augment: blend takes recordings whose classes are known")
        assert r.label is not None
        partner = _partners(r.label, generator)
        everyone = torch.arange(r.batch_size, device=partner.device)
        taker = torch.empty_like(partner)
        taker[partner] = everyone
        blended = torch.rand(r.batch_size, generator=generator, device=r.time.device) < self.share
        time, channel, events = _centres(r)
        blended &= (partner != everyone) & (events > 0) & (events[partner] > 0)
        own = r.sample.long()
        other = taker[own]
        kept = torch.rand(2 * len(own), generator=generator, device=r.time.device) < self.kept
        moved = r.time + time[other] - time[own]
        shift = (channel[other] - channel[own]).round().to(r.channel)
        both = replace(
            r,
            time=torch.cat([r.time, moved.where(blended[other], -torch.inf)]),
            channel=torch.cat([r.channel, r.channel + shift]),
            sample=torch.cat([r.sample, other.to(r.sample)]),
        )
        return _move(_keep(both, kept | ~blended[both.sample.long()]), both.channel)


def _partners(label: Tensor, rng: torch.Generator) -> Tensor:
    """Of each sample another one of its class, each of one; of an only one itself."""
    order = torch.randperm(len(label), generator=rng, device=label.device)
    order = order[label[order].argsort(stable=True)]
    grouped = label[order]
    last = grouped != grouped.roll(-1)
    last[-1:] = True
    first = order[torch.searchsorted(grouped, grouped)]  # of its class
    partner = torch.empty_like(order)
    partner[order] = torch.where(last, first, order.roll(-1))
    return partner


def _centres(r: Recordings) -> tuple[Tensor, Tensor, Tensor]:
    """Each sample's mean time and channel, and its events; those that are lost do not count."""
    there, sample = r.time.isfinite(), r.sample.long()
    sums = torch.zeros(3, r.batch_size, device=r.time.device)
    values = torch.stack([r.time.where(there, 0), r.channel.where(there, 0).float(), there.float()])
    sums.index_add_(1, sample, values)
    events = sums[2]
    return sums[0] / events.clamp(min=1), sums[1] / events.clamp(min=1), events


Images = Float[Tensor, "batch channel height width"]


class Affine(OfImages):
    """Each image zoomed, turned about its centre and shifted, by one bilinear interpolation.

    shift: pixels at most, each way, uniform. rotation: degrees at most, either way, uniform.
    zoom: the largest factor, log-uniform in [1 / zoom, zoom].
    """

    def __init__(self, *, shift: float, rotation: float, zoom: float):
        (self.shift,) = require_between(0, 1000, shift=shift)
        (self.rotation,) = require_between(0, 180, rotation=rotation)
        (self.zoom,) = require_between(1, 10, zoom=zoom)

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        height, width = images.shape[2:]
        across, down, turn, power = (
            _uniform(-1, 1, len(images), images, generator).to(images) for _ in range(4)
        )
        angle, factor = turn * math.radians(self.rotation), self.zoom**-power
        along, over = angle.cos() * factor, angle.sin() * factor
        x, y = 2 * self.shift * across / width, 2 * self.shift * down / height  # sides are 2 long
        rows = [along, -over * height / width, x, over * width / height, along, y]
        grid = functional.affine_grid(
            torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False
        )
        return _sampled(images, grid)


class Elastic(OfImages):
    """Each image distorted by a smooth field of displacements (after Simard et al. 2003).

    pixels: standard deviation of the displacements at the nodes, each way. nodes: of the field, a
    side; between them it is interpolated bicubically.
    """

    def __init__(self, *, pixels: float, nodes: int):
        (self.pixels,) = require_positive(pixels=pixels)
        (self.nodes,) = require_whole(2, nodes=nodes)

    def __call__(self, images: Images, generator: torch.Generator) -> Images:
        batch, _, *sides = images.shape
        shape = (batch, 2, self.nodes, self.nodes)
        draws = torch.randn(shape, generator=generator, device=images.device).to(images)
        field = functional.interpolate(draws, sides, mode="bicubic", align_corners=True)
        down, across = sides
        x, y = field[:, 0] * (2 * self.pixels / across), field[:, 1] * (2 * self.pixels / down)
        still = torch.eye(2, 3, dtype=images.dtype, device=images.device).expand(batch, 2, 3)
        grid = functional.affine_grid(still, list(images.shape), align_corners=False)
        return _sampled(images, grid + torch.stack([x, y], -1))


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    """The images at the places [batch, height, width, 2] of `grid`."""
    return functional.grid_sample(images, grid, align_corners=False)
