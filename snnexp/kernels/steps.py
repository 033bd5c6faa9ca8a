"""One step of a scan and of its adjoint on a row of units, compiled by numba.

A unit is a neuron of some sample. Each loop writes one array, since the vectoriser gives up where
it would have to rule out many overlaps. Equations: `NeuronParameters`.
"""

import numpy as np
from numba import njit

from snnexp.kernels.surrogates import FLATTEST, FORMULAS
from snnexp.kernels.tiles import FAST, INNER

SPIKING, HARD, DELAYED, ATTACHED, BEFORE, MULTIPLE, SMOOTH, REFRACTORY = range(8)
FORMULA, LATE, DIRECT, STRICT, EXACT, ADAPTIVE, _, _, _, _, LEARNT = range(8, 19)
"""Places in `flags`, which are `Switches`."""
A, B, G, C, THRESHOLD, AMOUNT, L, TO, KEEP, FROM_MEMBRANE, FROM_SPIKE = range(11)
"""Rows of the table, as `switches.NUMBERS` orders them."""


def _choose(name, kinds):
    """A compiled function that fills `out` by the formula `name` of surrogate number `kind`."""
    if not kinds:

        @njit(fastmath=FAST, **INNER)
        def nothing(kind, x, p, q, out):
            pass

        return nothing
    formula = njit(fastmath=FAST, **INNER)(getattr(kinds[0], name))
    others = _choose(name, kinds[1:])

    @njit(fastmath=FAST, **INNER)
    def fill(kind, x, p, q, out):
        if kind == 0:
            one = x.dtype.type(1)
            for n in range(len(x)):
                out[n] = formula(x[n], p, q, one)
        else:
            others(kind - 1, x, p, q, out)

    return fill


_bump, _rise = _choose("bump", FORMULAS), _choose("rise", FORMULAS)


@njit(fastmath=FAST, forceinline=True, **INNER)
def copy(source, target):
    """Shorter code than an assignment to a slice, which checks shapes."""
    for n in range(len(target)):
        target[n] = source[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def clear(target):
    """All of it 0."""
    for n in range(len(target)):
        target[n] = 0


@njit(fastmath=FAST, forceinline=True, **INNER)
def plus(row, total):
    """`total` += row, as far as the row goes."""
    for n in range(len(row)):
        total[n] += row[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def integrate(x, table, flags, v, i, z, q, w):
    """`i(t)` in place, and `w(t)`; `direct` neurons have i = x, which is left to the last step."""
    a, b, g, c = table[A], table[B], table[G], table[C]
    m = len(x)
    if flags[DIRECT]:
        for n in range(m):
            w[n] = b[n] * v[n] + x[n]
    else:
        if not flags[DELAYED]:
            for n in range(m):
                i[n] = a[n] * i[n] + x[n]
        for n in range(m):
            w[n] = b[n] * v[n] + (g[n] * i[n] + c[n])
        if flags[DELAYED]:
            for n in range(m):
                i[n] = a[n] * i[n] + x[n]
    if flags[LATE]:
        lost = table[L]
        for n in range(m):
            w[n] -= lost[n] * z[n]
    if flags[ADAPTIVE]:
        for n in range(m):
            w[n] -= g[n] * q[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def adapt(v, z, table, q):
    """`q(t)` in place."""
    keep, coupling, jump = table[KEEP], table[FROM_MEMBRANE], table[FROM_SPIKE]
    for n in range(len(q)):
        q[n] = keep[n] * q[n] + coupling[n] * v[n] + jump[n] * z[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def margins_of(w, table, u):
    """How far the membranes are above their thresholds."""
    threshold = table[THRESHOLD]
    for n in range(len(u)):
        u[n] = w[n] - threshold[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def fire(u, w, table, flags, numbers, z):
    """The spikes; binary ones from w, so that margins u nobody keeps need not be made."""
    zero, one, edge = u.dtype.type(0), u.dtype.type(1), numbers[0]
    if flags[SMOOTH]:
        _rise(flags[FORMULA], u, numbers[1], numbers[2], z)
    elif flags[MULTIPLE]:
        threshold = table[THRESHOLD]
        for n in range(len(u)):
            z[n] = max(np.floor(w[n] / threshold[n]), one) if u[n] > edge else zero
    else:
        threshold = table[THRESHOLD]
        for n in range(len(u)):
            z[n] = one if w[n] - threshold[n] > edge else zero


@njit(fastmath=FAST, forceinline=True, **INNER)
def hold(z, r, steps, h, free):
    """Hold back spikes while r > 0; h says where, r goes on. `free`: spikes are measured."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    for n in range(len(z)):
        h[n] = one if r[n] > zero else zero
    if not free:
        for n in range(len(z)):
            z[n] *= one - h[n]
    for n in range(len(z)):
        r[n] = steps if z[n] > zero else max(r[n] - one, zero)


@njit(fastmath=FAST, forceinline=True, **INNER)
def reset(w, z, h, table, hard, held, v):
    """`v(t)`, after the reset."""
    if hard:
        to = table[TO]
        for n in range(len(w)):
            v[n] = w[n] - z[n] * (w[n] - to[n])
        if held:
            for n in range(len(w)):
                v[n] += h[n] * (to[n] - v[n])
    else:
        amount = table[AMOUNT]
        for n in range(len(w)):
            v[n] = w[n] - z[n] * amount[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def add(factor, row, out):
    """`out` += factor times row."""
    for n in range(len(out)):
        out[n] += factor * row[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def plus_product(row, factor, other):
    """`row` += factor times other, number by number, as far as all three go."""
    for n in range(min(len(row), len(factor), len(other))):
        row[n] += factor[n] * other[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def minus_product(row, factor, other):
    """`row` -= factor times other, likewise."""
    for n in range(min(len(row), len(factor), len(other))):
        row[n] -= factor[n] * other[n]


@njit(**INNER)
def learns(flags, number):
    """Whether a gradient is asked of a number, by its row of the table."""
    return flags[LEARNT] & (1 << number) != 0


@njit(fastmath=FAST, forceinline=True, **INNER)
def add_to_table(grads, flags, wb, vb, ub, ib, k, h, kept_v, kept_i, kept_z, given):
    """Gradients of `NUMBERS` from one step; vb is v's before the reset's derivative.

    grads: whole rows, since those of a slice of columns are not known to be contiguous.
    """
    m = len(wb)
    if learns(flags, B):
        plus_product(grads[B], wb, kept_v)
    if learns(flags, C):
        plus(wb, grads[C])
    if learns(flags, L):
        minus_product(grads[L], wb, kept_z)
    if learns(flags, G):
        plus_product(grads[G], wb, kept_i[0] if flags[DELAYED] else kept_i[1])
    if learns(flags, A):
        plus_product(grads[A], ib, kept_i[0])
    if not flags[SPIKING]:
        return
    if learns(flags, THRESHOLD):
        gt = grads[THRESHOLD]
        for n in range(m):
            gt[n] -= ub[n]
    if given and not flags[EXACT]:
        return
    if learns(flags, AMOUNT) and not flags[HARD]:
        minus_product(grads[AMOUNT], vb, k)
    if learns(flags, TO) and flags[HARD]:
        to = grads[TO]
        plus_product(to, vb, k)
        if flags[REFRACTORY]:
            for n in range(m):
                to[n] += vb[n] * h[n] * (k.dtype.type(1) - k[n])


@njit(fastmath=FAST, forceinline=True, **INNER)
def add_adaptation(grads, flags, qb, k, v, kept_q, wb):
    """Gradients of the adaptation's numbers, and the gain's part of it, from one step."""
    if learns(flags, G):
        minus_product(grads[G], wb, kept_q)
    if learns(flags, KEEP):
        plus_product(grads[KEEP], qb, kept_q)
    if learns(flags, FROM_MEMBRANE):
        plus_product(grads[FROM_MEMBRANE], qb, v)
    if learns(flags, FROM_SPIKE):
        plus_product(grads[FROM_SPIKE], qb, k)


@njit(fastmath=FAST, forceinline=True, **INNER)
def adapt_back(table, wb, qb):
    """The gradient of q's value of the step before."""
    keep, g = table[KEEP], table[G]
    for n in range(len(qb)):
        qb[n] = keep[n] * qb[n] - g[n] * wb[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def spike_back(u, k, h, table, flags, numbers, given, v, f, s, ub):
    """Through the reset and the spike: v becomes the gradient of w but for u's part, ub is u's."""
    one = u.dtype.type(1)
    m, held = len(u), flags[REFRACTORY] > 0
    _bump(flags[FORMULA], u, numbers[1], numbers[2], s)
    if held:
        for n in range(m):
            s[n] *= one - h[n]
    if not given:
        if flags[ATTACHED]:
            if flags[HARD]:
                to, threshold = table[TO], table[THRESHOLD]
                for n in range(m):
                    f[n] += v[n] * (to[n] - u[n] - threshold[n])
            else:
                amount = table[AMOUNT]
                for n in range(m):
                    f[n] -= v[n] * amount[n]
        if flags[HARD]:
            for n in range(m):
                v[n] *= one - k[n]
            if held:
                for n in range(m):
                    v[n] *= one - h[n]
    for n in range(m):
        ub[n] = f[n] * s[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def moved_back(drive, before, k, h, table, held, v, f, d, ub):
    """As `eager._moved_back`; v becomes the gradient of w but for a spike's part, ub is that."""
    zero, one, flattest = v.dtype.type(0), v.dtype.type(1), v.dtype.type(FLATTEST)
    b, g, c, threshold, to = table[B], table[G], table[C], table[THRESHOLD], table[TO]
    for n in range(len(v)):
        push = g[n] * drive[n] + c[n]
        total = d[n] - (push - (one - b[n]) * to[n]) * v[n]
        ub[n] = zero
        kept = zero
        if k[n] > zero:
            leak = (one - b[n]) * threshold[n]
            slope = push - leak
            if slope > zero:
                ub[n] = (f[n] - total) / max(slope, flattest * leak)
            v[n] = zero
        elif held and h[n] > zero:
            kept = total
            v[n] = zero
        d[n] = kept + before[n] * f[n]


@njit(fastmath=FAST, forceinline=True, **INNER)
def current_back(table, flags, plain, used, w, v, i, f, out):
    """Through w and i: the gradient of x, and those of the v, i and z of the step before.

    plain: that of x is w itself, and is left to the caller. used: somebody adds to z's.
    """
    a, b, g = table[A], table[B], table[G]
    m = len(w)
    if plain:
        pass
    elif flags[DIRECT]:
        for n in range(m):
            out[n] = i[n] + w[n]
        clear(i)
    elif flags[DELAYED]:
        copy(i, out)
        for n in range(m):
            i[n] = a[n] * i[n] + g[n] * w[n]
    else:
        for n in range(m):
            out[n] = i[n] + g[n] * w[n]
        for n in range(m):
            i[n] = a[n] * out[n]
    for n in range(m):
        v[n] = b[n] * w[n]
    if flags[LATE] and flags[ATTACHED]:
        lost = table[L]
        for n in range(m):
            f[n] = -lost[n] * w[n]
    elif flags[SPIKING] and used:
        clear(f)
