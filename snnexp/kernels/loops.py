"""The loops over time, compiled by numba: one pass, with the state in first-level cache.

They go through the steps over arrays [time, unit], a unit being a neuron of some sample; `fused`
says what the arrays are. Samples are independent of each other, so that a block of them goes
through all steps before the next begins, and blocks share the cores. Within a step a row of units
(a whole number of samples) goes through one short loop of `steps` after another.
"""

import numpy as np
from numba import njit, prange

from snnexp.kernels.apart import F1, F2, F3, H1, I1, I2, I3, caller
from snnexp.kernels.bits import (
    add_to_rows,
    count_bits,
    gather_event_rows,
    gather_rows,
    list_bits,
    pack,
    project_event_rows,
    project_rows,
    unpack,
)
from snnexp.kernels.steps import (
    ADAPTIVE,
    ATTACHED,
    BEFORE,
    DELAYED,
    DIRECT,
    EXACT,
    FROM_MEMBRANE,
    FROM_SPIKE,
    HARD,
    LATE,
    MULTIPLE,
    REFRACTORY,
    SMOOTH,
    SPIKING,
    A,
    G,
    L,
    adapt,
    adapt_back,
    add,
    add_adaptation,
    add_to_table,
    clear,
    copy,
    current_back,
    fire,
    hold,
    integrate,
    learns,
    margins_of,
    moved_back,
    plus,
    plus_product,
    reset,
    spike_back,
)
from snnexp.kernels.tiles import FAST, INNER, PART, add_product, add_rows


@njit(**INNER)
def _project(rows, sent, start, channel, weight, feed, narrow, chosen, z, out):
    """The currents of the rows (step, sample) that bits or events cause, to `out` [row, neuron]."""
    if len(start) == 0:
        project_rows(sent, weight, feed, narrow, out, chosen, z)
    else:
        project_event_rows(start, channel, rows, feed, out, chosen)


@njit(**INNER)
def _gather(rows, sent, start, channel, lines, narrow, total, chosen, z):
    """The gradient of `_project`'s weight from the currents', `lines`."""
    if len(start) == 0:
        gather_rows(sent, lines, narrow, total, chosen, z)
    else:
        gather_event_rows(start, channel, rows, lines, total)


@njit(fastmath=FAST, **INNER)
def _feed_back(out, weight, z, words, binary, chosen):
    """Add to the currents [sample, neuron] what the spikes of the step before cause."""
    for s in range(len(out)):
        if binary:
            add_rows(out[s], weight, chosen, list_bits(words[s], chosen))
        else:
            for j in range(z.shape[1]):
                if z[s, j] != 0:
                    add(z[s, j], weight[j], out[s])


@njit(fastmath=FAST, **INNER)
def _gather_back(lines, z, words, binary, total, chosen, fired):
    """The gradient [from, to] of `_feed_back`'s weight.

    Where more than a fifth spikes, a product is faster than adding a line for each spike.
    """
    batch, size = lines.shape
    if not binary:
        _add_lines(z, lines, total)
    elif size >= PART and 5 * count_bits(words) > batch * size:
        for s in range(batch):
            unpack(words[s], fired[s])
        flat, right = fired.reshape(fired.size), lines.reshape(lines.size)
        add_product(flat, 1, size, batch, right, PART, size, total)
    else:
        for s in range(batch):
            add_to_rows(total, chosen, list_bits(words[s], chosen), lines[s])


@njit(fastmath=FAST, **INNER)
def _add_lines(z, lines, total):
    """The same of spikes of any size."""
    for s in range(len(lines)):
        for j in range(z.shape[1]):
            if z[s, j] != 0:
                add(z[s, j], lines[s], total[j])


@njit(fastmath=FAST, **INNER)
def _multiply(g, weight, f):
    """`f` += g W for the samples in g and f, W [from, to]; eight rows of it keep cores busy."""
    number, size = weight.shape
    tail = number - number % 8
    for k in range(0, tail, 8):
        w0, w1, w2, w3 = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        w4, w5, w6, w7 = weight[k + 4], weight[k + 5], weight[k + 6], weight[k + 7]
        for s in range(len(f) // size):
            start, out = s * number + k, f[s * size : (s + 1) * size]
            a, b, c, d = g[start], g[start + 1], g[start + 2], g[start + 3]
            e, o, p, q = g[start + 4], g[start + 5], g[start + 6], g[start + 7]
            for n in range(size):
                out[n] += (
                    (a * w0[n] + b * w1[n] + c * w2[n] + d * w3[n])
                    + (e * w4[n] + o * w5[n] + p * w6[n] + q * w7[n])
                )  # fmt: skip
    last, zero = number - 1, g.dtype.type(0)
    for k in range(tail, number, 4):  # of the last rows some may not be there
        w0, w1, w2 = weight[k], weight[min(k + 1, last)], weight[min(k + 2, last)]
        w3 = weight[min(k + 3, last)]
        for s in range(len(f) // size):
            start, out = s * number + k, f[s * size : (s + 1) * size]
            a, b = g[start], g[start + 1] if k < last else zero
            c = g[start + 2] if k + 1 < last else zero
            d = g[start + 3] if k + 2 < last else zero
            for n in range(size):
                out[n] += (a * w0[n] + b * w1[n]) + (c * w2[n] + d * w3[n])


@njit(fastmath=FAST, **INNER)
def _begin(low, high, size, initial, state):
    """The state of the units [low, high) before the first step; `initial` may be one for all."""
    apart = initial.shape[1] > size
    for start in range(low, high, size):
        first, here = start if apart else 0, start - low
        for part in range(len(state)):
            copy(initial[part, first : first + size], state[part, here : here + size])


@njit(**INNER)
def _pack_rows(row, size, words):
    """The spikes of a row's samples as bits."""
    for s in range(len(words)):
        pack(row[s * size : (s + 1) * size], words[s])


@njit(fastmath=FAST, forceinline=True, **INNER)
def _remember(t, start, end, flags, v, i, q, history):
    """Keep of step t what the gradients of learnt numbers need."""
    copy(v, history[0, t, start:end])
    if learns(flags, A) or learns(flags, G):
        copy(i, history[1, t, start:end])
    if flags[ADAPTIVE]:
        copy(q, history[2, t, start:end])


def forward_block(
    low: int, high: int, steps: int, size: int, x: F2, sent: I3, start_of: I1, channel: H1,
    synapse: F2, feed: F2, narrow: bool, table: F2, flags: I1, numbers: F1, weight: F2,
    initial: F2, state: F2, words: I3, spikes: F2, counts: F1, margin: F2, membrane: F2,
    synaptic: F2, history: F3, held: I3, measured: F2, given: F2, scratch: F2, current: F2,
    fan: F1, chosen: I1, none: I2,
):  # fmt: skip
    """All steps of the units [low, high); see `fused.forward`."""
    width = table.shape[1]
    w, u, h, flat = scratch[0], scratch[1], scratch[2], current.reshape(width)
    _begin(low, high, size, initial, state[:, low:high])
    clear(counts[low:high])
    stride = 1 if len(x) > 1 else 0
    spiking, packed, is_given = flags[SPIKING], len(words) > 0, len(given) > 0
    refractory, is_measured = flags[REFRACTORY], len(measured) > 0
    for t in range(steps):
        for start in range(low, high, width):
            end = min(high, start + width)
            first, last, m = start // size, end // size, end - start
            v, i = state[0, start:end], state[1, start:end]
            z, r = state[2, start:end], state[3, start:end]
            q = state[4 if flags[ADAPTIVE] else 3, start:end]
            wm, um, hm = w[:m], u[:m], h[:m]
            fed = current[: last - first]
            if len(x) > 0:
                xt = x[t * stride, start:end]
            else:
                rows, xt = t * (state.shape[1] // size) + first, flat[:m]
                here = sent[t, first:last] if len(sent) > 0 else none
                _project(rows, here, start_of, channel, synapse, feed, narrow, chosen, fan, fed)
            if len(weight) > 0:
                if len(x) > 0:
                    copy(xt, flat[:m])
                    xt = flat[:m]
                binary = packed and t > 0
                before = words[t - 1, first:last] if binary else none
                _feed_back(fed, weight, z.reshape(last - first, size), before, binary, chosen)
            integrate(xt, table, flags, v, i, z, q, wm)
            if flags[DIRECT] and (t == steps - 1 or len(synaptic) > 0):
                copy(xt, i)
            if is_given:
                copy(given[t, start:end], wm)
            if spiking:
                if len(margin) > 0:
                    um = margin[t, start:end]
                if len(margin) > 0 or flags[SMOOTH] or flags[MULTIPLE]:
                    margins_of(wm, table, um)
                if is_measured:
                    copy(measured[t, start:end], z)
                else:
                    fire(um, wm, table, flags, numbers, z)
                if refractory > 0:
                    hold(z, r, x.dtype.type(refractory), hm, is_measured)
                    _pack_rows(hm, size, held[t, first:last])
                if is_given:
                    copy(wm, v)
                else:
                    reset(wm, z, hm, table, flags[HARD], refractory > 0, v)
                if flags[ADAPTIVE]:
                    adapt(v, z, table, q)
                plus(z, counts[start:end])
                if packed:
                    _pack_rows(z, size, words[t, first:last])
                else:
                    copy(z, spikes[t, start:end])
            else:
                copy(wm, v)
            if len(membrane) > 0:
                copy(wm if flags[BEFORE] else v, membrane[t, start:end])
            if len(synaptic) > 0:
                copy(i, synaptic[t, start:end])
            if len(history) > 0:
                _remember(t, start, end, flags, v, i, q, history)


_call_forward = caller(forward_block)


@njit(cache=True, parallel=True)
def forward(
    address, block, steps, size, x, sent, start_of, channel, synapse, feed, narrow, most, table,
    flags, numbers, weight, initial, state, words, spikes, counts, margin, membrane, synaptic,
    history, held, measured, given,
):  # fmt: skip
    """All blocks of `block` units, shared among numba's threads."""
    units, width, kind = state.shape[1], table.shape[1], state.dtype
    for b in prange((units + block - 1) // block):
        scratch, current = np.empty((3, width), kind), np.empty((width // size, size), kind)
        fan, none = np.empty(synapse.shape[1], kind), np.empty((0, 0), np.int64)
        chosen = np.empty(max(size, most) + 4, np.int64)
        _call_forward(  # type: ignore[call-arg]
            address, b * block, min(units, (b + 1) * block), steps, size, x, sent, start_of,
            channel, synapse, feed, narrow, table, flags, numbers, weight, initial, state, words,
            spikes, counts, margin, membrane, synaptic, history, held, measured, given, scratch,
            current, fan, chosen, none,
        )  # fmt: skip


@njit(fastmath=FAST, forceinline=True, **INNER)
def _spikes_of(t, first, last, size, words, spikes, k):
    """The spikes of step t, from bits or as they stand."""
    if len(words) > 0:
        for s in range(first, last):
            unpack(words[t, s], k[(s - first) * size : (s - first + 1) * size])
    else:
        copy(spikes[t, first * size : last * size], k)


@njit(fastmath=FAST, forceinline=True, **INNER)
def _spikes_before(t, first, last, size, words, spikes, initial, k):
    """Those of the step before t."""
    if t == 0 or len(words) + len(spikes) == 0:
        copy(initial[2, first * size : last * size], k[: (last - first) * size])
    else:
        _spikes_of(t - 1, first, last, size, words, spikes, k[: (last - first) * size])


@njit(fastmath=FAST, forceinline=True, **INNER)
def _plus(row, grads, t, start, end):
    """Add a step's gradients where there are any."""
    if len(grads) > 0:
        plus(grads[t, start:end], row)


@njit(fastmath=FAST, forceinline=True, **INNER)
def _hear(t, start, end, size, adds, to_spikes, behind, to_counts, f):
    """The gradient f of the spikes of step t from who reads them; `adds`: to what is there."""
    if len(behind) > 0:
        if not adds:
            clear(f)
        fan_out = len(behind)
        heard = to_spikes[t, start // size * fan_out : end // size * fan_out]
        _multiply(heard, behind, f)
    elif adds:
        _plus(f, to_spikes, t, start, end)
    elif len(to_spikes) > 0:
        copy(to_spikes[t, start:end], f)
    else:
        clear(f)
    if len(to_counts) > 0:
        plus(to_counts[start:end], f)


@njit(fastmath=FAST, forceinline=True, **INNER)
def _learn(
    t, start, end, size, initial, words, spikes, history, flags, q, w, v, u, x, k, h, given,
    kept_i, kept_z, grads,
):  # fmt: skip
    """Add the gradients of what learns from step t, with the states before it."""
    m = end - start
    kept_v = history[0, t - 1, start:end] if t else initial[0, start:end]
    if learns(flags, A) or learns(flags, G):
        before = history[1, t - 1, start:end] if t else initial[1, start:end]
        copy(before, kept_i[0, :m])
        copy(history[1, t, start:end], kept_i[1, :m])
    if learns(flags, L):
        _spikes_before(t, start // size, end // size, size, words, spikes, initial, kept_z)
    add_to_table(grads, flags, w, v, u, x, k, h, kept_v, kept_i, kept_z, given)
    if flags[ADAPTIVE]:
        kept_q = history[2, t - 1, start:end] if t else initial[4, start:end]
        add_adaptation(grads, flags, q, k, history[0, t, start:end], kept_q, w)


@njit(fastmath=FAST, forceinline=True, **INNER)
def _hand_on(t, steps, start, end, x, out):
    """The gradient of the current to whom it came from, step by step or summed."""
    if len(out) == steps or (len(out) > 0 and t == steps - 1):
        copy(x, out[min(t, len(out) - 1), start:end])
    elif len(out) > 0:
        plus(x, out[0, start:end])


@njit(fastmath=FAST, **INNER)
def _recur(
    t, low, high, size, weight, initial, words, spikes, lines, to_weight, chosen, fired, none, f
):  # fmt: skip
    """From the currents of a block's step t, `lines`, to the spikes before it, by `weight`."""
    packed = len(words) > 0
    first, last, binary = low // size, high // size, packed and t > 0
    z = initial[2, low:high] if t == 0 or packed else spikes[t - 1, low:high]
    bits, before = words[t - 1, first:last] if binary else none, z.reshape(lines.shape)
    _gather_back(lines, before, bits, binary, to_weight, chosen, fired)
    panel, flat = size * PART, lines.reshape(high - low)
    add_product(flat, size, 1, size, weight, panel, PART, f.reshape(lines.shape))


@njit(fastmath=FAST, **INNER)
def _margins(low, high, size, x, table, flags, words, held, state, w, h, margin):
    """The margins of the units [low, high) again, from a constant current and the known spikes.

    Not of adaptive neurons. state: theirs before the first step, of which nothing is left; w, h:
    to work with.
    """
    width = table.shape[1]
    for t in range(len(margin)):
        for start in range(low, high, width):
            end = min(high, start + width)
            first, last, m = start // size, end // size, end - start
            here = slice(start - low, end - low)
            v, i, z = state[0, here], state[1, here], state[2, here]
            wm, hm, um = w[:m], h[:m], margin[t, here]
            integrate(x[0, start:end], table, flags, v, i, z, z, wm)
            margins_of(wm, table, um)
            _spikes_of(t, first, last, size, words, margin, z)
            if flags[REFRACTORY] > 0:
                _spikes_of(t, first, last, size, held, margin, hm)
            reset(wm, z, hm, table, flags[HARD], flags[REFRACTORY] > 0, v)


def backward_block(
    low: int, high: int, steps: int, size: int, x: F2, sent: I3, start_of: I1, channel: H1,
    narrow: bool, table: F2, flags: I1, numbers: F1, weight: F1, initial: F2, words: I3,
    spikes: F2, margin: F2, again: bool, history: F3, held: I3, given: bool, to_spikes: F2,
    behind: F2, to_counts: F1, to_margin: F2, to_membrane: F2, to_synaptic: F2, ahead: F2,
    state: F2, grads: F2, to_synapse: F2, to_weight: F2, out: F2, scratch: F2, kept_i: F2,
    lines: F2, fan: F2, fired: F2, chosen: I1, none: I2,
):  # fmt: skip
    """The adjoint of `forward_block`, backwards through the same steps; see `fused.backward`.

    state: gradients of this block's, from the last step's to the first's. again: whether `margin`,
    of this block alone, is to be made, by a state `ahead`.
    """
    width, latest = table.shape[1], lines.reshape(high - low)
    s, k, h, ub = scratch[0], scratch[1], scratch[2], scratch[3]
    if again:
        _begin(low, high, size, initial, ahead)
        _margins(low, high, size, x, table, flags, words, held, ahead, s, h, margin)
    wb, vb, kept_z = scratch[4], scratch[5], scratch[6]
    spiking, recurrent, learning = flags[SPIKING], len(weight) > 0, len(history) > 0
    offset, batch = low if again else 0, words.shape[1]
    for t in range(steps - 1, -1, -1):
        for start in range(low, high, width):
            end = min(high, start + width)
            first, last, m = start // size, end // size, end - start
            here = slice(start - low, end - low)
            v, i, f = state[0, here], state[1, here], state[2, here]
            um, km, hm, wm = ub[:m], k[:m], h[:m], wb[:m]
            if not flags[BEFORE]:
                _plus(v, to_membrane, t, start, end)
            q = state[4 if flags[ADAPTIVE] else 3, here]
            if flags[ADAPTIVE]:
                plus_product(v, q, table[FROM_MEMBRANE])
            vm = vb[:m]
            if learning:
                copy(v, vm)
            if spiking:
                adds = t == steps - 1 or recurrent or (flags[LATE] and flags[ATTACHED])
                _hear(t, start, end, size, adds, to_spikes, behind, to_counts, f)
                if flags[ADAPTIVE]:
                    plus_product(f, q, table[FROM_SPIKE])
                if flags[HARD] or learning or flags[EXACT]:
                    _spikes_of(t, first, last, size, words, spikes, km)
                if flags[REFRACTORY] > 0:
                    _spikes_of(t, first, last, size, held, spikes, hm)
                if flags[EXACT]:
                    _spikes_before(t, first, last, size, words, spikes, initial, kept_z)
                    row = t - 1 if flags[DELAYED] else t
                    drive = margin[row, start:end] if row >= 0 else initial[1, start:end]
                    shift, held_back = state[3, here], flags[REFRACTORY] > 0
                    moved_back(drive, kept_z[:m], km, hm, table, held_back, v, f, shift, um)
                else:
                    u = margin[t, start - offset : end - offset]
                    spike_back(u, km, hm, table, flags, numbers, given, v, f, s[:m], um)
                _plus(um, to_margin, t, start, end)
                for n in range(m):
                    wm[n] = v[n] + um[n]
            else:
                copy(v, wm)
            if flags[BEFORE]:
                _plus(wm, to_membrane, t, start, end)
            _plus(i, to_synaptic, t, start, end)
            gt = latest[here]
            plain = flags[DIRECT] and t < steps - 1 and len(to_synaptic) == 0  # i carries nothing
            current_back(table, flags, plain, recurrent or t == 0, wm, v, i, f, gt)
            if plain:
                copy(wm, gt)
            if learning:
                _learn(
                    t, start, end, size, initial, words, spikes, history, flags, q, wm, vm, um, gt,
                    km, hm, given, kept_i, kept_z, grads,
                )  # fmt: skip
            if flags[ADAPTIVE]:
                adapt_back(table, wm, q)
            every = lines[first - low // size : last - low // size]
            if to_synapse.size > 0:
                rows = t * batch + first
                bits = sent[t, first:last] if len(sent) > 0 else none
                _gather(rows, bits, start_of, channel, every, narrow, to_synapse, chosen, fan)
            _hand_on(t, steps, start, end, gt, out)
        if recurrent:
            _recur(
                t, low, high, size, weight, initial, words, spikes, lines, to_weight, chosen,
                fired, none, state[2],
            )  # fmt: skip


_call_backward = caller(backward_block)


@njit(cache=True, parallel=True)
def backward(
    address, block, steps, size, x, sent, start_of, channel, narrow, most, table, flags, numbers,
    weight, initial, words, spikes, margin, history, held, given, to_spikes, behind, to_counts,
    to_margin, to_membrane, to_synaptic, to_state, to_initial, grads, to_synapse, to_weight, out,
):  # fmt: skip
    """All blocks in as many shares as there are tables of `grads`, `to_synapse`, `to_weight`."""
    units, shares = words.shape[1] * size, len(grads)
    blocks, width, kind = (units + block - 1) // block, table.shape[1], table.dtype
    again = flags[SPIKING] != 0 and len(margin) == 0 and flags[EXACT] == 0
    for share in prange(shares):
        scratch, kept_i = np.zeros((7, width), kind), np.zeros((2, width), kind)
        fan = np.empty((4, to_synapse.shape[2] if narrow else 0), kind)
        chosen, none = np.empty(max(size, most) + 4, np.int64), np.empty((0, 0), np.int64)
        for b in range(share * blocks // shares, (share + 1) * blocks // shares):
            low, high = b * block, min(units, (b + 1) * block)
            lines = np.empty(high - low + PART, kind)[: high - low].reshape(-1, size)
            fired, kept = np.empty(lines.shape if len(weight) > 0 else (0, 0), kind), margin
            state = np.zeros((4 + flags[ADAPTIVE], high - low), kind)
            ahead = np.empty((3 if again else 0, high - low), kind)
            for part in range(len(to_state)):
                copy(to_state[part, low:high], state[part])
            if again:
                kept = np.empty((steps, high - low), kind)
            _call_backward(  # type: ignore[call-arg]
                address, low, high, steps, size, x, sent, start_of, channel, narrow, table, flags,
                numbers, weight, initial, words, spikes, kept, again, history, held, given,
                to_spikes, behind, to_counts, to_margin, to_membrane, to_synaptic, ahead, state,
                grads[share], to_synapse[share], to_weight[share], out, scratch, kept_i, lines,
                fan, fired, chosen, none,
            )  # fmt: skip
            for part in range(len(to_initial)):
                copy(state[part], to_initial[part, low:high])
