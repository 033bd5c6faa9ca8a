"""Hands tensors to the loops that numba compiled, and chooses blocks and threads for them."""

import threading
from functools import lru_cache

import numpy as np
import torch
from numba import config, set_num_threads
from torch import Tensor

from snnexp.kernels import bits, loops
from snnexp.kernels.apart import compile_for
from snnexp.kernels.switches import NUMBERS, Outcome, Source, Switches
from snnexp.kernels.tiles import PART

ROW = 512
"""Units that go through a step together: about as many, in whole samples."""
BLOCK = 2048
"""Units that go through time together, about: their state stays in the first-level cache."""
SHARE = 1 << 16
"""Updates of a unit that are worth another core, beyond the second."""
NARROW = 16
"""Neurons up to which a product with the unpacked spikes may beat adding rows of weights."""


def forward(
    source: Source,
    table: Tensor,
    recurrent: Tensor | None,
    initial: Tensor,
    measured: Tensor | None,
    given: Tensor | None,
    switches: Switches,
    shape: list[float],
    steps: int,
) -> Outcome:
    """All steps from the state `initial` [4 or 5, batch, neuron]; see `operators.scan`."""
    _, batch, size = initial.shape
    new, dtype = initial.new_empty, initial.dtype
    state = new(initial.shape)
    on = switches.spiking
    spikes = new(steps if on and not switches.packed else 0, batch, size)
    counts = new(batch, size)
    margin = new(steps if on and switches.margin else 0, batch, size)
    membrane = new(steps if switches.membrane else 0, batch, size)
    synaptic = new(steps if switches.synaptic else 0, batch, size)
    history = new(2 + switches.adaptive if switches.history else 0, steps, batch, size)
    bits_shape = (batch, (size + 63) // 64)
    words = new(steps if on and switches.packed else 0, *bits_shape, dtype=torch.int64)
    held = new(steps if switches.refractory_steps else 0, *bits_shape, dtype=torch.int64)
    tile, block = _tiled(table, batch, recurrent is not None, switches)
    narrow, most = _extent(source)
    _use_threads(steps * batch * _width(source, recurrent, size))
    loops.forward(
        compile_for(loops.forward_block, tile.dtype).address,
        block,
        steps,
        size,
        _none(dtype, 2) if source.current is None else _flat(source.current),
        *_sent(source),
        *_weights(source, narrow, dtype),
        narrow,
        most,
        tile,
        _flags(switches),
        _numbers(switches, tuple(shape), dtype),
        _none(dtype, 2) if recurrent is None else bordered(recurrent),
        _first(initial),
        _flat(state),
        words.numpy(),
        _flat(spikes),
        counts.numpy().reshape(-1),
        _flat(margin),
        _flat(membrane),
        _flat(synaptic),
        history.numpy().reshape(len(history), steps, -1) if switches.history else _none(dtype, 3),
        held.numpy() if switches.refractory_steps else _none(torch.int64, 3),
        _none(dtype, 2) if measured is None else _flat(measured),
        _none(dtype, 2) if given is None else _flat(given),
    )
    return spikes, counts, margin, membrane, synaptic, history, state, words, held


def backward(
    source: Source,
    table: Tensor,
    recurrent: Tensor | None,
    initial: Tensor,
    record: tuple[Tensor, ...],
    given: bool,
    gradients: tuple[Tensor | None, ...],
    switches: Switches,
    shape: list[float],
    steps: int,
    lines: int,
    learns_initial: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of `forward`; see `operators.scan_backward`."""
    _, batch, size = initial.shape
    words, spikes, margin, history, held = record
    dtype, new = initial.dtype, initial.new_empty
    to_spikes, behind, to_counts, to_margin, to_membrane, to_synaptic, to_state = gradients
    to_initial = new(len(initial) if learns_initial else 0, batch, size)
    out = new(lines, batch, size)
    reads_initial = switches.history or switches.exact or recurrent is not None
    tile, block = _tiled(table, batch, recurrent is not None, switches)
    shares = _use_threads(2 * steps * batch * _width(source, recurrent, size))
    narrow, most = _extent(source)
    fan_in = 0 if source.weight is None else source.weight.shape[1]
    tables = tile.dtype
    grads = np.zeros((shares, len(NUMBERS) if switches.history else 0, tile.shape[1]), tables)
    to_weight = np.zeros((shares, size, fan_in) if narrow else (shares, fan_in, size), tables)
    to_recurrent = np.zeros((shares, size if recurrent is not None else 0, size), tables)
    loops.backward(
        compile_for(loops.backward_block, tile.dtype).address,
        block,
        steps,
        size,
        _none(dtype, 2) if source.current is None else _flat(source.current),
        *_sent(source),
        narrow,
        most,
        tile,
        _flags(switches),
        _numbers(switches, tuple(shape), dtype),
        _none(dtype, 1) if recurrent is None else _panels(recurrent),
        _flat(initial) if reads_initial else _first(initial),
        words.numpy(),
        _flat(spikes),
        _flat(margin),
        history.numpy().reshape(len(history), steps, -1) if switches.history else _none(dtype, 3),
        held.numpy() if switches.refractory_steps else _none(torch.int64, 3),
        given,
        _none(dtype, 2) if to_spikes is None else _flat(to_spikes),
        _none(dtype, 2) if behind is None else behind.contiguous().numpy(),
        _none(dtype, 1) if to_counts is None else to_counts.contiguous().numpy().reshape(-1),
        _none(dtype, 2) if to_margin is None else _flat(to_margin),
        _none(dtype, 2) if to_membrane is None else _flat(to_membrane),
        _none(dtype, 2) if to_synaptic is None else _flat(to_synaptic),
        _none(dtype, 2) if to_state is None else _flat(to_state),
        _flat(to_initial),
        grads,
        to_weight,
        to_recurrent,
        _flat(out),
    )
    if learns_initial and not switches.exact:
        to_initial[3] = 0
    by_sample = grads.reshape(shares, grads.shape[1], tile.shape[1] // size, size)
    to_table = torch.from_numpy(by_sample.sum((0, 2))) if switches.history else new(0, size)
    return out, _sum(to_weight, not narrow), to_table, _sum(to_recurrent, True), to_initial


def _sum(shares: np.ndarray, turned: bool) -> Tensor:
    total = shares[0] if len(shares) == 1 or shares.size == 0 else shares.sum(0)
    return torch.from_numpy(np.ascontiguousarray(total.T) if turned else total)


def _sent(source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bits, and where the events of each row begin, with their channels."""
    if source.sent is None:
        return _none(torch.int64, 3), _none(torch.int64, 1), _none(torch.int32, 1)
    if source.start is None:
        return source.sent.numpy(), _none(torch.int64, 1), _none(torch.int32, 1)
    return _none(torch.int64, 3), source.start.numpy(), source.sent.numpy()


def _weights(source: Source, narrow: bool, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The synapses' weight as it stands, and if needed turned with a row of zeros."""
    if source.weight is None:
        return _none(dtype, 2), _none(dtype, 2)
    weight = source.weight.contiguous().numpy()
    return weight, _none(dtype, 2) if narrow else bordered(source.weight)


def _width(source: Source, recurrent: Tensor | None, size: int) -> int:
    """Updates that a row (step, sample) costs, about: of the neurons, and of the channels' bits."""
    channels = 0 if source.weight is None else source.weight.shape[1]
    return size * (4 if recurrent is not None else 1) + channels


def _extent(source: Source) -> tuple[bool, int]:
    """Whether spikes are projected by products, and how many a row has at most."""
    if source.sent is None or source.weight is None:
        return False, 0
    if source.start is None:
        return _is_narrow(source.sent, source.weight), source.weight.shape[1]
    return False, bits.longest(source.start.numpy())


def _is_narrow(words: Tensor, weight: Tensor) -> bool:
    """Whether few neurons hear of so many spikes that a product with all channels is cheaper.

    By what the two were measured to take: 7 ns a spike; 30 ns a row, with 0.07 ns for each channel
    and 0.02 ns for each weight.
    """
    size, channels = weight.shape
    if size > NARROW:
        return False
    rows = words.shape[0] * words.shape[1]
    return 7 * int(bits.count_bits(_rows(words))) > rows * (30 + (0.07 + 0.02 * size) * channels)


def project_words(words: Tensor, weight: Tensor) -> Tensor:
    """[time, batch, neuron] from packed spikes [time, batch, word], weight [neuron, channel]."""
    out = weight.new_empty(*words.shape[:2], len(weight))
    rows = out.shape[0] * out.shape[1]
    weight, words = weight.contiguous(), words.contiguous()
    chunk = _chunk(rows, _use_threads(rows * sum(weight.shape)))
    narrow, feed = _is_narrow(words, weight), bordered(weight)
    bits.project_words(_rows(words), weight.numpy(), feed, narrow, _rows(out), chunk)
    return out


def gather_words(words: Tensor, lines: Tensor, weight: Tensor) -> Tensor:
    """The gradient of `project_words`' weight from the current's, `lines`."""
    lines, words, (size, channels) = lines.contiguous(), words.contiguous(), weight.shape
    shares = _use_threads(len(lines) * lines.shape[1] * (size + channels))
    narrow = _is_narrow(words, weight)
    shape = (size, channels) if narrow else (channels, size)
    rows = _rows(lines)
    totals = np.zeros((shares, *shape), rows.dtype)
    bits.gather_words(_rows(words), rows, channels, narrow, totals)
    return _sum(totals, not narrow)


def unpack(words: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """[time, batch, neuron] from packed spikes [time, batch, word]."""
    out = torch.empty(*words.shape[:2], size, dtype=dtype)
    rows = out.shape[0] * out.shape[1]
    threads = _use_threads(out.numel())
    bits.unpack_rows(_rows(words), _rows(out), _chunk(rows, threads))
    return out


def pack(spikes: Tensor) -> tuple[Tensor, int]:
    """Words [time, batch, word] and the number of spikes; -1 if one is neither 0 nor 1."""
    time, batch, size = spikes.shape
    words = np.empty((time * batch, (size + 63) // 64), np.int64)
    chunk = _chunk(len(words), _use_threads(len(words) * size))
    found = int(bits.pack_rows(_rows(spikes.contiguous()), words, chunk))
    return torch.from_numpy(words.reshape(time, batch, -1)), found


def sort_events(
    step: Tensor, sample: Tensor, channel: Tensor, sizes: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Where the events of each row (step, sample) begin, and the channels in that order; int32.

    Raises ValueError for an event outside `sizes`, the numbers of steps, samples and channels.
    """
    start = torch.empty(sizes[0] * sizes[1] + 1, dtype=torch.int64)
    a, b, c = (part.to(torch.int32).contiguous().numpy() for part in (step, sample, channel))
    ordered = bits.sort_events(a, b, c, sizes, start.numpy())
    if start[0] < 0:
        raise ValueError(
            f"events: one lies outside {sizes[0]} steps, {sizes[1]} samples and {sizes[2]} channels"
        )
    return start, torch.from_numpy(ordered)


def project_events(start: Tensor, channel: Tensor, weight: Tensor, batch: int) -> Tensor:
    """[time, batch, neuron] from sorted events, weight [neuron, channel]."""
    rows = len(start) - 1
    out = weight.new_empty(rows // batch, batch, len(weight))
    threads = _use_threads(out.numel())
    places = start.numpy()
    bits.project_events(
        places,
        channel.numpy(),
        bordered(weight),
        _rows(out),
        bits.longest(places),
        _chunk(rows, threads),
    )
    return out


def gather_events(start: Tensor, channel: Tensor, lines: Tensor, channels: int) -> Tensor:
    """The gradient [neuron, channel] of `project_events`' weight from the current's, `lines`."""
    lines = lines.contiguous()
    shares = _use_threads(lines.numel())
    rows = _rows(lines)
    totals = np.zeros((shares, channels, rows.shape[1]), rows.dtype)
    bits.gather_events(start.numpy(), channel.numpy(), rows, totals)
    return _sum(totals, True)


def bordered(weight: Tensor) -> np.ndarray:
    """Weight [neuron, channel] as [channel + 1, neuron], whose last row is 0."""
    rows = weight.numpy()
    out = np.empty((rows.shape[1] + 1, len(rows)), rows.dtype)  # numpy's calls are the shorter ones
    out[:-1] = rows.T
    out[-1] = 0
    return out


def _panels(weight: Tensor) -> np.ndarray:
    """Weight [to, from], flat: for each `PART` of the columns its rows, filled up with zeros."""
    rows, size = weight.shape
    out = np.zeros((rows, -(-size // PART) * PART), weight.numpy().dtype)
    out[:, :size] = weight.numpy()
    return np.ascontiguousarray(out.reshape(rows, -1, PART).swapaxes(0, 1)).reshape(-1)


def _tiled(
    table: Tensor, batch: int, recurrent: bool, switches: Switches
) -> tuple[np.ndarray, int]:
    """See `_layout`; a learnt table comes once, and with the graph that made it."""
    find = _layout.__wrapped__ if switches.history else _layout
    return find(table, batch, recurrent, torch.get_num_threads())


@lru_cache(maxsize=64)
def _layout(table: Tensor, batch: int, recurrent: bool, threads: int) -> tuple[np.ndarray, int]:
    """The table repeated for the samples of a row, and the units of a block.

    Every thread has as many blocks of about one size, and a block as many rows, where the batch
    allows. Found again by the table's identity, which is that of its neurons where it is constant.
    """
    size = table.shape[1]
    share = -(-batch // threads)
    least = 8 if recurrent else 1  # a row of weights that was read serves them all
    samples = _even(share, max(least, round(BLOCK / size)))
    row = _even(samples, max(1, round(ROW / size)))
    return table.repeat(1, row).numpy(), samples * size


def _even(samples: int, wanted: int) -> int:
    """How many to take at once, about `wanted`, so that the last take is not much smaller."""
    return -(-samples // max(1, round(samples / wanted)))


_used = threading.local()
"""`number` of threads that this thread has set: to ask numba takes as long as a small loop."""


def _use_threads(updates: int) -> int:
    """Threads follow torch's, fewer for little work; their number.

    Two at least: to change their number takes longer than what one would save.
    """
    most = min(torch.get_num_threads(), config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    wanted = min(most, max(2, updates // SHARE))
    if getattr(_used, "number", None) != wanted:
        set_num_threads(wanted)
        _used.number = wanted
    return wanted


def _chunk(rows: int, threads: int) -> int:
    """Rows that a thread takes at once."""
    return max(1, -(-rows // (4 * threads)))


@lru_cache
def _none(dtype: torch.dtype, dimensions: int) -> np.ndarray:
    """What is not there."""
    return torch.empty((0,) * dimensions, dtype=dtype).numpy()


def _flat(part: Tensor) -> np.ndarray:
    """[time, unit]: all samples' neurons, one after another."""
    time, batch, size = part.shape
    return part.contiguous().numpy().reshape(time, batch * size) if time else _none(part.dtype, 2)


def _first(initial: Tensor) -> np.ndarray:
    """The state before the first step; of one sample alone where it is that of all."""
    return _flat(initial if initial.stride(1) else initial[:, :1])


def _rows(part: Tensor) -> np.ndarray:
    time, batch, size = part.shape
    return part.numpy().reshape(time * batch, size)


@lru_cache(maxsize=256)
def _flags(switches: Switches) -> np.ndarray:
    return np.array(switches, np.int64)


@lru_cache(maxsize=256)
def _numbers(switches: Switches, shape: tuple[float, ...], dtype: torch.dtype) -> np.ndarray:
    """A spike is a margin above the first; the others are the surrogate's."""
    number = np.float32 if dtype == torch.float32 else np.float64
    edge = 0.0 if switches.strict else -float(np.finfo(number).smallest_subnormal)
    return np.array([edge, *shape], number)
