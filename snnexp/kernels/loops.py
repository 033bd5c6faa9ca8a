"""The loops over time, compiled by numba: one pass, with the state in first-level cache.

They go through the update that `NeuronParameters` documents over arrays [time, unit], a unit being
a neuron of some sample, in place; `fused.run` says what the arrays are. A block of units goes
through all steps before the next block begins; the inner loops run over units and choose by
arithmetic, not by branches, so that they are vectorised.
Compiled code is cached on disk.
"""

import numpy as np
from numba import njit, prange

FORMULAS = ("arctan", "superspike", "sigmoid", "gaussian", "triangle", "boxcar", "exponential")
"""The surrogates that `_derivative` knows, in its order."""

BLOCK = 1024
"""Units that go through time together."""

FAST = {"contract", "nsz"}
"""What the compiler may do with floats: fuse a product into a sum, ignore the sign of zero."""


@njit(fastmath=FAST, cache=True)
def _derivative(kind, p, q, u, s):
    """Fill s with the surrogate `kind` of margins u; see `snnexp.models.surrogates`."""
    one = u.dtype.type(1)
    if kind == 0:  # arctan: slope p, peak q
        for n in range(len(u)):
            s[n] = q / (one + (p * u[n]) * (p * u[n]))
    elif kind == 1:  # superspike: slope p
        for n in range(len(u)):
            d = one + p * abs(u[n])
            s[n] = one / (d * d)
    elif kind == 2:  # sigmoid: slope p
        for n in range(len(u)):
            y = one / (one + np.exp(-p * u[n]))
            s[n] = p * y * (one - y)
    elif kind == 3:  # gaussian: 1 / sigma p, peak q
        for n in range(len(u)):
            s[n] = q * np.exp(u.dtype.type(-0.5) * (p * u[n]) * (p * u[n]))
    elif kind == 4:  # triangle: 1 / width p, peak q
        for n in range(len(u)):
            s[n] = q * max(u.dtype.type(0), one - p * abs(u[n]))
    elif kind == 5:  # boxcar: width p, peak q
        for n in range(len(u)):
            s[n] = q if abs(u[n]) <= p else u.dtype.type(0)
    else:  # exponential: decay p, peak q
        for n in range(len(u)):
            s[n] = q * np.exp(-p * abs(u[n]))


@njit(fastmath=FAST, cache=True)
def _forward_block(
    x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held, low, high
):
    """All steps of the units [low, high); see `fused.run`."""
    a, b, g, c, threshold = constants[0], constants[1], constants[2], constants[3], constants[4]
    amount, late, to, edge = constants[5], constants[6], constants[7], constants[8]
    refractory = constants[9]
    hard, delayed, before, spiking = flags[0], flags[1], flags[2], flags[3]
    steps, m = max(len(margin), len(membrane)), high - low
    stride = 1 if len(x) > 1 else 0
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if_hard, if_delayed = one if hard else zero, one if delayed else zero
    v, i, z = v_end[low:high].copy(), i_end[low:high].copy(), z_end[low:high].copy()
    r, w = r_end[low:high], np.empty(m, x.dtype)
    for t in range(steps):
        xt = x[t * stride, low:high]
        if not spiking:
            mt = membrane[t, low:high]
            for n in range(m):
                old = i[n]
                i[n] = a * old + xt[n]
                v[n] = b * v[n] + g * (if_delayed * old + (one - if_delayed) * i[n]) + c
                mt[n] = v[n]
            continue
        ut, zt = margin[t, low:high], spikes[t, low:high]
        if len(held):
            ht = held[t, low:high]
            for n in range(m):
                old = i[n]
                i[n] = a * old + xt[n]
                drive = if_delayed * old + (one - if_delayed) * i[n]
                w[n] = b * v[n] + g * drive + c - late * z[n]
                u = w[n] - threshold
                h = one if r[n] > zero else zero
                k = (one if u > edge else zero) * (one - h)
                ut[n] = u
                zt[n] = k
                ht[n] = h
                r[n] = (one - k) * max(r[n] - one, zero) + k * refractory
                v[n] = w[n] - k * amount - if_hard * (k + h) * (w[n] - to)
                z[n] = k
        else:
            for n in range(m):
                old = i[n]
                i[n] = a * old + xt[n]
                drive = if_delayed * old + (one - if_delayed) * i[n]
                w[n] = b * v[n] + g * drive + c - late * z[n]
                u = w[n] - threshold
                k = one if u > edge else zero
                ut[n] = u
                zt[n] = k
                v[n] = w[n] - k * (amount + if_hard * (w[n] - to))
                z[n] = k
        if len(membrane):
            membrane[t, low:high] = w if before else v
    v_end[low:high], i_end[low:high], z_end[low:high] = v, i, z


@njit(fastmath=FAST, cache=True)
def _backward_block(
    constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out, low, high
):
    """The adjoint of `_forward_block`, backwards through the same steps; see `fused.run_back`."""
    a, b, g, threshold, amount = (
        constants[0],
        constants[1],
        constants[2],
        constants[4],
        constants[5],
    )
    late, to, edge, attached = constants[6], constants[7], constants[8], constants[10]
    p, q = constants[11], constants[12]
    hard, delayed, before, spiking = flags[0], flags[1], flags[2], flags[3]
    steps, m = max(len(margin), len(to_membrane)), high - low
    stride = 1 if len(out) > 1 else 0
    zero, one = v_end.dtype.type(0), v_end.dtype.type(1)
    if_hard, if_delayed = one if hard else zero, one if delayed else zero
    v, i = v_end[low:high].copy(), i_end[low:high].copy()
    f, total = z_end[low:high].copy(), np.zeros(m, v_end.dtype)
    s, gt, mt = np.zeros(m, v_end.dtype), np.zeros(m, v_end.dtype), np.zeros(m, v_end.dtype)
    for t in range(steps - 1, -1, -1):
        if len(to_membrane):
            mt = to_membrane[t, low:high]
            if not before:
                for n in range(m):
                    v[n] += mt[n]
        if not spiking:
            for n in range(m):
                di = i[n] + (one - if_delayed) * g * v[n]
                i[n] = a * di + if_delayed * g * v[n]
                v[n] = b * v[n]
                gt[n] = di
        else:
            ut = margin[t, low:high]
            _derivative(flags[4], p, q, ut, s)
            if len(held):
                ht = held[t, low:high]
                for n in range(m):
                    s[n] *= one - ht[n]
            if len(to_spikes):
                st = to_spikes[t, low:high]
                for n in range(m):
                    f[n] += st[n]
            for n in range(m):
                k = one if ut[n] > edge else zero
                f[n] += attached * v[n] * (if_hard * (to - ut[n] - threshold) - amount)
                v[n] = v[n] * (one - if_hard * k)
            if len(held) and hard:
                ht = held[t, low:high]
                for n in range(m):
                    v[n] *= one - ht[n]
            if len(to_membrane) and before:
                for n in range(m):
                    v[n] += mt[n]
            for n in range(m):
                w = v[n] + f[n] * s[n]
                di = i[n] + (one - if_delayed) * g * w
                i[n] = a * di + if_delayed * g * w
                v[n] = b * w
                f[n] = -late * attached * w
                gt[n] = di
        if stride:
            out[t, low:high] = gt
        else:
            for n in range(m):
                total[n] += gt[n]
    if not stride:
        out[0, low:high] = total
    v_end[low:high], i_end[low:high], z_end[low:high] = v, i, f


@njit(cache=True)
def forward_on_one_core(
    x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held
):
    """All blocks one after another."""
    for low in range(0, len(v_end), BLOCK):
        high = min(len(v_end), low + BLOCK)
        _forward_block(
            x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held,
            low, high,
        )  # fmt: skip


@njit(cache=True)
def backward_on_one_core(
    constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out
):
    """All blocks one after another."""
    for low in range(0, len(v_end), BLOCK):
        high = min(len(v_end), low + BLOCK)
        _backward_block(
            constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out,
            low, high,
        )  # fmt: skip


@njit(cache=True, parallel=True)
def forward_on_all_cores(
    x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held
):
    """All blocks, shared among numba's threads."""
    for block in prange((len(v_end) + BLOCK - 1) // BLOCK):
        low, high = block * BLOCK, min(len(v_end), (block + 1) * BLOCK)
        _forward_block(
            x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held,
            low, high,
        )  # fmt: skip


@njit(cache=True, parallel=True)
def backward_on_all_cores(
    constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out
):
    """All blocks, shared among numba's threads."""
    for block in prange((len(v_end) + BLOCK - 1) // BLOCK):
        low, high = block * BLOCK, min(len(v_end), (block + 1) * BLOCK)
        _backward_block(
            constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out,
            low, high,
        )  # fmt: skip
