"""Encoders: a data set's values [batch, feature] to a network's inputs.

Called as `encoder(values, generator)`; only encoders that draw use the generator.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.augmentations import OfImages, OfRecordings
from snnexp.checks import require, require_choice, require_positive, require_whole
from snnexp.inputs import Dense, Events, Inputs, Static
from snnexp.recordings import Recordings


class Encoder:
    """`accepts` what a data set yields: `values`, `spikes` or `recordings`.

    num_channels: how many leave it. spikes: whether they leave it as spikes, or as values that are
    the same at each step. alters: whether training values are changed before they are encoded.
    """

    accepts = "values"
    spikes = True
    num_channels: int
    alters = False

    def __call__(self, values: Any, generator: torch.Generator | None = None) -> Inputs:
        """The network's inputs."""
        raise NotImplementedError

    def alter(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """A batch of training values as it is to be encoded."""
        return values

    def check(self, values: Any) -> None:
        """Raise ValueError for values that cannot be encoded; most encoders take all."""


class Latency(Encoder):
    """One spike a value: the higher the value, the later (or, with `inverse`, the earlier).

    t = t_early + x (t_late - t_early), with `inverse` t = t_late - x (t_late - t_early), in s, for
    x in [0, 1]; the spike falls on step round(t / dt), ties to even.
    t_bias: time in s of a last channel that always spikes; None for no such channel.
    threshold: values below it do not spike; None for no threshold.
    Raises ValueError for a time off the grid of `steps` steps of `dt` s, and for a value whose
    spike would fall off it.
    """

    def __init__(
        self,
        *,
        num_features: int,
        dt: float,
        steps: int,
        t_early: float,
        t_late: float,
        t_bias: float | None,
        inverse: bool,
        threshold: float | None,
    ):
        require_positive("s", dt=dt)
        require_whole(1, steps=steps)
        times = {"t_early": t_early, "t_late": t_late, "t_bias": t_bias}
        for name, time in times.items():
            require(time is None or time >= 0, f"{name}: {time!r} s; it must not be negative")
            require(
                time is None or round(time / dt) < steps,
                f"{name}: {time!r} s lies beyond the grid, whose last step begins at "
                f"{(steps - 1) * dt:.6g} s; lower it or raise time.steps",
            )
        require(
            t_early < t_late, f"t_early: {t_early!r} s; it must come before t_late = {t_late!r} s"
        )
        require(
            round(t_early / dt) < round(t_late / dt),
            f"t_late: {t_late!r} s falls into the same step of time.dt = {dt!r} s as t_early = "
            f"{t_early!r} s, so that all values would be the same; lower time.dt",
        )
        self.dt, self.steps, self.inverse, self.threshold = dt, steps, inverse, threshold
        self.t_early, self.t_late, self.t_bias = t_early, t_late, t_bias
        self.marks = {name: time for name, time in times.items() if time is not None}
        self.num_channels = num_features + (t_bias is not None)
        self.bias_channel = num_features

    def __call__(
        self, values: Float[Tensor, "batch feature"], generator: torch.Generator | None = None
    ) -> Events | Dense:
        step, spikes = self._steps(values)
        if values.device.type != "cpu":  # the host would wait to learn how many spike
            return self._grid(step, spikes)
        self._refuse_off_grid(values, step, spikes)
        sample, channel = spikes.nonzero(as_tuple=True)
        step = step[sample, channel]
        if self.t_bias is not None:
            every = torch.arange(len(values), device=values.device)
            step = torch.cat([step, torch.full_like(every, round(self.t_bias / self.dt))])
            sample = torch.cat([sample, every])
            channel = torch.cat([channel, torch.full_like(every, self.bias_channel)])
        return Events(step, sample, channel, self.steps, len(values), self.num_channels)

    def _grid(self, step: Tensor, spikes: Tensor) -> Dense:
        """Dense spikes; those that are none go to a step behind the last."""
        batch, features = step.shape
        channels = features + (self.t_bias is not None)
        grid = torch.zeros(self.steps + 1, batch, channels, device=step.device)
        grid[..., :features].scatter_(0, step.where(spikes, self.steps)[None], 1.0)
        if self.t_bias is not None:
            grid[round(self.t_bias / self.dt), :, self.bias_channel] = 1.0
        return Dense(grid[:-1])

    def _steps(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The step of each value's spike, and whether it spikes."""
        exact = values if values.device.type == "mps" else values.double()
        rise = exact * (self.t_late - self.t_early)
        time = self.t_late - rise if self.inverse else self.t_early + rise
        step = torch.round(time / self.dt).long()
        if self.threshold is None:
            return step, torch.ones_like(step, dtype=torch.bool)
        return step, values >= self.threshold

    def check(self, values: Float[Tensor, "batch feature"]) -> None:
        """Raise ValueError, naming the first, for values whose spikes fall off the grid."""
        self._refuse_off_grid(values, *self._steps(values))

    def _refuse_off_grid(self, values: Tensor, step: Tensor, spikes: Tensor) -> None:
        if step.numel():
            first, last = step.aminmax()
            if first >= 0 and last < self.steps:
                return
        off = spikes & ((step < 0) | (step >= self.steps))
        require(
            not off.any(),
            f"values: {values[off][:1].tolist()} would spike off the grid of {self.steps} steps; "
            "scale the data to [0, 1], or move t_early and t_late",
        )


class RepeatedLatency(Latency):
    """`Latency` with `repetitions` channels of each, the bias channel with them, copy after copy.

    A synapse of bounded weight then reaches further: its neuron hears the same spike several times.
    """

    def __init__(
        self,
        *,
        num_features: int,
        dt: float,
        steps: int,
        t_early: float,
        t_late: float,
        t_bias: float | None,
        inverse: bool,
        threshold: float | None,
        repetitions: int,
    ):
        super().__init__(
            num_features=num_features,
            dt=dt,
            steps=steps,
            t_early=t_early,
            t_late=t_late,
            t_bias=t_bias,
            inverse=inverse,
            threshold=threshold,
        )
        (self.repetitions,) = require_whole(1, repetitions=repetitions)
        self.once = self.num_channels
        self.num_channels *= repetitions

    def __call__(
        self, values: Float[Tensor, "batch feature"], generator: torch.Generator | None = None
    ) -> Events | Dense:
        events = super().__call__(values, generator)
        if isinstance(events, Dense):
            return Dense(events.spikes.repeat(1, 1, self.repetitions))
        copies = torch.arange(self.repetitions, device=events.step.device) * self.once
        channel = (events.channel[:, None] + copies).flatten()
        step, sample = (
            part.repeat_interleave(self.repetitions) for part in (events.step, events.sample)
        )
        return Events(step, sample, channel, self.steps, len(values), self.num_channels)


class Poisson(Encoder):
    """At each step a channel spikes with probability x max_rate dt, for x in [0, 1].

    max_rate in Hz, dt in s. A Bernoulli process on the grid, the Poisson process' usual stand-in.
    Raises ValueError where max_rate dt exceeds 1.
    """

    def __init__(self, *, num_features: int, dt: float, steps: int, max_rate: float):
        require_positive("s", dt=dt)
        require_positive("Hz", max_rate=max_rate)
        (self.steps,) = require_whole(1, steps=steps)
        require(
            max_rate * dt <= 1,
            f"max_rate: {max_rate!r} Hz is above one spike a step of time.dt = {dt!r} s; "
            f"lower it to at most {1 / dt:.6g} Hz, or lower time.dt",
        )
        self.probability = max_rate * dt
        self.num_channels = num_features

    def __call__(
        self, values: Float[Tensor, "batch feature"], generator: torch.Generator | None = None
    ) -> Dense:
        draws = torch.rand(
            self.steps, *values.shape, generator=generator, device=values.device, dtype=values.dtype
        )
        return Dense((draws < values * self.probability).to(values.dtype))


class Constant(Encoder):
    """The values themselves, scaled, as a current that is the same at each of `steps` steps."""

    spikes = False

    def __init__(self, *, num_features: int, steps: int, scale: float):
        (self.steps,) = require_whole(1, steps=steps)
        (self.scale,) = require_positive(scale=scale)
        self.num_channels = num_features

    def __call__(
        self, values: Float[Tensor, "batch feature"], generator: torch.Generator | None = None
    ) -> Static:
        return Static(values * self.scale, self.steps)


class Augmented(Encoder):
    """Training images changed by one augmentation after another, then encoded by another encoder.

    of: takes `num_features` and gives that encoder. augment: functions of images
    [batch, channel, height, width] and a generator. Other splits are encoded as they are.
    Raises ValueError for data that are no images.
    """

    alters = True

    def __init__(
        self,
        *,
        num_features: int,
        input_shape: tuple[int, int, int] | None,
        of: Callable[..., Encoder],
        augment: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]],
    ):
        require(
            input_shape is not None,
            "augment: the data are no images; choose another encoder, such as encoder=latency, or "
            "a data set of images, such as dataset=mnist",
        )
        for name, change in augment.items():
            require(
                not isinstance(change, OfRecordings),
                f"augment.{name}: {type(change).__name__} changes recorded events, and these are "
                "images; choose for example encoder/augment=[affine,elastic]",
            )
        self.of = of(num_features=num_features)
        self.accepts, self.spikes = self.of.accepts, self.of.spikes
        self.num_channels = self.of.num_channels
        self.input_shape, self.augment = input_shape, augment

    def alter(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """The training images [batch, feature], changed."""
        images = values.unflatten(1, self.input_shape or ())
        for change in self.augment.values():
            images = change(images, generator)
        return images.flatten(1)

    def __call__(
        self, values: Float[Tensor, "batch feature"], generator: torch.Generator | None = None
    ) -> Inputs:
        return self.of(values, generator)

    def check(self, values: Float[Tensor, "batch feature"]) -> None:
        self.of.check(values)


class NoEncoder(Encoder):
    """For data sets that yield spikes: passes them on."""

    accepts = "spikes"

    def __init__(self, *, num_features: int):
        self.num_channels = num_features

    def __call__(self, values: Inputs, generator: torch.Generator | None = None) -> Inputs:
        return values


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
