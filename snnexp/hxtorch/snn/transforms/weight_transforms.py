"""What becomes of a weight on its way to the chip."""

from torch import Tensor


def linear_saturating(
    weight: Tensor, scale: float = 1.0, min_weight: float = -63.0, max_weight: float = 63.0
) -> Tensor:
    """Scale times weight, in LSB, within the limits; the chip rounds."""
    return (weight * scale).clamp(min_weight, max_weight)
