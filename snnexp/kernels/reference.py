"""Plain PyTorch loops under autograd: the oracle for every faster kernel, and the fallback.

`current` is [time, batch, neuron]; a recurrent weight is [neuron, neuron] (to, from) and adds
W z(t-1) to the current. Traces are recorded only on request, since they cost time and memory.
"""

import torch
from torch import Tensor

from snnexp.kernels.scan import CubaParameters, LIFParameters, Scan, State


def lif(
    current: Tensor,
    parameters: LIFParameters,
    recurrent: Tensor | None = None,
    state: State | None = None,
    membrane: bool = False,
    margin: bool = False,
) -> Scan:
    """Scan of `snnexp.models.LIF`, which documents the update."""
    p = parameters
    v, z = state or (torch.zeros_like(current[0]), torch.zeros_like(current[0]))
    first = z
    spikes, traces, margins = [], [], []
    for x in current.unbind(0):
        if recurrent is not None:
            x = torch.addmm(x, z, recurrent.t())
        if p.reset_delay:
            v = _leak(_reset(v, z, p) if p.reset == "zero" else v, x, p.beta)
            v = v if p.reset == "zero" else _reset(v, z, p)
            u = v - p.threshold
            z = p.spike(u)
        else:
            v = _leak(v, x, p.beta)
            u = v - p.threshold
            z = p.spike(u)
            v = _reset(v, z, p)
        spikes.append(z)
        if membrane:
            traces.append(v)
        if margin:
            margins.append(u)
    if p.spike_from == "before":
        spikes = [first, *spikes[:-1]]
    return Scan(
        spikes=torch.stack(spikes),
        membrane=torch.stack(traces) if membrane else None,
        margin=torch.stack(margins) if margin else None,
        state=(v, z),
    )


def _leak(v: Tensor, x: Tensor, beta: float | Tensor) -> Tensor:
    return torch.addcmul(x, v, beta) if isinstance(beta, Tensor) else torch.add(x, v, alpha=beta)


def _reset(v: Tensor, z: Tensor, p: LIFParameters) -> Tensor:
    if p.reset == "none":
        return v
    z = z.detach() if p.detach_reset else z
    if p.reset == "zero":
        return v * (1 - z)
    amount = p.beta * p.threshold if p.reset == "subtract_scaled" else p.threshold
    return v - amount * z


def li(current: Tensor, beta: float, gain: float, state: State | None = None) -> Scan:
    """Scan of `snnexp.models.LI`: v <- beta v + gain x; the membrane is always recorded."""
    (v,) = state or (torch.zeros_like(current[0]),)
    traces = []
    for x in (current * gain if gain != 1 else current).unbind(0):
        v = torch.add(x, v, alpha=beta)
        traces.append(v)
    return Scan(membrane=torch.stack(traces), state=(v,))


def cuba_lif(
    current: Tensor,
    parameters: CubaParameters,
    recurrent: Tensor | None = None,
    state: State | None = None,
    membrane: bool = False,
    margin: bool = False,
) -> Scan:
    """Scan of `snnexp.models.CubaLIF`, which documents the update."""
    p = parameters
    assert p.spike is not None
    zeros = torch.zeros_like(current[0])
    v, i, z, r = state or (zeros + p.leak, zeros, zeros, zeros)
    spikes, traces, margins = [], [], []
    for x in current.unbind(0):
        if recurrent is not None:
            x = torch.addmm(x, z, recurrent.t())
        v, i = _integrate(v, i, x, p)
        u = v - p.threshold
        z = p.spike(u)
        held = None
        if p.refractory_steps:
            held = (r > 0).to(v.dtype)
            z = z * (1 - held)
            r = (1 - z.detach()) * (r - held).relu() + z.detach() * p.refractory_steps
        clamp = z.detach() if p.detach_reset else z
        clamp = clamp if held is None else clamp + held
        v = v * (1 - clamp) + p.reset * clamp if p.reset else v * (1 - clamp)
        spikes.append(z)
        if membrane:
            traces.append(v)
        if margin:
            margins.append(u)
    return Scan(
        spikes=torch.stack(spikes),
        membrane=torch.stack(traces) if membrane else None,
        margin=torch.stack(margins) if margin else None,
        state=(v, i, z, r),
    )


def _integrate(v: Tensor, i: Tensor, x: Tensor, p: CubaParameters) -> tuple[Tensor, Tensor]:
    new = torch.add(x, i, alpha=p.keep_syn)
    drive = torch.mul(i if p.delayed else new, p.gain_mem)
    v = torch.add(drive, v, alpha=p.keep_mem)
    return (v + (1 - p.keep_mem) * p.leak if p.leak else v), new


def cuba_li(current: Tensor, parameters: CubaParameters, state: State | None = None) -> Scan:
    """Scan of `snnexp.models.CubaLI`; the membrane is always recorded."""
    p = parameters
    v, i = state or (torch.zeros_like(current[0]) + p.leak, torch.zeros_like(current[0]))
    traces = []
    for x in current.unbind(0):
        v, i = _integrate(v, i, x, p)
        traces.append(v)
    return Scan(membrane=torch.stack(traces), state=(v, i))
