"""Traces [time, batch, class] to scores [batch, class]."""

import torch
from torch import Tensor


class MaxOverTime(torch.nn.Module):
    """The highest value over time."""

    def forward(self, data: Tensor) -> Tensor:
        return data.amax(0)


class SumOverTime(torch.nn.Module):
    """The sum over time."""

    def forward(self, data: Tensor) -> Tensor:
        return data.sum(0)


class MeanOverTime(torch.nn.Module):
    """The mean over time."""

    def forward(self, data: Tensor) -> Tensor:
        return data.mean(0)
