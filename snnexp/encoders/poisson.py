"""Values as rates of spikes that are drawn."""

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.checks import require, require_positive, require_whole
from snnexp.encoders.encoder import Encoder
from snnexp.inputs import Dense


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
