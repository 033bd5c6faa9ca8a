"""A constant input."""

from collections.abc import Sequence

import torch

from snnexp.checks import require, require_whole
from snnexp.datasets.memory import STAGES, MemoryDataset, Split


class Ones(MemoryDataset):
    """Images of ones, all of class 0 of 10, as sinabs' tutorial on synaptic operations has them.

    samples: of each split. shape: (channel, height, width).
    """

    num_classes = 10
    class_names = tuple("0123456789")

    def __init__(self, *, samples: int, shape: Sequence[int]):
        require_whole(1, samples=samples)
        require(len(shape) == 3, f"shape: {list(shape)}; give channels, height and width")
        channels, height, width = require_whole(
            1, **{f"shape[{index}]": size for index, size in enumerate(shape)}
        )
        self.shape = (channels, height, width)
        self.num_features = channels * height * width
        split = Split(torch.ones(samples, self.num_features), torch.zeros(samples).long())
        self.splits = dict.fromkeys(STAGES, split)
