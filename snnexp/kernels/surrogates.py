"""Surrogate gradients: the spike is a step of the margin x = v - threshold, its derivative a bump.

Every surrogate states its derivative s(x), which the backward pass uses in place of the step's. One
of `Formula` states it once for all kernels: as arithmetic that numba compiles for numbers, and that
the plain loop applies to tensors.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import erf
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnexp.checks import require_positive

FLATTEST = 0.1
"""The slope at the threshold, in shares of the leak's there, below which exact gradients grow no
further: a spike that hardly is one would else decide where all weights go."""


class Surrogate(ABC):
    """The derivative that stands in for the step's; x = v - threshold, without unit."""

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """s(x), any shape, not negative."""

    @property
    @abstractmethod
    def half_width(self) -> float:
        """The |x| at which s(x) has fallen to half its peak: the surrogate's window."""

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


class Formula(Surrogate):
    """A surrogate that every kernel knows, by two formulas with two numbers `p` and `q`.

    bump(x, p, q, one): s(x). rise(x, p, q, one): a smooth spike whose exact derivative is s(x), to
    check gradients with. They use arithmetic, abs, erf and what torch and numpy name alike; `one`
    is 1 in the precision of x, since numba would compute in float64 with a number from the text.
    """

    p: float
    q: float

    @staticmethod
    @abstractmethod
    def bump(x: Any, p: Any, q: Any, one: Any) -> Any: ...

    @staticmethod
    @abstractmethod
    def rise(x: Any, p: Any, q: Any, one: Any) -> Any: ...

    def derivative(self, x: Tensor) -> Tensor:
        return on_tensors(self.bump)(x, self.p, self.q, 1.0)

    def smooth_spike(self, x: Tensor) -> Tensor:
        """The spike function whose derivative is s(x) exactly."""
        return on_tensors(self.rise)(x, self.p, self.q, 1.0)


def on_tensors(formula: Callable) -> Callable:
    """The same formula with torch's functions in the place of numpy's."""
    assert isinstance(formula, FunctionType)
    return FunctionType(formula.__code__, {"np": torch, "erf": torch.erf, "abs": abs})


class ArcTan(Formula):
    """s(x) = peak / (1 + (slope x)^2).

    slope pi, peak 1: SpikingJelly's ATan with alpha 2 and snnTorch's `atan` (Fang et al. 2021).
    slope 2 pi, peak 1 / pi: the convention of Spyx (Heckel & Nowotny 2024).
    """

    def __init__(self, *, slope: float, peak: float):
        self.p, self.q = require_positive(slope=slope, peak=peak)

    @staticmethod
    def bump(x: Any, p: Any, q: Any, one: Any) -> Any:
        return q / (one + (p * x) * (p * x))

    @staticmethod
    def rise(x: Any, p: Any, q: Any, one: Any) -> Any:
        return q / p * np.arctan(p * x)

    @property
    def half_width(self) -> float:
        return 1 / self.p


class SuperSpike(Formula):
    """s(x) = 1 / (1 + slope |x|)^2, also called fast sigmoid (Zenke & Ganguli 2018)."""

    def __init__(self, *, slope: float):
        (self.p,) = require_positive(slope=slope)
        self.q = 1.0

    @staticmethod
    def bump(x: Any, p: Any, q: Any, one: Any) -> Any:
        d = one + p * abs(x)
        return one / (d * d)

    @staticmethod
    def rise(x: Any, p: Any, q: Any, one: Any) -> Any:
        return x / (one + p * abs(x))

    @property
    def half_width(self) -> float:
        return (math.sqrt(2) - 1) / self.p


class Sigmoid(Formula):
    """s(x) = slope y (1 - y) with y = 1 / (1 + exp(-slope x)) (Neftci et al. 2019)."""

    def __init__(self, *, slope: float):
        (self.p,) = require_positive(slope=slope)
        self.q = 1.0

    @staticmethod
    def bump(x: Any, p: Any, q: Any, one: Any) -> Any:
        y = one / (one + np.exp(-p * x))
        return p * y * (one - y)

    @staticmethod
    def rise(x: Any, p: Any, q: Any, one: Any) -> Any:
        return one / (one + np.exp(-p * x))

    @property
    def half_width(self) -> float:
        return math.log(3 + math.sqrt(8)) / self.p


class Gaussian(Formula):
    """s(x) = exp(-x^2 / (2 sigma^2)) / (sqrt(2 pi) sigma) (Yin et al. 2020)."""

    def __init__(self, *, sigma: float):
        (self.sigma,) = require_positive(sigma=sigma)
        self.p, self.q = 1 / (math.sqrt(2) * sigma), 1 / (math.sqrt(2 * math.pi) * sigma)

    @staticmethod
    def bump(x: Any, p: Any, q: Any, one: Any) -> Any:
        return q * np.exp(-(p * x) * (p * x))

    @staticmethod
    def rise(x: Any, p: Any, q: Any, one: Any) -> Any:
        return 0.5 * erf(p * x)

    @property
    def half_width(self) -> float:
        return math.sqrt(2 * math.log(2)) * self.sigma


class Triangle(Formula):
    """s(x) = peak max(0, 1 - |x| / width) (Esser et al. 2016; Bellec et al. 2018)."""

    def __init__(self, *, width: float, peak: float):
        self.width, self.peak = require_positive(width=width, peak=peak)
        self.p, self.q = 1 / width, peak / 2

    @staticmethod
    def bump(x: Any, p: Any, q: Any, one: Any) -> Any:
        d = one - p * abs(x)
        return q * (d + abs(d))

    @staticmethod
    def rise(x: Any, p: Any, q: Any, one: Any) -> Any:
        c = (abs(p * x + one) - abs(p * x - one)) / p  # twice x, but within the width
        return q * c * (one - p * abs(c) / 4)

    @property
    def half_width(self) -> float:
        return self.width / 2


class Boxcar(Formula):
    """s(x) = peak where |x| <= width, else 0 (Bittar & Garner 2022 with width 0.5, peak 1)."""

    def __init__(self, *, width: float, peak: float):
        self.p, self.q = require_positive(width=width, peak=peak)

    @staticmethod
    def bump(x: Any, p: Any, q: Any, one: Any) -> Any:
        return (abs(x) <= p) * (q + (x - x))

    @staticmethod
    def rise(x: Any, p: Any, q: Any, one: Any) -> Any:
        return q * (abs(x + p) - abs(x - p)) / 2

    @property
    def half_width(self) -> float:
        return self.p


class Exponential(Formula):
    """s(x) = scale alpha / 2 exp(-alpha |x|): SLAYER's (Shrestha & Orchard 2018).

    sinabs' single exponential of width b, exp(-|x| / b), has alpha = 1 / b and scale = 2 b.
    """

    def __init__(self, *, alpha: float, scale: float):
        (self.p, scale) = require_positive(alpha=alpha, scale=scale)
        self.q = scale * alpha / 2

    @staticmethod
    def bump(x: Any, p: Any, q: Any, one: Any) -> Any:
        return q * np.exp(-p * abs(x))

    @staticmethod
    def rise(x: Any, p: Any, q: Any, one: Any) -> Any:
        return np.sign(x) * q / p * (one - np.exp(-p * abs(x)))

    @property
    def half_width(self) -> float:
        return math.log(2) / self.p


FORMULAS: tuple[type[Formula], ...] = tuple(Formula.__subclasses__())
"""All of them; a kernel knows one by its place here."""
