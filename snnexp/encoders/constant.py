"""Values as currents."""

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.checks import require_positive, require_whole
from snnexp.encoders.encoder import Encoder
from snnexp.inputs import Static


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
