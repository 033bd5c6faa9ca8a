"""A gradient that is a product of two matrices, and is made only if somebody looks at it."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

FAN_OUT = 32
"""Neurons behind a layer up to which its backward loop makes the product itself, row by row."""


class Product(Tensor):
    """The gradient [time, batch, channel] of spikes: lines [time, batch, neuron] times a weight.

    It has as many channels as a large layer has neurons. Whoever knows what it is takes the two
    instead; any operation on it makes it first.
    """

    lines: Tensor
    weight: Tensor

    @staticmethod
    def __new__(cls, lines: Tensor, weight: Tensor) -> "Product":
        shape = (*lines.shape[:2], weight.shape[1])
        made = Tensor._make_wrapper_subclass(cls, shape, dtype=lines.dtype, device=lines.device)
        made.lines, made.weight = lines, weight
        return made

    def tensor(self) -> Tensor:
        """The product, made anew at each call."""
        return torch.matmul(self.lines, self.weight)

    def earlier(self) -> tuple["Product", Tensor]:
        """The same a step earlier, with zeros at the end, and the step [batch, channel] before."""
        lines = torch.cat([self.lines[1:], torch.zeros_like(self.lines[:1])])
        return Product(lines, self.weight), torch.matmul(self.lines[0], self.weight)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map_only(Product, Product.tensor, (args, kwargs or {}))
        return func(*args, **kwargs)


def product(lines: Tensor, weight: Tensor) -> Tensor:
    """Lines times weight, as a `Product` where the compiled loops will make it."""
    known = type(lines) is Tensor and not torch.compiler.is_compiling()
    if known and lines.shape[2] <= FAN_OUT and not lines.requires_grad:
        return Product(lines, weight.detach())
    return torch.matmul(lines, weight)
