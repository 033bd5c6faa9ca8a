"""Spikes as bits and events, and their way through weights; compiled by numba.

A word is int64; bit n % 64 of word n // 64 of a row is channel n. Where few channels spike, adding
their rows of weights is cheaper than a matrix product, which costs the same for silence.
"""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from snnexp.kernels.tiles import FAST, INNER, VIEWS, add_rows

SUM = FAST | {"reassoc"}
"""As `FAST`, and add in any order."""


@intrinsic
def lowest_bit(typing_context, word):
    """The place of the lowest bit of a word that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def number_of_bits(typing_context, word):
    """How many bits of a word are set."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate


@njit(cache=True, **INNER)
def list_bits(words, chosen):
    """Fill `chosen` with the places of all bits of a row of words; returns their number."""
    count = 0
    for index in range(len(words)):
        word = words[index]
        while word:
            chosen[count] = index * 64 + lowest_bit(word)  # type: ignore[call-arg]
            word &= word - 1
            count += 1
    return count


@intrinsic
def _to_word(typing_context, values, start):
    """The bits of what is not 0 in values[start : start + 64]; vectorisers do not find it."""

    def generate(context, builder, signature, arguments):
        place, kind = _vector(context, builder, signature.args[0], *arguments)
        zeros = ir.Constant(kind, None)
        bits = builder.fcmp_unordered("!=", builder.load(place, align=4), zeros)
        return builder.bitcast(bits, ir.IntType(64))

    return types.int64(values, types.int64), generate


@intrinsic
def _from_word(typing_context, word, values, start):
    """The inverse: fill values[start : start + 64] with 0 and 1."""

    def generate(context, builder, signature, arguments):
        place, kind = _vector(context, builder, signature.args[1], *arguments[1:])
        bits = builder.bitcast(arguments[0], ir.VectorType(ir.IntType(1), 64))
        builder.store(builder.uitofp(bits, kind), place, align=4)
        return context.get_dummy_value()

    return types.none(types.int64, values, types.int64), generate


def _vector(context, builder, kind, array, start):
    """Where 64 numbers of an array begin, and their type."""
    data = context.make_array(kind)(context, builder, array).data
    vector = ir.VectorType(context.get_data_type(kind.dtype), 64)
    return builder.bitcast(builder.gep(data, [start]), vector.as_pointer()), vector


@njit(cache=True, **INNER)
def pack(z, words):
    """The bits of what is not 0 in z."""
    size = len(z)
    for index in range(size // 64):
        words[index] = _to_word(z, index * 64)  # type: ignore[call-arg]
    rest = size % 64
    if rest and size > 64:  # the last 64, of which some were packed before
        words[size // 64] = np.uint64(_to_word(z, size - 64)) >> np.uint64(64 - rest)  # type: ignore[call-arg]
    elif rest:
        word = np.int64(0)
        for n in range(size):
            word |= np.int64(z[n] != 0) << n
        words[0] = word


@njit(cache=True, **INNER)
def unpack(words, z):
    """The inverse of `pack`, for spikes that are 0 or 1."""
    size = len(z)
    rest = size % 64
    if rest and size > 64:  # the last 64, of which some are then filled again
        _from_word(words[size // 64] << (64 - rest), z, size - 64)  # type: ignore[call-arg]
    elif rest:
        for n in range(size):
            z[n] = (words[0] >> n) & 1
    for index in range(size // 64):
        _from_word(words[index], z, index * 64)  # type: ignore[call-arg]


@njit(fastmath=FAST, cache=True, **INNER)
def add_to_rows(total, chosen, count, line):
    """The chosen rows of total += line."""
    for k in range(count):
        row = total[chosen[k]]
        for n in range(len(line)):
            row[n] += line[n]


@njit(cache=True, **INNER)
def clear(rows):
    """Faster than an assignment to slices, which checks shapes."""
    flat = rows.reshape(rows.size)
    for n in range(len(flat)):
        flat[n] = 0


@njit(cache=True, **VIEWS)
def count_bits(words):
    """The spikes of all rows."""
    flat, total = words.reshape(words.size), np.int64(0)
    for index in range(len(flat)):
        total += number_of_bits(flat[index])  # type: ignore[call-arg]
    return total


@njit(fastmath=SUM, cache=True, **INNER)
def multiply(weight, z, out):
    """`out` = W z for few neurons: five rows of W [neuron, channel] at a time."""
    tail, zero = len(out) - len(out) % 5, z.dtype.type(0)
    for n in range(0, tail, 5):
        w0, w1, w2, w3, w4 = weight[n], weight[n + 1], weight[n + 2], weight[n + 3], weight[n + 4]
        a, b, c, d, e = zero, zero, zero, zero, zero
        for k in range(len(z)):
            x = z[k]
            a += w0[k] * x
            b += w1[k] * x
            c += w2[k] * x
            d += w3[k] * x
            e += w4[k] * x
        out[n], out[n + 1], out[n + 2], out[n + 3], out[n + 4] = a, b, c, d, e
    for n in range(tail, len(out)):
        w0, a = weight[n], zero
        for k in range(len(z)):
            a += w0[k] * z[k]
        out[n] = a


@njit(fastmath=FAST, cache=True, **INNER)
def add_products(total, lines, words, z):
    """`total` [neuron, channel] += the products of four lines [neuron] and rows of words."""
    for r in range(4):
        unpack(words[r], z[r])
    z0, z1, z2, z3 = z[0], z[1], z[2], z[3]
    for n in range(len(total)):
        row, a, b, c, d = total[n], lines[0, n], lines[1, n], lines[2, n], lines[3, n]
        for k in range(len(row)):
            row[k] += (a * z0[k] + b * z1[k]) + (c * z2[k] + d * z3[k])


@njit(cache=True, **INNER)
def project_rows(words, weight, feed, narrow, out, chosen, z):
    """out[row] = W times the spikes of a row: `narrow` by products, else by rows of `feed`."""
    if not narrow:
        clear(out)
    for row in range(len(out)):
        if narrow:
            unpack(words[row], z)
            multiply(weight, z, out[row])
        else:
            count = list_bits(words[row], chosen)
            if count > 0:
                add_rows(out[row], feed, chosen, count)


@njit(cache=True, **INNER)
def gather_rows(words, lines, narrow, total, chosen, z):
    """The gradient of `project_rows`' weight: [neuron, channel] if narrow, else turned."""
    tail = len(lines) - len(lines) % 4 if narrow else 0
    for row in range(0, tail, 4):
        add_products(total, lines[row : row + 4], words[row : row + 4], z)
    for row in range(tail, len(lines)):
        count = list_bits(words[row], chosen)
        if narrow:
            for n in range(len(total)):
                for k in range(count):
                    total[n, chosen[k]] += lines[row, n]
        else:
            add_to_rows(total, chosen, count, lines[row])


@njit(cache=True, parallel=True)
def project_words(words, weight, feed, narrow, out, chunk):
    """`project_rows`, shared among the threads."""
    for part in prange((len(out) + chunk - 1) // chunk):
        chosen, z = np.empty(weight.shape[1] + 4, np.int64), np.empty(weight.shape[1], out.dtype)
        low, high = part * chunk, min(len(out), (part + 1) * chunk)
        project_rows(words[low:high], weight, feed, narrow, out[low:high], chosen, z)


@njit(cache=True, parallel=True)
def gather_words(words, lines, channels, narrow, totals):
    """`gather_rows` in as many shares as totals has."""
    share = (len(lines) + len(totals) - 1) // len(totals)
    for part in prange(len(totals)):
        chosen, z = np.empty(channels + 4, np.int64), np.empty((4, channels), lines.dtype)
        low, high = part * share, min(len(lines), (part + 1) * share)
        gather_rows(words[low:high], lines[low:high], narrow, totals[part], chosen, z)


@njit(cache=True, parallel=True)
def unpack_rows(words, out, chunk):
    """`unpack`, row by row."""
    for part in prange((len(out) + chunk - 1) // chunk):
        for row in range(part * chunk, min(len(out), (part + 1) * chunk)):
            unpack(words[row], out[row])


@njit(cache=True, parallel=True)
def pack_rows(spikes, words, chunk):
    """`pack`, row by row; returns the number of spikes, or -1 if one is neither 0 nor 1."""
    parts = (len(words) + chunk - 1) // chunk
    found = np.zeros(parts, np.int64)
    for part in prange(parts):
        count = np.int64(0)
        for row in range(part * chunk, min(len(words), (part + 1) * chunk)):
            z, odd, ones = spikes[row], 0, 0
            for n in range(len(z)):
                odd += z[n] * (1 - z[n]) != 0
            for n in range(len(z)):
                ones += z[n] != 0
            if odd:
                count = -1
                break
            count += ones
            pack(z, words[row])
        found[part] = count
    total = np.int64(0)
    for part in range(parts):
        if found[part] < 0:
            return np.int64(-1)
        total += found[part]
    return total


@njit(cache=True)
def sort_events(step, sample, channel, sizes, start):
    """The events' channels in the order of their rows (step, sample); start[row]: where they begin.

    sizes: numbers of steps, samples and channels; start[0] is -1 if an event lies outside them.
    A counting sort, which events that are in order already are spared: then `channel` itself.
    """
    start[:] = 0
    steps, batch, channels = sizes
    previous, ordered = np.int64(-1), True
    for event in range(len(step)):
        inside = (0 <= step[event] < steps) & (0 <= sample[event] < batch)
        if not inside or not 0 <= channel[event] < channels:
            start[0] = -1
            return channel
        row = np.int64(step[event]) * batch + sample[event]
        start[row + 1] += 1
        ordered &= row >= previous
        previous = row
    for row in range(len(start) - 1):
        start[row + 1] += start[row]
    if ordered:
        return channel
    place, out = start[:-1].copy(), np.empty_like(channel)
    for event in range(len(step)):
        row = np.int64(step[event]) * batch + sample[event]
        out[place[row]] = channel[event]
        place[row] += 1
    return out


@njit(cache=True, **INNER)
def list_events(start, channel, row, chosen):
    """Fill `chosen` with the channels of a row's events; returns their number."""
    first, last = start[row], start[row + 1]
    for event in range(first, last):
        chosen[event - first] = channel[event]
    return last - first


@njit(cache=True, **INNER)
def project_event_rows(start, channel, first, feed, out, chosen):
    """out[row] = the sum of feed's rows for the events of row `first` and those after it."""
    clear(out)
    for row in range(len(out)):
        count = list_events(start, channel, first + row, chosen)
        if count > 0:
            add_rows(out[row], feed, chosen, count)


@njit(cache=True, parallel=True)
def project_events(start, channel, feed, out, most, chunk):
    """out[row] = sum of the weights [channel + 1, neuron] of the row's events, at most `most`."""
    for part in prange((len(out) + chunk - 1) // chunk):
        chosen = np.empty(most + 4, np.int64)
        low, high = part * chunk, min(len(out), (part + 1) * chunk)
        project_event_rows(start, channel, low, feed, out[low:high], chosen)


@njit(cache=True, **INNER)
def gather_event_rows(start, channel, first, lines, total):
    """total[channel] += the line of each event, the lines being those of row `first` and after."""
    for row in range(len(lines)):
        here = channel[start[first + row] : start[first + row + 1]]
        add_to_rows(total, here, len(here), lines[row])


@njit(cache=True, parallel=True)
def gather_events(start, channel, lines, totals):
    """`gather_event_rows` in as many shares as totals has."""
    share = (len(lines) + len(totals) - 1) // len(totals)
    for part in prange(len(totals)):
        low, high = part * share, min(len(lines), (part + 1) * share)
        gather_event_rows(start, channel, low, lines[low:high], totals[part])


@njit(cache=True, **VIEWS)
def longest(start):
    """The events of the row that has most."""
    most = 0
    for row in range(len(start) - 1):
        most = max(most, start[row + 1] - start[row])
    return most
