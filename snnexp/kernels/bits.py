"""Spikes as bits and events, and their way through weights; compiled by numba.

A word is int64; bit n % 64 of word n // 64 of a row is channel n. Where few channels spike, adding
their rows of weights is cheaper than a matrix product, which costs the same for silence.
"""

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

FAST = {"contract", "nsz"}
"""What the compiler may do with floats: fuse a product into a sum, ignore the sign of zero."""


@intrinsic
def lowest_bit(typing_context, word):
    """The place of the lowest bit of a word that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@njit(cache=True)
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


@njit(cache=True)
def pack(z, words):
    """The bits of what is not 0 in z."""
    for index in range(len(words)):
        part, word = z[index * 64 : (index + 1) * 64], np.int64(0)
        for n in range(len(part)):
            word |= np.int64(part[n] != 0) << n
        words[index] = word


@njit(cache=True)
def unpack(words, z):
    """The inverse of `pack`, for spikes that are 0 or 1."""
    for index in range(len(words)):
        part, word = z[index * 64 : (index + 1) * 64], words[index]
        for n in range(len(part)):
            part[n] = (word >> n) & 1


@njit(fastmath=FAST, error_model="numpy", cache=True)
def add_rows(out, weight, chosen, count):
    """Out += the chosen rows of weight, four at a time; weight's last row is 0 and fills up."""
    while count % 4:
        chosen[count] = len(weight) - 1
        count += 1
    for k in range(0, count, 4):
        w0, w1 = weight[chosen[k]], weight[chosen[k + 1]]
        w2, w3 = weight[chosen[k + 2]], weight[chosen[k + 3]]
        for n in range(len(out)):
            out[n] += (w0[n] + w1[n]) + (w2[n] + w3[n])


@njit(fastmath=FAST, error_model="numpy", cache=True)
def _add_to_rows(total, chosen, count, line):
    """The chosen rows of total += line."""
    for k in range(count):
        row = total[chosen[k]]
        for n in range(len(line)):
            row[n] += line[n]


@njit(cache=True, parallel=True)
def project_words(words, weight, out, chunk):
    """out[row] = sum of the weights [channel + 1, neuron] of the row's spikes."""
    for part in prange((len(out) + chunk - 1) // chunk):
        chosen = np.empty(len(weight) + 4, np.int64)
        for row in range(part * chunk, min(len(out), (part + 1) * chunk)):
            out[row] = 0
            add_rows(out[row], weight, chosen, list_bits(words[row], chosen))


@njit(cache=True, parallel=True)
def gather_words(words, lines, totals):
    """totals[p, channel] += lines[row] for each spike, in as many shares p as totals has."""
    share = (len(lines) + len(totals) - 1) // len(totals)
    for part in prange(len(totals)):
        chosen, total = np.empty(totals.shape[1] + 4, np.int64), totals[part]
        for row in range(part * share, min(len(lines), (part + 1) * share)):
            _add_to_rows(total, chosen, list_bits(words[row], chosen), lines[row])


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


@njit(cache=True, parallel=True)
def project_events(start, channel, weight, out, chunk):
    """out[row] = sum of the weights [channel + 1, neuron] of the row's events."""
    for part in prange((len(out) + chunk - 1) // chunk):
        low, high = part * chunk, min(len(out), (part + 1) * chunk)
        chosen = np.empty(_longest(start, low, high) + 4, np.int64)
        for row in range(low, high):
            count = start[row + 1] - start[row]
            for event in range(count):
                chosen[event] = channel[start[row] + event]
            out[row] = 0
            add_rows(out[row], weight, chosen, count)


@njit(cache=True, parallel=True)
def gather_events(start, channel, lines, totals):
    """totals[p, channel] += lines[row] for each event, in as many shares p as totals has."""
    share = (len(lines) + len(totals) - 1) // len(totals)
    for part in prange(len(totals)):
        total = totals[part]
        for row in range(part * share, min(len(lines), (part + 1) * share)):
            here = channel[start[row] : start[row + 1]]
            _add_to_rows(total, here, len(here), lines[row])


@njit(cache=True)
def _longest(start, low, high):
    longest = 0
    for row in range(low, high):
        longest = max(longest, start[row + 1] - start[row])
    return longest
