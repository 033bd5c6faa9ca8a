"""The Yin-Yang data set (Kriener et al. 2022)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnexp.checks import require
from snnexp.datasets.yinyang import sample


class YinYangDataset(torch.utils.data.Dataset):
    """Items: (x, y, 1 - x, 1 - y) as float64, and 0, 1 or 2 (the dots).

    Raises ValueError for dots that do not fit the symbol.
    """

    class_names = ("yin", "yang", "dot")

    def __init__(
        self,
        r_small: float = 0.1,
        r_big: float = 0.5,
        size: int = 1000,
        seed: int = 42,
        transform: Callable[[Tensor], Any] | None = None,
    ):
        require(
            2 * r_small < r_big, f"r_small: {r_small!r}; it must be below half of r_big = {r_big!r}"
        )
        values, labels = sample(size, seed, r_small, r_big)
        self._values, self._labels = torch.from_numpy(values), labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        values = self._values[index].clone()
        return values if self.transform is None else self.transform(values), self._labels[index]
