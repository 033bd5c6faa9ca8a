"""Recorded events on the run's time grid."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from snnexp.augmentations import OfImages
from snnexp.checks import require, require_choice, require_positive, require_whole
from snnexp.encoders.encoder import Encoder
from snnexp.inputs import Dense
from snnexp.recordings import Recordings

Augmentation = Callable[[Recordings, torch.Generator], Recordings]


class EventGrid(Encoder):
    """Recordings on the run's time grid, in `channels` channels.

    Of N recorded channels number c belongs to floor(c channels / N). An event at time t falls into
    step floor(t / dt); what lies beyond the last step is cut, what is shorter is padded by silence.
    values: `binary`, 1 where a bin has events, or `counts`, how many.
    augment: what is done to training recordings, one after another, behind the pooling.
    """

    accepts = "recordings"

    def __init__(
        self,
        *,
        num_features: int,
        dt: float,
        steps: int,
        channels: int,
        values: str,
        augment: Mapping[str, Augmentation],
    ):
        (self.dt,) = require_positive("s", dt=dt)
        (self.steps, self.num_channels) = require_whole(1, steps=steps, channels=channels)
        (self.values,) = require_choice(("binary", "counts"), values=values)
        require(
            channels <= num_features,
            f"channels: {channels!r}; the recordings have {num_features}, and pooling only merges",
        )
        for name, change in augment.items():
            require(
                not isinstance(change, OfImages),
                f"augment.{name}: {type(change).__name__} changes images, and these are recorded "
                "events; choose for example encoder/augment=[roll]",
            )
        self.augment = augment

    def __call__(self, values: Recordings, generator: torch.Generator | None = None) -> Dense:
        pooled = self.pool(values)
        if pooled.is_training:
            generator = generator or torch.Generator(pooled.time.device).manual_seed(0)
            for change in self.augment.values():
                pooled = change(pooled, generator)
        return self.bin(pooled)

    def pool(self, recordings: Recordings) -> Recordings:
        """The same events in fewer channels."""
        if recordings.num_channels == self.num_channels:
            return recordings
        of = recordings.channel
        every = torch.arange(recordings.num_channels, dtype=of.dtype, device=of.device)
        pooled = every * self.num_channels // recordings.num_channels  # looked up: divisions cost
        channel = pooled.index_select(0, of)
        return replace(recordings, channel=channel, num_channels=self.num_channels)

    def bin(self, recordings: Recordings) -> Dense:
        """One pass over the events; those off the grid go to a place behind it."""
        r = recordings
        step = torch.floor(r.time * (1 / self.dt)).long()
        place = (step * r.batch_size + r.sample).mul_(r.num_channels).add_(r.channel)
        size = self.steps * r.batch_size * r.num_channels
        place = torch.where((step >= 0) & (step < self.steps), place, size)
        grid = torch.zeros(size + 1, device=r.time.device)
        if self.values == "binary":
            grid.index_fill_(0, place, 1.0)
        else:
            grid.index_add_(0, place, grid.new_ones(1).expand(len(place)))
        return Dense(grid[:-1].view(self.steps, r.batch_size, r.num_channels))
