"""Values as the times of single spikes."""

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.checks import require, require_positive, require_whole
from snnexp.encoders.encoder import Encoder
from snnexp.inputs import Dense, Events


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
