"""The Yin-Yang data set: three classes in the plane that a linear classifier cannot part."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from snnexp.checks import require, require_positive, require_whole
from snnexp.datasets.memory import STAGES, MemoryDataset, Split


class YinYang(MemoryDataset):
    """Points in the Yin-Yang symbol, sampled as published (Kriener, Goeltz & Petrovici 2022).

    Values are (x, y, 1 - x, 1 - y) with x and y in [0, 2 radius_big]; labels 0 yin, 1 yang, 2 dot.
    sizes, seeds: a number for each of train, val and test; the published ones are 5000 (seed 42),
    1000 (41) and 1000 (40). radius_big: of the symbol; radius_small: of its dots; without unit.
    Raises ValueError for unknown splits, sizes below 1, and dots that do not fit the symbol.
    """

    num_features = 4
    num_classes = 3
    class_names = ("yin", "yang", "dot")

    def __init__(
        self,
        *,
        sizes: Mapping[str, int],
        seeds: Mapping[str, int],
        radius_small: float,
        radius_big: float,
    ):
        require_positive(radius_small=radius_small, radius_big=radius_big)
        require(
            radius_big <= 0.5,
            f"radius_big: {radius_big!r}; it must be at most 0.5, so that values lie in [0, 1]",
        )
        require(
            2 * radius_small < radius_big,
            f"radius_small: {radius_small!r}; it must be below half of radius_big = {radius_big!r}",
        )
        for name, given in (("sizes", sizes), ("seeds", seeds)):
            require(set(given) == set(STAGES), f"{name}: {sorted(given)}; give {', '.join(STAGES)}")
        for stage in STAGES:
            require(
                seeds[stage] < 2**32, f"seeds.{stage}: {seeds[stage]!r}; it must be below 2**32"
            )
            require_whole(1, **{f"sizes.{stage}": sizes[stage]})
            require_whole(0, **{f"seeds.{stage}": seeds[stage]})
        self.radius_small, self.radius_big = radius_small, radius_big
        self.splits = {stage: self._sample(sizes[stage], seeds[stage]) for stage in STAGES}

    def _sample(self, size: int, seed: int) -> Split:
        values, labels = sample(size, seed, self.radius_small, self.radius_big)
        return Split(torch.tensor(values, dtype=torch.float32), torch.tensor(labels))

    def grid(
        self, resolution: int
    ) -> tuple[
        Float[Tensor, "point feature"], Bool[Tensor, " point"], tuple[float, float, float, float]
    ]:
        """A grid over the plane, for maps of it.

        Values, row by row from the lowest y; which of them lie in the symbol; the extent (lowest
        x, highest x, lowest y, highest y).
        """
        side = torch.linspace(0, 2 * self.radius_big, resolution)
        y, x = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="ij"))
        inside = torch.hypot(x - self.radius_big, y - self.radius_big) <= self.radius_big
        extent = (0.0, 2 * self.radius_big, 0.0, 2 * self.radius_big)
        return torch.stack([x, y, 1 - x, 1 - y], dim=1), inside, extent


def sample(size: int, seed: int, small: float, big: float) -> tuple[np.ndarray, np.ndarray]:
    """Values [size, 4] and labels [size] of the symbol of those radii.

    A class is drawn, then points until one falls into it, so that classes are balanced.
    """
    random = np.random.RandomState(seed)
    points = np.empty((size, 2))
    labels = np.empty(size, dtype=np.int64)
    for index in range(size):
        goal = random.randint(YinYang.num_classes)
        while True:
            point = random.rand(2) * 2 * big
            inside = np.hypot(*(point - big)) <= big
            if inside and classify(point[0], point[1], small, big) == goal:
                break
        points[index], labels[index] = point, goal
    return np.concatenate([points, 1 - points], axis=1), labels


def classify(x: float, y: float, small: float, big: float) -> int:
    """The class of a point of the symbol of those radii."""
    right = np.hypot(x - 1.5 * big, y - big)
    left = np.hypot(x - 0.5 * big, y - big)
    if right < small or left < small:
        return 2
    upper = y > big and right > 0.5 * big
    return int(right <= small or small < left <= 0.5 * big or upper)
