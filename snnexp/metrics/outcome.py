"""Loss and accuracy over all samples of a split."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric


class Outcome(Metric):
    """Mean loss by part, accuracy with its 95 % interval, confusion matrix; means over samples."""

    def __init__(self, parts: list[str], num_classes: int):
        super().__init__()
        self.parts, self.num_classes = parts, num_classes
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.long)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")
        self.add_state("losses", torch.zeros(len(parts)), dist_reduce_fx="sum")
        self.confusion: Tensor
        self.losses: Tensor

    def update(
        self,
        parts: dict[str, Float[Tensor, ""]],
        scores: Float[Tensor, "batch class"],
        labels: Int[Tensor, " batch"],
    ) -> None:
        """Add one batch; `parts` are means over it."""
        means = torch.stack([parts[name].detach() for name in self.parts])
        self.losses = self.losses + means * len(labels)
        pairs = labels * self.num_classes + scores.detach().argmax(1)
        counted = self.confusion.flatten().index_add(0, pairs, torch.ones_like(pairs))
        self.confusion = counted.view_as(self.confusion)

    def compute(self) -> dict[str, float]:
        """`loss`, `loss/<part>`, `accuracy` in [0, 1] with `accuracy_low` and `accuracy_high`."""
        samples = int(self.confusion.sum())
        correct = int(self.confusion.trace())
        means = (self.losses / samples).tolist()
        low, high = wilson_interval(correct, samples)
        return {
            "loss": sum(means),
            **{f"loss/{name}": mean for name, mean in zip(self.parts, means, strict=True)},
            "accuracy": correct / samples,
            "accuracy_low": low,
            "accuracy_high": high,
        }


def wilson_interval(hits: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927); `trials` above 0."""
    share = hits / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
