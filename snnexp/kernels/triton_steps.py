"""One step of a scan, forwards and backwards, on tiles that Triton keeps in registers.

What a neuron does differently from others is a number of the table or one of `Switches`, which are
known when a kernel is compiled; there is one place for each choice. Equations: `NeuronParameters`.
"""
# pyright: reportAttributeAccessIssue=false
# (switches are constexpr for Triton, `Switches` for the one who reads)

from types import FunctionType
from typing import Any

import triton
import triton.language as tl

from snnexp.kernels.surrogates import FLATTEST, FORMULAS
from snnexp.kernels.switches import NUMBERS

A, B, G, C, THRESHOLD, AMOUNT, L, TO = (
    tl.constexpr(NUMBERS.index(name))
    for name in ("keep_syn", "keep_mem", "gain", "drift", "threshold", "amount", "late", "to")
)
"""Places in a neuron's tuple of numbers, and rows of the table."""
KEEP, FROM_MEMBRANE, FROM_SPIKE = (
    tl.constexpr(NUMBERS.index(name)) for name in ("keep_adapt", "from_membrane", "from_spike")
)
"""Rows of the table behind them, in the order of an adaptation's tuple."""
SHARE = tl.constexpr(FLATTEST)


@triton.constexpr_function
def learns(s, number):
    """Whether a gradient is asked of a number, by its row of the table."""
    return s.history >> number & 1 == 1


@triton.jit
def absolute(x):
    """|x|, by the name that formulas call it."""
    return tl.abs(x)


def _bump(formula: Any) -> Any:
    """A surrogate's derivative for Triton: the same text, with its functions for numpy's."""
    names = {"np": tl, "abs": absolute, "Any": tl.tensor}
    return triton.jit(FunctionType(formula.bump.__code__, names, "bump"))


BUMPS = tuple(_bump(formula) for formula in FORMULAS)
"""In the order of `FORMULAS`."""


@triton.jit
def numbers_of(table, neuron, size):
    """The numbers of each neuron of a tile, in the order of the table."""
    return (
        tl.load(table + neuron),
        tl.load(table + size + neuron),
        tl.load(table + 2 * size + neuron),
        tl.load(table + 3 * size + neuron),
        tl.load(table + 4 * size + neuron),
        tl.load(table + 5 * size + neuron),
        tl.load(table + 6 * size + neuron),
        tl.load(table + 7 * size + neuron),
    )


@triton.jit
def adaptation_of(table, neuron, size):
    """How much of the adaptation stays, and what the membrane and a spike add to it."""
    return (
        tl.load(table + KEEP * size + neuron),
        tl.load(table + FROM_MEMBRANE * size + neuron),
        tl.load(table + FROM_SPIKE * size + neuron),
    )


@triton.jit
def integrate(x, v, i, z, n, s: tl.constexpr):
    """`w(t)` and `i(t)`."""
    new = n[A] * i + x
    w = n[B] * v + (n[G] * (i if s.delayed else new) + n[C])
    if s.late:
        w -= n[L] * z
    return w, new


@triton.jit
def _divided(w, threshold):
    """Rounded as on a CPU: a membrane of three thresholds makes three spikes."""
    return tl.div_rn(w, threshold) if w.dtype == tl.float32 else w / threshold


@triton.jit
def fire(u, w, n, s: tl.constexpr):
    """The spikes, before any is held back."""
    above = u > 0 if s.strict else u >= 0
    z = above.to(u.dtype)
    if s.multiple:
        z *= tl.maximum(tl.floor(_divided(w, n[THRESHOLD])), 1.0)
    return z


@triton.jit
def reset(w, z, h, n, s: tl.constexpr):
    """`v(t)`, after the reset."""
    return w + tl.maximum(z, h) * (n[TO] - w) if s.hard else w - n[AMOUNT] * z


@triton.jit
def spike_back(
    u, k, h, v, f, n, p, q, given: tl.constexpr, s: tl.constexpr, bump: tl.constexpr
):  # fmt: skip
    """Through the reset and the spike: the gradients of w (but for u's part), of z and of u."""
    slope = bump(u, p, q, 1.0) * (1.0 - h)
    if not given:
        if s.attached:
            if s.hard:
                f += v * (n[TO] - u - n[THRESHOLD])
            else:
                f -= v * n[AMOUNT]
        if s.hard:
            v *= (1.0 - k) * (1.0 - h)
    return v, f, f * slope


@triton.jit
def moved_back(drive, before, k, h, v, f, d, n):
    """As `eager._moved_back`: the gradients of w (but for a spike's part), that part, and d's."""
    push = n[G] * drive + n[C]
    leak = (1.0 - n[B]) * n[THRESHOLD]
    slope = push - leak
    total = d - (push - (1.0 - n[B]) * n[TO]) * v
    spiked = (k > 0).to(v.dtype)
    rate = tl.where(slope > 0, spiked / tl.maximum(slope, leak * SHARE), 0.0)
    u = (f * spiked - total) * rate
    d = before * f + total * h * (1.0 - spiked)
    return v * (1.0 - k) * (1.0 - h), u, d


@triton.jit
def current_back(w, i, n, s: tl.constexpr):
    """Through w and i: the gradient of x, and that of the i before."""
    x = i if s.delayed else i + n[G] * w
    before = n[A] * x
    if s.delayed:
        before += n[G] * w
    return x, before
