"""The loop over time by torch's own operations, in place, with a hand-derived backward pass.

It needs no compiler and runs on every device; `fused` does the same faster on a CPU.
"""

import torch
from torch import Tensor

from snnexp.kernels.surrogates import FLATTEST, FORMULAS, on_tensors
from snnexp.kernels.switches import NUMBERS, Outcome, Source, Switches


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
    s, current = switches, source.current
    assert current is not None, "only the compiled loops project spikes themselves"
    a, b, g, c, threshold, amount, late, to, keep, from_membrane, from_spike = table.unbind(0)
    state = initial.clone()
    v, i, z, r, q = state if s.adaptive else (*state, None)
    _, batch, size = initial.shape
    new = initial.new_empty
    words = new(0, batch, (size + 63) // 64, dtype=torch.int64)
    spikes, margin = (new(steps if s.spiking else 0, batch, size) for _ in "zu")
    membrane = new(steps if s.membrane else 0, batch, size)
    synaptic = new(steps if s.synaptic else 0, batch, size)
    history = new(2 + s.adaptive if s.history else 0, steps, batch, size)
    held = new(steps if s.refractory_steps else 0, batch, size)
    for t in range(steps):
        x = current[t if len(current) > 1 else 0]
        if recurrent is not None:
            x = torch.addmm(x, z, recurrent.t())
        drive = i.clone() if s.delayed else i
        i.mul_(a).add_(x)
        w = torch.addcmul(c, v, b).addcmul_(drive, g)
        if s.late:
            w.addcmul_(z, late, value=-1)
        if q is not None:
            w.addcmul_(q, g, value=-1)
        if given is not None:
            w.copy_(given[t])
        v.copy_(w)
        if s.spiking:
            u = torch.sub(w, threshold, out=margin[t])
            z.copy_(_fire(u, w, threshold, s, shape) if measured is None else measured[t])
            h = torch.gt(r, 0, out=held[t]) if s.refractory_steps else None
            if h is not None:
                z.mul_(1 - h if measured is None else 1)
                fired = z > 0
                r.sub_(1).clamp_(min=0).masked_fill_(fired, s.refractory_steps)
            spikes[t] = z
            if given is None and s.hard:
                clamp = z if h is None else torch.maximum(z, h)
                v.addcmul_(clamp, to - w)
            elif given is None:
                v.addcmul_(z, amount, value=-1)
        if q is not None:
            q.mul_(keep).addcmul_(v, from_membrane).addcmul_(z, from_spike)
        if s.membrane:
            membrane[t] = w if s.before_reset else v
        if s.synaptic:
            synaptic[t] = i
        if s.history:
            history[0, t], history[1, t] = v, i
            if q is not None:
                history[2, t] = q
    counts = spikes.sum(0)
    return spikes, counts, margin, membrane, synaptic, history, state, words, held


def _fire(u: Tensor, w: Tensor, threshold: Tensor, s: Switches, shape: list[float]) -> Tensor:
    if s.smooth:
        return on_tensors(FORMULAS[s.formula].rise)(u, *shape, 1.0)
    z = (u > 0 if s.strict else u >= 0).to(u.dtype)
    return z.mul_((w / threshold).floor_().clamp_(min=1)) if s.multiple else z


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
    s = switches
    a, b, g, _, threshold, amount, late, to, keep, from_membrane, from_spike = table.unbind(0)
    _, spikes, margin, history, held = record
    to_spikes, behind, to_counts, to_margin, to_membrane, to_synaptic, to_state = gradients
    if to_spikes is not None and behind is not None:
        to_spikes = torch.matmul(to_spikes, behind)
    back = torch.zeros_like(initial) if to_state is None else to_state.clone()
    v, i, f, d, q = back if s.adaptive else (*back, None)
    whole = lines == steps or recurrent is not None
    out = initial.new_zeros(steps if whole else lines, *initial.shape[1:])
    to_table = torch.zeros_like(table[: len(table) if s.history else 0])
    bump = on_tensors(FORMULAS[s.formula].bump)
    for t in range(steps - 1, -1, -1):
        if to_membrane is not None and not s.before_reset:
            v.add_(to_membrane[t])
        if q is not None:
            v.addcmul_(q, from_membrane)
            f.addcmul_(q, from_spike)
        after, w_ = v.clone() if s.history else v, None
        k = h = None
        if s.spiking:
            k, h = spikes[t], held[t] if s.refractory_steps else None
            u = slope = margin[t]  # of `exact` neurons the synaptic current
            if not s.exact:
                slope = bump(u, *shape, 1.0)
                slope = slope if h is None else slope * (1 - h)
                if not given and s.attached:
                    if s.hard:
                        f.addcmul_(v, to - u - threshold)
                    else:
                        f.addcmul_(v, amount, value=-1)
            for gradient in (to_spikes, to_counts):
                if gradient is not None:
                    f.add_(gradient if gradient is to_counts else gradient[t])
            w_ = slope
            if s.exact:
                drive = u if not s.delayed else margin[t - 1] if t else initial[1]
                before = spikes[t - 1] if t else initial[2]
                w_ = _moved_back(drive, table, v, f, d, k, h, before)
            if s.hard and (s.exact or not given):
                v.mul_(1 - k)
                if h is not None:
                    v.mul_(1 - h)
            if not s.exact:
                w_.mul_(f)
            if to_margin is not None:
                w_.add_(to_margin[t])
        w = v if w_ is None else v + w_
        if to_membrane is not None and s.before_reset:
            w = w + to_membrane[t]
        if to_synaptic is not None:
            i.add_(to_synaptic[t])
        x = i.clone() if s.delayed else torch.addcmul(i, g, w)
        if s.history:
            z = initial[2] if t == 0 or not s.spiking else spikes[t - 1]
            old_v, old_i = (initial[0], initial[1]) if t == 0 else history[:2, t - 1]
            drive = old_i if s.delayed else history[1, t]
            if q is not None:
                old_q = initial[4] if t == 0 else history[2, t - 1]
                _add_adaptation(to_table, q, old_q, history[0, t], k)
                drive = drive - old_q
            _add_to_table(to_table, s, given, w, after, w_, x, k, h, old_v, old_i, drive, z)
        if q is not None:
            q.mul_(keep).addcmul_(w, g, value=-1)
        torch.mul(x, a, out=i)
        if s.delayed:
            i.addcmul_(g, w)
        if s.late and s.attached:
            torch.mul(w, -late, out=f)
        elif s.spiking:
            f.zero_()
        torch.mul(w, b, out=v)
        if recurrent is not None:
            f.addmm_(x, recurrent)
        if whole:
            out[t] = x
        elif lines:
            out[0] += x
    to_recurrent = initial.new_empty(0, initial.shape[2])
    if recurrent is not None:
        to_recurrent = out[0].t() @ initial[2]
        to_recurrent += out[1:].flatten(0, 1).t() @ spikes[:-1].flatten(0, 1)
        out = out if lines == steps else out.sum(0, keepdim=True)[:lines]
    if not s.exact:
        back[3] = 0
    back = back if learns_initial else initial.new_empty(0, *initial.shape[1:])
    return out, initial.new_empty(initial.shape[2], 0), to_table, to_recurrent, back


def _moved_back(
    drive: Tensor,
    table: Tensor,
    v: Tensor,
    f: Tensor,
    d: Tensor,
    k: Tensor,
    h: Tensor | None,
    before: Tensor,
) -> Tensor:
    """Gradient of w(t) through the time of a spike; d, that of its shift, becomes the last step's.

    f: what a spike of this step would change, which counts for the one that moves into it, too.
    """
    _, keep, gain, drift, threshold, _, _, to, *_ = table.unbind(0)
    push = gain * drive + drift
    leak = (1 - keep) * threshold
    slope = push - leak
    after = push - (1 - keep) * to
    spiked = k > 0
    total = d - after * v - f * spiked
    rate = torch.where(spiked & (slope > 0), 1 / slope.clamp(min=FLATTEST * leak), 0.0)
    w = -total * rate
    d.copy_(before * f if h is None else before * f + total * (h * ~spiked))
    return w


def _add_to_table(
    to_table: Tensor,
    s: Switches,
    given: bool,
    w: Tensor,
    v: Tensor,
    u: Tensor | None,
    x: Tensor,
    k: Tensor | None,
    h: Tensor | None,
    old_v: Tensor,
    old_i: Tensor,
    drive: Tensor,
    old_z: Tensor,
) -> None:
    """Gradients of `NUMBERS` from one step; v is v's before the reset's derivative."""
    parts = {
        "keep_syn": x * old_i,
        "keep_mem": w * old_v,
        "gain": w * drive,
        "drift": w,
        "late": -w * old_z,
    }
    if u is not None and k is not None:
        parts["threshold"] = -u
        if s.hard and (s.exact or not given):
            parts["to"] = v * (k if h is None else torch.maximum(k, h))
        elif not given:
            parts["amount"] = -v * k
    for name, part in parts.items():
        to_table[NUMBERS.index(name)] += part.sum(0)


def _add_adaptation(
    to_table: Tensor, q: Tensor, old_q: Tensor, v: Tensor, z: Tensor | None
) -> None:
    """Gradients of the adaptation's numbers from one step; q: its own."""
    assert z is not None
    parts = {"keep_adapt": old_q, "from_membrane": v, "from_spike": z}
    for name, part in parts.items():
        to_table[NUMBERS.index(name)] += (q * part).sum(0)
