"""What an encoder is, and the one that leaves a data set's spikes as they are."""

from typing import Any

import torch
from torch import Tensor

from snnexp.inputs import Inputs


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


class NoEncoder(Encoder):
    """For data sets that yield spikes: passes them on."""

    accepts = "spikes"

    def __init__(self, *, num_features: int):
        self.num_channels = num_features

    def __call__(self, values: Inputs, generator: torch.Generator | None = None) -> Inputs:
        return values
