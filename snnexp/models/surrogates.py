"""Surrogate gradients: the spike is a step of the margin x = v - threshold, its derivative a bump.

Every surrogate states its derivative s(x), which the backward pass uses in place of the step's.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from snnexp.checks import require_positive


class Surrogate(ABC):
    """The derivative that stands in for the step's; x = v - threshold, without unit."""

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """s(x), any shape, not negative."""

    @property
    @abstractmethod
    def half_width(self) -> float:
        """The |x| at which s(x) has fallen to half its peak: the surrogate's window."""

    @property
    def formula(self) -> tuple[str, float, float] | None:
        """Name and two constants in `snnexp.kernels.loops`; None if it is not compiled there."""
        return None

    def spike(self, x: Tensor, strict: bool = True) -> Tensor:
        """1 where x > 0 (`strict`) or x >= 0, else 0; differentiable through s(x)."""
        return _Spike.apply(x, self, strict)  # type: ignore[no-any-return]


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate, strict: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(x), None, None


class ArcTan(Surrogate):
    """s(x) = peak / (1 + (slope x)^2).

    slope pi, peak 1: SpikingJelly's ATan with alpha 2 and snnTorch's `atan` (Fang et al. 2021).
    slope 2 pi, peak 1 / pi: the convention of Spyx (Heckel & Nowotny 2024).
    """

    def __init__(self, *, slope: float, peak: float):
        self.slope, self.peak = require_positive(slope=slope, peak=peak)

    def derivative(self, x: Tensor) -> Tensor:
        return self.peak / (1 + (self.slope * x).square())

    @property
    def formula(self) -> tuple[str, float, float]:
        return "arctan", self.slope, self.peak

    @property
    def half_width(self) -> float:
        return 1 / self.slope


class SuperSpike(Surrogate):
    """s(x) = 1 / (1 + slope |x|)^2, also called fast sigmoid (Zenke & Ganguli 2018)."""

    def __init__(self, *, slope: float):
        (self.slope,) = require_positive(slope=slope)

    def derivative(self, x: Tensor) -> Tensor:
        return x.abs().mul_(self.slope).add_(1).pow_(-2)

    @property
    def formula(self) -> tuple[str, float, float]:
        return "superspike", self.slope, 1.0

    @property
    def half_width(self) -> float:
        return (math.sqrt(2) - 1) / self.slope


class Sigmoid(Surrogate):
    """s(x) = slope y (1 - y) with y = 1 / (1 + exp(-slope x)) (Neftci et al. 2019)."""

    def __init__(self, *, slope: float):
        (self.slope,) = require_positive(slope=slope)

    def derivative(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(self.slope * x)
        return self.slope * y * (1 - y)

    @property
    def formula(self) -> tuple[str, float, float]:
        return "sigmoid", self.slope, 1.0

    @property
    def half_width(self) -> float:
        return math.log(3 + math.sqrt(8)) / self.slope


class Gaussian(Surrogate):
    """s(x) = exp(-x^2 / (2 sigma^2)) / (sqrt(2 pi) sigma) (Yin et al. 2020)."""

    def __init__(self, *, sigma: float):
        (self.sigma,) = require_positive(sigma=sigma)

    def derivative(self, x: Tensor) -> Tensor:
        return torch.exp(-0.5 * (x / self.sigma).square()) / (math.sqrt(2 * math.pi) * self.sigma)

    @property
    def formula(self) -> tuple[str, float, float]:
        return "gaussian", 1 / self.sigma, 1 / (math.sqrt(2 * math.pi) * self.sigma)

    @property
    def half_width(self) -> float:
        return math.sqrt(2 * math.log(2)) * self.sigma


class Triangle(Surrogate):
    """s(x) = peak max(0, 1 - |x| / width) (Esser et al. 2016; Bellec et al. 2018)."""

    def __init__(self, *, width: float, peak: float):
        self.width, self.peak = require_positive(width=width, peak=peak)

    def derivative(self, x: Tensor) -> Tensor:
        return self.peak * (1 - x.abs() / self.width).relu()

    @property
    def formula(self) -> tuple[str, float, float]:
        return "triangle", 1 / self.width, self.peak

    @property
    def half_width(self) -> float:
        return self.width / 2


class Boxcar(Surrogate):
    """s(x) = peak where |x| <= width, else 0 (Bittar & Garner 2022 with width 0.5, peak 1)."""

    def __init__(self, *, width: float, peak: float):
        self.width, self.peak = require_positive(width=width, peak=peak)

    def derivative(self, x: Tensor) -> Tensor:
        return self.peak * (x.abs() <= self.width).to(x.dtype)

    @property
    def formula(self) -> tuple[str, float, float]:
        return "boxcar", self.width, self.peak

    @property
    def half_width(self) -> float:
        return self.width


class Exponential(Surrogate):
    """s(x) = scale alpha / 2 exp(-alpha |x|): SLAYER's (Shrestha & Orchard 2018)."""

    def __init__(self, *, alpha: float, scale: float):
        self.alpha, self.scale = require_positive(alpha=alpha, scale=scale)

    def derivative(self, x: Tensor) -> Tensor:
        return self.scale * self.alpha / 2 * torch.exp(-self.alpha * x.abs())

    @property
    def formula(self) -> tuple[str, float, float]:
        return "exponential", self.alpha, self.scale * self.alpha / 2

    @property
    def half_width(self) -> float:
        return math.log(2) / self.alpha
