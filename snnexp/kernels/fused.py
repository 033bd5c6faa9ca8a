"""The compiled loop with its hand-derived backward pass, as one function of autograd.

Without recurrence one call runs all steps. With it, each step is a matrix product of torch's and a
call for that step; the recurrent weight's gradient is one product after the loop.
"""

import functools
from typing import Any

import numpy as np
import torch
from numba import get_num_threads, set_num_threads
from torch import Tensor

from snnexp.kernels import loops
from snnexp.kernels.scan import NeuronParameters, Scan, State

SMALL = 1 << 13
"""Updates of a neuron below which a second core costs more than it saves."""


def scan(
    current: Tensor,
    parameters: NeuronParameters,
    recurrent: Tensor | None,
    state: State | None,
    steps: int,
    membrane: bool,
    margin: bool,
) -> Scan:
    """See `kernels.scan`. The margin carries no gradient, nor does the state but for v, i and z."""
    before = parameters.at_rest(current) if state is None else state
    spikes, trace, margins, *after = _Fused.apply(
        current, recurrent, *before, parameters, steps, membrane
    )
    spiking = parameters.surrogate is not None
    if spiking and parameters.returns_late:
        spikes = torch.cat([before[2][None], spikes[:-1]])
    return Scan(
        state=tuple(after),
        spikes=spikes if spiking else None,
        membrane=trace if membrane else None,
        margin=margins if margin and spiking else None,
    )


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        recurrent: Tensor | None,
        v: Tensor,
        i: Tensor,
        z: Tensor,
        r: Tensor,
        parameters: NeuronParameters,
        steps: int,
        membrane: bool,
    ) -> Any:
        shape = (steps, *current.shape[1:])
        spiking, first = parameters.surrogate is not None, z
        spikes, margins = (current.new_empty(shape if spiking else (0, *shape[1:])) for _ in "zu")
        trace = current.new_empty(shape if membrane else (0, *shape[1:]))
        held = current.new_empty(shape if parameters.refractory_steps else (0, *shape[1:]))
        state = tuple(part.contiguous().clone() for part in (v, i, z, r))
        record = (spikes, margins, trace, held)
        run(current.contiguous(), parameters, recurrent, state, record)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(margins, state[3])
        ctx.save_for_backward(margins, held, spikes, recurrent, first)
        ctx.parameters, ctx.static = parameters, len(current) < steps
        return spikes, trace, margins, *state

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        margins, held, spikes, recurrent, first = ctx.saved_tensors
        to_spikes, to_trace, _, *to_state = given
        p: NeuronParameters = ctx.parameters
        steps = max(len(margins), 0 if to_trace is None else len(to_trace))
        if steps == 0:  # an integrator whose trace nobody used
            return (None,) * 9
        empty = first.new_empty(0, *first.shape)
        grads = tuple(empty if g is None else g.contiguous() for g in (to_spikes, to_trace))
        carried = tuple(
            torch.zeros_like(first) if g is None else g.contiguous().clone() for g in to_state[:3]
        )
        static = ctx.static and recurrent is None
        out = first.new_empty(1 if static else steps, *first.shape)
        weight = None
        run_back(p, recurrent, (margins, held), grads, carried, out)
        if recurrent is not None:
            weight = out[0].t() @ first
            weight += out[1:].flatten(0, 1).t() @ spikes[:-1].flatten(0, 1)
            out = out.sum(0, keepdim=True) if ctx.static else out
        return out, weight, *carried, None, None, None, None


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
    loop = loops.forward_on_all_cores if many else loops.forward_on_one_core
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
    loop = loops.backward_on_all_cores if many else loops.backward_on_one_core
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
    switches = (p.hard, p.delayed, p.before_reset, p.surrogate is not None)
    kind = loops.FORMULAS.index(name)
    return np.array((*numbers, *rest), number), np.array((*switches, kind), np.int64)
