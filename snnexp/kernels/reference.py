"""The plain PyTorch loop under autograd: the oracle for every faster kernel, and the fallback."""

import torch
from torch import Tensor

from snnexp.kernels.scan import Measured, NeuronParameters, Number, Scan, State
from snnexp.kernels.surrogates import FLATTEST, Formula


def scan(
    current: Tensor,
    parameters: NeuronParameters,
    recurrent: Tensor | None,
    state: State | None,
    *,
    membrane: bool,
    margin: bool,
    synaptic: bool,
    measured: Measured | None,
    smooth: bool,
) -> Scan:
    """Run `NeuronParameters`' update over current [time, batch, neuron], see `kernels.scan`."""
    p = parameters
    v, i, z, r, *rest = p.at_rest(current, *current.shape[1:]) if state is None else state
    first, d = z, r - r.detach()
    spikes, traces, margins, synaptics = [], [], [], []
    for t, x in enumerate(current.unbind(0)):
        if recurrent is not None:
            x = torch.addmm(x, z, recurrent.t())
        drive = i
        w, i = _integrate(v, i, z, x, p)
        w = w - p.gain * rest[0] if p.adaptive else w
        drive = drive if p.delayed else i
        seen = None if measured is None or measured.membrane is None else measured.membrane[t]
        w = w if seen is None else straight_through(w, seen)
        v = w
        if p.surrogate is not None:
            u = w - p.threshold
            held = (r > 0).to(w.dtype) if p.refractory_steps else None
            before, z = z, _spike(u.detach() if p.exact else u, w, p, smooth)
            z = z if held is None else z * (1 - held)
            z = z if measured is None else straight_through(z, measured.spikes[t])
            if held is not None:
                fired = (z.detach() > 0).to(w.dtype)
                r = (1 - fired) * (r - 1).relu() + fired * p.refractory_steps
            if p.exact:
                v, z, d = _moved(w, u, drive, z, before, held, d, p)
                v = v if seen is None else straight_through(v, seen)
            else:
                v = _reset(w, z, held, p) if seen is None else w
            if p.adaptive:
                rest = [p.keep_adapt * rest[0] + p.from_membrane * v + p.from_spike * z]
            spikes.append(z)
            margins.append(u)
        traces.append(w if p.before_reset else v)
        synaptics.append(i)
    if p.returns_late:
        spikes = [first, *spikes[:-1]]
    train = torch.stack(spikes) if spikes else None
    return Scan(
        state=torch.stack([v, i, z, r + d if p.exact else r, *rest]),
        spikes=train,
        membrane=torch.stack(traces) if membrane else None,
        margin=torch.stack(margins) if margin and margins else None,
        synaptic=torch.stack(synaptics) if synaptic else None,
        counts=None if train is None else train.sum(0),
    )


def straight_through(exact: Tensor, seen: Tensor) -> Tensor:
    """`seen` goes forward, the gradient of `exact` goes back."""
    return exact + (seen - exact).detach()


def _integrate(
    v: Tensor, i: Tensor, z: Tensor, x: Tensor, p: NeuronParameters
) -> tuple[Tensor, Tensor]:
    """`w(t)` and `i(t)`; terms that are zero for a neuron model are left out."""
    new = x if _is(p.keep_syn, 0) else p.keep_syn * i + x
    drive = i if p.delayed else new
    w = p.keep_mem * v + (drive if _is(p.gain, 1) else p.gain * drive)
    if not _is(p.late, 0):
        w = w - p.late * (z if p.attached else z.detach())
    return (w if _is(p.drift, 0) else w + p.drift), new


def _spike(u: Tensor, w: Tensor, p: NeuronParameters, smooth: bool) -> Tensor:
    assert p.surrogate is not None
    if smooth:
        assert isinstance(p.surrogate, Formula)
        return p.surrogate.smooth_spike(u)
    z = p.surrogate.spike(u, p.strict)
    if p.multiple:
        count = z * torch.floor(w / p.threshold).clamp(min=1)
        z = straight_through(z, count)
    return z


def _moved(
    w: Tensor,
    u: Tensor,
    drive: Tensor,
    z: Tensor,
    before: Tensor,
    held: Tensor | None,
    d: Tensor,
    p: NeuronParameters,
) -> tuple[Tensor, Tensor, Tensor]:
    """`v(t)`, the spikes and by how much the last one moves, of `exact` neurons; d's value is 0.

    before: the spikes of the step before, which move into this one.
    """
    z, before, held = z.detach(), before.detach(), torch.zeros_like(z) if held is None else held
    with torch.no_grad():
        push = p.gain * drive + p.drift
        leak = (1 - p.keep_mem) * p.threshold
        slope = push - leak
        rate = torch.where(slope > 0, 1 / slope.clamp(min=FLATTEST * leak), 0.0)
        after = push - (1 - p.keep_mem) * p.to
    new = torch.where(z > 0, -(u - u.detach()) * rate, d * held)
    clamp = torch.maximum(z, held)
    v = w * (1 - clamp) + clamp * (p.to - after * new)
    return v, z + before * d - z * new, new


def _reset(w: Tensor, z: Tensor, held: Tensor | None, p: NeuronParameters) -> Tensor:
    z = z if p.attached else z.detach()
    if not p.hard:
        return w if _is(p.amount, 0) else w - p.amount * z
    clamp = z if held is None else held + z * (1 - held)
    w = w * (1 - clamp)
    return w if _is(p.to, 0) else w + p.to * clamp


def _is(number: Number, value: float) -> bool:
    return not isinstance(number, Tensor) and number == value
