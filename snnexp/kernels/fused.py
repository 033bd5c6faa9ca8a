"""The compiled loop with its hand-derived backward pass, as one function of autograd.

Without recurrence one call runs all steps. With it, each step is a matrix product of torch's and a
call for that step; the recurrent weight's gradient is one product after the loop.
"""

from typing import Any

import torch
from torch import Tensor

from snnexp.kernels import loops
from snnexp.kernels.scan import NeuronParameters, Scan, State


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
        loops.run(current.contiguous(), parameters, recurrent, state, record)
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
        loops.run_back(p, recurrent, (margins, held), grads, carried, out)
        if recurrent is not None:
            weight = out[0].t() @ first
            weight += out[1:].flatten(0, 1).t() @ spikes[:-1].flatten(0, 1)
            out = out.sum(0, keepdim=True) if ctx.static else out
        return out, weight, *carried, None, None, None, None
