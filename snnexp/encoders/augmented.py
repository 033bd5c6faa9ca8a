"""Images that are changed before another encoder takes them."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.augmentations import OfRecordings
from snnexp.checks import require
from snnexp.encoders.encoder import Encoder
from snnexp.inputs import Inputs


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
