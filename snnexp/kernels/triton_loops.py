"""The loops over time for a GPU, by Triton: one pass, with the state in registers.

A program goes through steps of a tile of units, [row, column]: through all of them, or `count` from
the step `start`. Without recurrence units are independent: all of them are columns of one row. With
recurrence a row is a sample, a column a neuron, a tile has all neurons of some samples, and a
step's product with the weights is made on the tensor cores; the weights stay in shared memory if
`RESIDENT`. `triton_scan` says what the tensors are; of those that are None nothing is compiled.
"""
# pyright: reportAttributeAccessIssue=false, reportInvalidTypeForm=false
# pyright: reportOptionalOperand=false

import triton
import triton.language as tl

from snnexp.kernels.triton_steps import (
    AMOUNT,
    FROM_MEMBRANE,
    FROM_SPIKE,
    KEEP,
    THRESHOLD,
    TO,
    A,
    B,
    C,
    G,
    L,
    adaptation_of,
    current_back,
    fire,
    integrate,
    learns,
    moved_back,
    numbers_of,
    reset,
    spike_back,
)
from snnexp.kernels.triton_tiles import add, earlier, places, plus, rows_of, times


@triton.jit(do_not_specialize=["start", "steps"])
def forward(
    x, x_stride, table, weight, initial, measured, given, spikes, counts, margin, membrane,
    synaptic, history, held, end, rows, columns, size, steps, start, count, s: tl.constexpr,
    PRECISION: tl.constexpr, RESIDENT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Steps of a tile.

    x: the current from the step `start`. x_stride: from a step of it to the next, 0 if static.
    """
    cell, column, inside = places(rows, columns, ROWS, COLUMNS)
    units = tl.cast(rows, tl.int64) * columns
    n = numbers_of(table, column % size, size)
    v = tl.load(initial + cell, mask=inside, other=0.0)
    i = tl.load(initial + units + cell, mask=inside, other=0.0)
    z = tl.load(initial + 2 * units + cell, mask=inside, other=0.0)
    r = tl.load(initial + 3 * units + cell, mask=inside, other=0.0)
    h = tl.zeros_like(v)
    total = tl.zeros_like(v)
    q = tl.zeros_like(v)
    keep, from_membrane, from_spike = None, None, None
    if s.adaptive:
        keep, from_membrane, from_spike = adaptation_of(table, column % size, size)
        q = tl.load(initial + 4 * units + cell, mask=inside, other=0.0)
    matrix = None
    if RESIDENT:
        matrix = rows_of(weight, size, 1, size, 0, COLUMNS, COLUMNS)
    now, x_now = start * units, tl.cast(0, tl.int64)
    for _ in range(count):
        place = now + cell
        xt = tl.load(x + x_now + cell, mask=inside, other=0.0).to(v.dtype)
        if weight is not None:
            xt += times(z, matrix, weight, size, 1, size, PRECISION, ROWS, COLUMNS)
        w, i = integrate(xt, v, i, z, n, s)
        if s.adaptive:
            w -= n[G] * q
        if given is not None:
            w = tl.load(given + place, mask=inside, other=0.0).to(v.dtype)
        v = w
        if s.spiking:
            u = w - n[THRESHOLD]
            if measured is not None:
                z = tl.load(measured + place, mask=inside, other=0.0).to(v.dtype)
            else:
                z = fire(u, w, n, s)
            if s.refractory_steps:
                h = (r > 0).to(v.dtype)
                if measured is None:
                    z *= 1.0 - h
                r = tl.where(z > 0, s.refractory_steps, tl.maximum(r - 1.0, 0.0))
                tl.store(held + place, h, mask=inside)
            if given is None:
                v = reset(w, z, h, n, s)
            if s.adaptive:
                q = keep * q + from_membrane * v + from_spike * z
            total += z
            tl.store(spikes + place, z, mask=inside)
            if s.margin:
                tl.store(margin + place, u, mask=inside)
        if s.membrane:
            tl.store(membrane + place, w if s.before_reset else v, mask=inside)
        if s.synaptic:
            tl.store(synaptic + place, i, mask=inside)
        if learns(s, B) or learns(s, FROM_MEMBRANE):
            tl.store(history + place, v, mask=inside)
        if learns(s, A) or learns(s, G):
            tl.store(history + steps * units + place, i, mask=inside)
        if s.adaptive and (learns(s, G) or learns(s, KEEP)):
            tl.store(history + 2 * steps * units + place, q, mask=inside)
        now += units
        x_now += x_stride
    tl.store(counts + cell, total, mask=inside)
    tl.store(end + cell, v, mask=inside)
    tl.store(end + units + cell, i, mask=inside)
    tl.store(end + 2 * units + cell, z, mask=inside)
    tl.store(end + 3 * units + cell, r, mask=inside)
    if s.adaptive:
        tl.store(end + 4 * units + cell, q, mask=inside)


@triton.jit
def _learn(
    sums, history, spikes, firsts, t, place, units, steps, inside, w, u, x, e, k, h, after,
    given: tl.constexpr, s: tl.constexpr,
):  # fmt: skip
    """The sums by row of the table, with the gradients of what learns from step t.

    firsts: v, i, z and q before the first step. after: the gradient of v behind the reset.
    """
    ga, gb, gg, gc, gt, gr, gl, go, gk, gm, gs = sums
    first_v, first_i, first_z, first_q = firsts
    if learns(s, A) or learns(s, G):
        old_i = earlier(history, steps * units + place - units, first_i, t, inside)
        if learns(s, A):
            ga += x * old_i
        if learns(s, G):
            if not s.delayed:
                old_i = tl.load(history + steps * units + place, mask=inside, other=0.0)
            gg += w * old_i
    if learns(s, B):
        gb += w * earlier(history, place - units, first_v, t, inside)
    if learns(s, C):
        gc += w
    if learns(s, L):
        if s.spiking:
            gl -= w * earlier(spikes, place - units, first_z, t, inside)
        else:
            gl -= w * first_z
    if s.spiking:
        if learns(s, THRESHOLD):
            gt -= u
        if learns(s, TO) and s.hard and (s.exact or not given):
            go += after * tl.maximum(k, h)
        if learns(s, AMOUNT) and not s.hard and not given:
            gr -= after * k
    if s.adaptive:
        if learns(s, G) or learns(s, KEEP):
            old_q = earlier(history, 2 * steps * units + place - units, first_q, t, inside)
            if learns(s, G):
                gg -= w * old_q
            if learns(s, KEEP):
                gk += e * old_q
        if learns(s, FROM_MEMBRANE):
            gm += e * tl.load(history + place, mask=inside, other=0.0)
        if learns(s, FROM_SPIKE):
            gs += e * k
    return ga, gb, gg, gc, gt, gr, gl, go, gk, gm, gs


@triton.jit
def _keep(to_table, units, cell, inside, goes_on, sums, s: tl.constexpr):
    """Add the gradients of what learns, by row of the table, to what later steps left there."""
    for row in tl.static_range(len(sums)):  # pyright: ignore[reportGeneralTypeIssues]
        if learns(s, row) and (row < KEEP or s.adaptive):
            plus(to_table, row * units + cell, sums[row], inside, goes_on)


@triton.jit(do_not_specialize=["start", "steps"])
def backward(
    table, weight, initial, spikes, margin, history, held, to_spikes, spikes_stride, to_counts,
    to_margin, margin_stride, to_membrane, membrane_stride, to_synaptic, synaptic_stride, to_state,
    out, out_total, to_table, to_initial, rows, columns, size, steps, start, count,
    p: tl.float64, q: tl.float64, given: tl.constexpr, s: tl.constexpr, bump: tl.constexpr,
    PRECISION: tl.constexpr, RESIDENT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The adjoint of `forward`, backwards through the same steps.

    A gradient's stride is 0 where one step stands for all. out: of the current, by step; out_total:
    summed over steps. to_table: by unit, added to what later steps left there. e is the gradient of
    the adaptation q(t), q the second number of the surrogate.
    """
    cell, column, inside = places(rows, columns, ROWS, COLUMNS)
    units = tl.cast(rows, tl.int64) * columns
    n = numbers_of(table, column % size, size)
    first_v = tl.load(initial + cell, mask=inside, other=0.0)
    first_i = tl.load(initial + units + cell, mask=inside, other=0.0)
    first_z = tl.load(initial + 2 * units + cell, mask=inside, other=0.0)
    zero = tl.zeros_like(first_v)
    p, q = tl.full([], p, zero.dtype), tl.full([], q, zero.dtype)
    v = add(zero, to_state, cell, inside)
    i = add(zero, to_state, units + cell, inside)
    f = add(zero, to_state, 2 * units + cell, inside)
    d = add(zero, to_state, 3 * units + cell, inside)
    every = add(zero, to_counts, cell, inside)
    k, h, e, total = zero, zero, zero, zero
    sums = (zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero)
    keep, from_membrane, from_spike, first_q = None, None, None, zero
    if s.adaptive:
        keep, from_membrane, from_spike = adaptation_of(table, column % size, size)
        first_q = tl.load(initial + 4 * units + cell, mask=inside, other=0.0)
        e = add(zero, to_state, 4 * units + cell, inside)
    firsts = (first_v, first_i, first_z, first_q)
    matrix = None
    if RESIDENT:
        matrix = rows_of(weight, size, size, 1, 0, COLUMNS, COLUMNS)
    latest = tl.cast(start + count - 1, tl.int64)
    now = latest * units
    for back in range(count):
        t = latest - back
        place = now + cell
        if not s.before_reset:
            v = add(v, to_membrane, t * membrane_stride + cell, inside)
        if s.adaptive:
            v += from_membrane * e
            f += from_spike * e
        after, u = v, zero
        if s.spiking:
            f = add(f + every, to_spikes, t * spikes_stride + cell, inside)
            if s.hard or s.history or s.exact:
                k = tl.load(spikes + place, mask=inside, other=0.0).to(v.dtype)
            if s.refractory_steps:
                h = tl.load(held + place, mask=inside, other=0).to(v.dtype)
            if s.exact:
                before = earlier(spikes, place - units, first_z, t, inside)
                if s.delayed:
                    drive = earlier(margin, place - units, first_i, t, inside)
                else:
                    drive = tl.load(margin + place, mask=inside, other=0.0)
                v, u, d = moved_back(drive, before, k, h, v, f, d, n)
            else:
                gap = tl.load(margin + place, mask=inside, other=0.0)
                v, f, u = spike_back(gap, k, h, v, f, n, p, q, given, s, bump)
            u = add(u, to_margin, t * margin_stride + cell, inside)
        w = v + u
        if s.before_reset:
            w = add(w, to_membrane, t * membrane_stride + cell, inside)
        i = add(i, to_synaptic, t * synaptic_stride + cell, inside)
        x, kept = current_back(w, i, n, s)
        sums = _learn(
            sums, history, spikes, firsts, t, place, units, steps, inside, w, u, x, e, k, h, after,
            given, s,
        )  # fmt: skip
        if s.adaptive:
            e = keep * e - n[G] * w
        i = kept
        if s.late and s.attached:
            f = -n[L] * w
        elif s.spiking:
            f = zero
        v = n[B] * w
        if weight is not None:
            f += times(x, matrix, weight, size, size, 1, PRECISION, ROWS, COLUMNS)
        if out is not None:
            tl.store(out + place, x, mask=inside)
        total += x
        now -= units
    if out_total is not None:
        tl.store(out_total + cell, total, mask=inside)
    tl.store(to_initial + cell, v, mask=inside)
    tl.store(to_initial + units + cell, i, mask=inside)
    tl.store(to_initial + 2 * units + cell, f, mask=inside)
    tl.store(to_initial + 3 * units + cell, d if s.exact else zero, mask=inside)
    if s.adaptive:
        tl.store(to_initial + 4 * units + cell, e, mask=inside)
    _keep(to_table, units, cell, inside, start + count < steps, sums, s)
