"""The plain PyTorch loop under autograd: the oracle for every faster kernel, and the fallback."""

import torch
from torch import Tensor

from snnexp.kernels.scan import NeuronParameters, Scan, State


def scan(
    current: Tensor,
    parameters: NeuronParameters,
    recurrent: Tensor | None,
    state: State | None,
    membrane: bool,
    margin: bool,
) -> Scan:
    """Run `NeuronParameters`' update over current [time, batch, neuron], see `kernels.scan`."""
    p = parameters
    v, i, z, r = p.at_rest(current) if state is None else state
    first = z
    spikes, traces, margins = [], [], []
    for x in current.unbind(0):
        if recurrent is not None:
            x = torch.addmm(x, z, recurrent.t())
        w, i = _integrate(v, i, z, x, p)
        v = w
        if p.surrogate is not None:
            u = w - p.threshold
            z = p.surrogate.spike(u, p.strict)
            if p.refractory_steps:
                held = (r > 0).to(w.dtype)
                z = z * (1 - held)
                r = (1 - z.detach()) * (r - 1).relu() + z.detach() * p.refractory_steps
                v = _reset(w, z, held, p)
            else:
                v = _reset(w, z, None, p)
            spikes.append(z)
            margins.append(u)
        traces.append(w if p.before_reset else v)
    if p.returns_late:
        spikes = [first, *spikes[:-1]]
    return Scan(
        state=(v, i, z, r),
        spikes=torch.stack(spikes) if spikes else None,
        membrane=torch.stack(traces) if membrane else None,
        margin=torch.stack(margins) if margin and margins else None,
    )


def _integrate(
    v: Tensor, i: Tensor, z: Tensor, x: Tensor, p: NeuronParameters
) -> tuple[Tensor, Tensor]:
    """W and the new i; terms that are zero for a neuron model are left out."""
    new = torch.add(x, i, alpha=p.keep_syn) if p.keep_syn else x
    drive = i if p.delayed else new
    w = torch.add(drive * p.gain if p.gain != 1 else drive, v, alpha=p.keep_mem)
    if p.late:
        w = torch.sub(w, z if p.attached else z.detach(), alpha=p.late)
    return (w + p.drift if p.drift else w), new


def _reset(w: Tensor, z: Tensor, held: Tensor | None, p: NeuronParameters) -> Tensor:
    z = z if p.attached else z.detach()
    if not p.hard:
        return torch.sub(w, z, alpha=p.amount) if p.amount else w
    clamp = z if held is None else z + held
    w = w * (1 - clamp)
    return w + p.to * clamp if p.to else w
