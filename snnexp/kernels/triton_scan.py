"""Hands tensors to Triton's loops over time, and chooses tiles for them.

Tensors may be on a CPU where Triton's interpreter runs (TRITON_INTERPRET=1).
"""

import functools
from contextlib import nullcontext
from math import prod
from subprocess import CalledProcessError
from typing import Any

import torch
import triton
from torch import Tensor
from triton import knobs
from triton.runtime import driver

from snnexp.kernels import triton_loops as loops
from snnexp.kernels.switches import NUMBERS, Outcome, Source, Switches
from snnexp.kernels.triton_steps import BUMPS

INTERPRETED = knobs.runtime.interpret
FORWARD: Any = loops.forward
BACKWARD: Any = loops.backward
SAMPLES = 16
"""Samples of a recurrent tile: the fewest that tensor cores take."""
MOST = 256
"""Recurrent neurons that a tile holds in registers; of more, torch makes each step's product."""
SHARED = 232448
"""Bytes of shared memory of a program on an H100; asked of the GPU where there is one."""
CAPABILITY = (8, 0)
"""The first with products of bfloat16 and tf32."""


def lack(like: Tensor, recurrent: Tensor | None, smooth: bool) -> str | None:
    """What keeps a layer's scan from Triton's kernels, if anything, as a clause.

    like: has the device and the precision of its current.
    """
    device = like.device
    if device.type != "cuda" and not (device.type == "cpu" and INTERPRETED):
        return f"Triton's kernels are for CUDA, not for {device.type}"
    if device.type == "cuda" and (fault := _fault(device)):
        return fault
    if smooth:
        return "Triton's kernels have no smooth spikes"
    if recurrent is not None and like.dtype == torch.float64:
        return "Triton's recurrent kernels take no float64"
    return None


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
    """All steps from the state `initial` [4 or 5, batch, neuron]; see `operators.scan`.

    Spikes, and the current of a large recurrent layer with what they add to it, have the current's
    precision, everything else that of the state.
    """
    s, current = switches, source.current
    assert current is not None, "only the compiled loops project spikes themselves"
    current, initial = current.contiguous(), initial.contiguous()
    _, batch, size = initial.shape
    new = initial.new_empty
    spikes = new(steps if s.spiking else 0, batch, size, dtype=current.dtype)
    margin = new(steps if s.spiking and s.margin else 0, batch, size)
    membrane = new(steps if s.membrane else 0, batch, size)
    synaptic = new(steps if s.synaptic else 0, batch, size)
    history = new(2 + s.adaptive if s.history else 0, steps, batch, size)
    held = new(steps if s.refractory_steps else 0, batch, size, dtype=torch.int8)
    words = new(0, batch, (size + 63) // 64, dtype=torch.int64)
    weight, apart = _divided(recurrent)
    counts, end = new(batch, size), torch.empty_like(initial)
    grid, layout = _layout(batch, size, weight)

    def run(x: Tensor, stride: int, before: Tensor, start: int, count: int) -> None:
        FORWARD[grid](
            x, stride, table, weight, before, measured, given, spikes, counts, margin, membrane,
            synaptic, history, held, end, size=size, steps=steps, start=start, count=count, s=s,
            **layout,
        )  # fmt: skip

    table, measured, given = table.contiguous(), _there(measured), _there(given)
    with _on(initial):
        if apart is None:
            run(current, _stride(current, steps), initial, 0, steps)
        else:
            before = initial
            for t in range(steps):
                x, z = current[min(t, len(current) - 1)], before[2].to(apart.dtype)
                run(torch.addmm(x, z, apart.t()), 0, before, t, 1)
                before = end
            counts = spikes.sum(0, dtype=initial.dtype)
    return spikes, counts, margin, membrane, synaptic, history, end, words, held


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
    s, initial = switches, initial.contiguous()
    _, batch, size = initial.shape
    _, spikes, margin, history, held = record
    to_spikes, behind, to_counts, to_margin, to_membrane, to_synaptic, to_state = gradients
    if to_spikes is not None and behind is not None:
        to_spikes = torch.matmul(to_spikes, behind)
    whole = lines == steps or recurrent is not None
    kind = spikes.dtype if s.spiking else initial.dtype
    out = initial.new_empty(steps, batch, size, dtype=kind) if whole else None
    weight, apart = _divided(recurrent)
    total = initial.new_empty(batch, size) if lines == 1 < steps and apart is None else None
    to_table = initial.new_zeros(len(NUMBERS) if s.history else 0, batch, size)
    to_initial = torch.zeros_like(initial)
    timed = (_timed(part) for part in (to_spikes, to_margin, to_membrane, to_synaptic))
    (a, a_step), (b, b_step), (c, c_step), (d, d_step) = timed
    grid, layout = _layout(batch, size, weight)

    def run(after: Tensor | None, start: int, count: int) -> None:
        BACKWARD[grid](
            table, weight, initial, spikes, margin, history, held, a, a_step, to_counts, b, b_step,
            c, c_step, d, d_step, after, out, total, to_table, to_initial, size=size, steps=steps,
            start=start, count=count, given=given, s=s, bump=BUMPS[s.formula], p=shape[0],
            q=shape[1], **layout,
        )  # fmt: skip

    table, to_counts, after = table.contiguous(), _there(to_counts), _there(to_state)
    with _on(initial):
        if apart is None or out is None:
            run(after, 0, steps)
        else:
            for t in range(steps - 1, -1, -1):
                run(after, t, 1)
                after = to_initial
                after[2] += out[t].to(apart.dtype) @ apart
    to_recurrent = initial.new_empty(0, size)
    if recurrent is not None and out is not None:
        to_recurrent = out[0].t().to(initial.dtype) @ initial[2]
        to_recurrent += out[1:].flatten(0, 1).t() @ spikes[:-1].flatten(0, 1)
        to_recurrent = to_recurrent.to(recurrent.dtype)
    if total is not None:
        out = total[None]
    elif lines == 1 < steps and out is not None:
        out = out.sum(0, keepdim=True, dtype=initial.dtype)
    elif lines == 0 or out is None:
        out = initial.new_empty(0, batch, size)
    to_initial = to_initial if learns_initial else initial.new_empty(0, batch, size)
    return out, initial.new_empty(size, 0), to_table.sum(1), to_recurrent, to_initial


def _divided(recurrent: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """A recurrent layer's weights: those of products that a program makes, else torch's."""
    if recurrent is None:
        return None, None
    columns = _columns(len(recurrent))
    in_tiles = len(recurrent) <= MOST and _fits(recurrent, columns // 4, columns)  # by quarters
    return (recurrent.contiguous(), None) if in_tiles else (None, recurrent)


def _layout(batch: int, size: int, recurrent: Tensor | None) -> tuple[Any, dict[str, Any]]:
    """The grid of programs, and the arguments that say how units lie in tiles."""
    if recurrent is None:
        rows, columns, tile, warps = 1, batch * size, (1, _block(batch * size)), 4
    else:
        rows, columns, tile = batch, size, (SAMPLES, _columns(size))
        warps = 4 if tile[1] <= 64 else 8
    grid = (triton.cdiv(columns, tile[1]), triton.cdiv(rows, tile[0]))
    arguments = {"rows": rows, "columns": columns, "ROWS": tile[0], "COLUMNS": tile[1]}
    stays = recurrent is not None and _fits(recurrent, tile[1], tile[1])
    arguments |= {"PRECISION": _precision(), "RESIDENT": stays}
    return grid, arguments | {"num_warps": warps, "num_stages": 1}


def _block(units: int) -> int:
    """Units of a tile: more where there are many, so that each thread moves 16 bytes at once."""
    return 128 if units < 1 << 17 else 512


def _columns(size: int) -> int:
    """Of a recurrent tile."""
    return max(16, triton.next_power_of_2(size))


def _precision() -> str:
    """Of products of float32 on the tensor cores: as torch's own."""
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "tf32x3"


def _fits(weight: Tensor, rows: int, columns: int) -> bool:
    """Whether so much of the weights fits into shared memory, with what is multiplied by it.

    In three products of tf32 instead of one, each number is held as two.
    """
    parts = 2 if weight.element_size() == 4 and _precision() == "tf32x3" else 1
    least = parts * weight.element_size() * columns * (rows + SAMPLES)
    return least <= (_shared(weight.device) if weight.is_cuda else SHARED)


@functools.cache
def _fault(device: torch.device) -> str | None:
    """What keeps Triton from starting kernels on a GPU, if anything, as a clause."""
    if torch.version.hip or torch.cuda.get_device_capability(device) < CAPABILITY:
        return "Triton's kernels are for NVIDIA GPUs of compute capability 8.0 and above"
    try:
        driver.active  # noqa: B018  (made at its first use, by a compiler of C)
    except (AssertionError, CalledProcessError, ImportError, OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        return f"Triton cannot start kernels ({reason})"
    return None


@functools.cache
def _shared(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin


def _stride(part: Tensor, steps: int) -> int:
    """From a step to the next, 0 if one stands for all."""
    return 0 if len(part) < steps else prod(part.shape[1:])


def _timed(part: Tensor | None) -> tuple[Tensor | None, int]:
    """A gradient [time, batch, neuron] and its stride in time.

    One that is the same at each step, as that of a sum over time is, is not written out.
    """
    if part is None:
        return None, 0
    if part.stride(0) == 0:
        return part[0].contiguous(), 0
    return part.contiguous(), prod(part.shape[1:])


def _there(part: Tensor | None) -> Tensor | None:
    return None if part is None else part.contiguous()


def _on(tensor: Tensor) -> Any:
    """Where programs are started."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
