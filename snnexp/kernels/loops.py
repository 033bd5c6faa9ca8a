"""The loops over time, compiled by numba: one pass, with the state in first-level cache.

`run` and `run_back` go through the update that `NeuronParameters` documents over [time, batch,
neuron] arrays, in place. A block of units goes through all steps before the next block begins; the
inner loops run over units and choose by arithmetic, not by branches, so that they are vectorised.
Compiled code is cached on disk.
"""

import functools

import numpy as np
import torch
from numba import get_num_threads, njit, prange, set_num_threads
from torch import Tensor

from snnexp.kernels.scan import NeuronParameters

FORMULAS = ("arctan", "superspike", "sigmoid", "gaussian", "triangle", "boxcar", "exponential")
"""The surrogates that `_derivative` knows, in its order."""

SMALL = 1 << 13
"""Updates of a neuron below which a second core costs more than it saves."""

BLOCK = 1024
"""Units, that is neurons of some sample, that go through time together."""

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
    """All steps of the units [low, high); see `run`."""
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
    """The adjoint of `_forward_block`, backwards through the same steps; see `run_back`."""
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
def _forward_on_one_core(
    x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held
):
    for low in range(0, len(v_end), BLOCK):
        high = min(len(v_end), low + BLOCK)
        _forward_block(
            x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held,
            low, high,
        )  # fmt: skip


@njit(cache=True)
def _backward_on_one_core(
    constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out
):
    for low in range(0, len(v_end), BLOCK):
        high = min(len(v_end), low + BLOCK)
        _backward_block(
            constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out,
            low, high,
        )  # fmt: skip


@njit(cache=True, parallel=True)
def _forward_on_all_cores(
    x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held
):
    for block in prange((len(v_end) + BLOCK - 1) // BLOCK):
        low, high = block * BLOCK, min(len(v_end), (block + 1) * BLOCK)
        _forward_block(
            x, constants, flags, v_end, i_end, z_end, r_end, spikes, margin, membrane, held,
            low, high,
        )  # fmt: skip


@njit(cache=True, parallel=True)
def _backward_on_all_cores(
    constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out
):
    for block in prange((len(v_end) + BLOCK - 1) // BLOCK):
        low, high = block * BLOCK, min(len(v_end), (block + 1) * BLOCK)
        _backward_block(
            constants, flags, v_end, i_end, z_end, margin, held, to_spikes, to_membrane, out,
            low, high,
        )  # fmt: skip


def run(
    current: Tensor,
    parameters: NeuronParameters,
    recurrent: Tensor | None,
    state: tuple[Tensor, ...],
    record: tuple[Tensor, ...],
) -> None:
    """Run all steps in place: `state` is left as it is at the end, `record` is filled.

    current: [time or 1, batch, neuron]. record: spikes, margin, membrane and held, each [time,
    batch, neuron] where it is wanted, else of no step.
    """
    steps = max(len(record[1]), len(record[2]))
    constants, flags = _constants(parameters, current.dtype)
    states = [part.view(-1).numpy() for part in state]
    records = [_flat(part) for part in record]
    many = _worth_all_cores(steps if recurrent is None else 1, current)
    loop = _forward_on_all_cores if many else _forward_on_one_core
    if recurrent is None:
        loop(_flat(current), constants, flags, *states, *records)
        return
    onto, fed = recurrent.detach().t().contiguous(), torch.empty_like(state[0])
    steps_in = current.detach().expand(steps, -1, -1).unbind(0)
    now = fed.view(1, -1).numpy()
    for t, x in enumerate(steps_in):
        torch.addmm(x, state[2], onto, out=fed)
        loop(now, constants, flags, *states, *(part[t : t + 1] for part in records))


def run_back(
    parameters: NeuronParameters,
    recurrent: Tensor | None,
    record: tuple[Tensor, ...],
    given: tuple[Tensor, ...],
    carried: tuple[Tensor, ...],
    out: Tensor,
) -> None:
    """The adjoint of `run`, in place.

    record: margin and held, as `run` filled them. given: gradients of spikes and membrane, of no
    step where there is none. carried: gradients of the state (v, i, z), from the end's to the
    start's. out: the current's gradient, of one step if that stood for all.
    """
    steps = max(len(record[0]), len(given[1]))
    constants, flags = _constants(parameters, out.dtype)
    states = [part.view(-1).numpy() for part in carried]
    others = [_flat(part) for part in (*record, *given, out)]
    many = _worth_all_cores(steps if recurrent is None else 1, out)
    loop = _backward_on_all_cores if many else _backward_on_one_core
    if recurrent is None:
        loop(constants, flags, *states, *others)
        return
    back = recurrent.detach()
    for t in range(steps - 1, -1, -1):
        loop(constants, flags, *states, *(part[t : t + 1] for part in others))
        carried[2].addmm_(out[t], back)


def _flat(part: Tensor) -> np.ndarray:
    """[time, unit]: all units have the same constants, so that samples need not be told apart."""
    return part.detach().view(len(part), part.shape[1] * part.shape[2]).numpy()


def _worth_all_cores(steps: int, layer: Tensor) -> bool:
    threads = torch.get_num_threads()
    if threads == 1 or steps * layer[0].numel() < SMALL:
        return False
    if get_num_threads() != threads:
        set_num_threads(threads)
    return True


@functools.lru_cache(maxsize=256)
def _constants(parameters: NeuronParameters, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The numbers and the switches of the update, in the order in which the blocks read them.

    Arrays, since numba's calls are slow to take tuples. A spike is a margin above `edge`.
    """
    p = parameters
    number = np.float32 if dtype == torch.float32 else np.float64
    edge = 0.0 if p.strict else -float(np.finfo(number).smallest_subnormal)
    formula = None if p.surrogate is None else p.surrogate.formula
    name, *shape = formula or ("arctan", 1.0, 1.0)
    numbers = (p.keep_syn, p.keep_mem, p.gain, p.drift, p.threshold, p.amount, p.late, p.to)
    rest = (edge, float(p.refractory_steps), float(p.attached), *shape)
    switches = (p.hard, p.delayed, p.before_reset, p.surrogate is not None, FORMULAS.index(name))
    return np.array((*numbers, *rest), number), np.array(switches, np.int64)
