"""A feed-forward LIF scan, forward and backward, against the bytes that it has to move.

The current is read, spikes and margins are written; backward reads the margins and the gradient of
the spikes, and writes that of the current. Membranes and margins are float32, the rest has the
current's precision.
"""

from typing import Any

import torch

from benchmarks.clock import milliseconds
from benchmarks.floors import bandwidth
from benchmarks.workloads import DECAY, LIF_SURROGATE
from snnexp import kernels
from snnexp.kernels import NeuronParameters

SHAPE = (32, 64, 65536)
"""Steps, samples, neurons: those of SpikingJelly's table of its Triton kernel."""
RUNS = 20
COLUMNS = {
    "precision": "",
    "shape": "",
    "mbytes": ".0f",
    "floor_ms": ".3f",
    "ms": ".3f",
    "ratio": ".2f",
}


def measure(device: str, kernel: str, shape: tuple[int, int, int] = SHAPE) -> list[dict[str, Any]]:
    """A row a precision; the fastest of a few, since other load only ever adds."""
    rate = bandwidth(device)
    print(f"{rate / 1e9:.1f} GB/s in copies")
    kinds = [torch.float32] if device == "cpu" else [torch.float32, torch.float16, torch.bfloat16]
    rows = []
    for kind in kinds:
        moved = _bytes(shape, kind)
        run = _scan(shape, kind, device, kernel)
        run()  # compiles
        floor = moved / rate * 1e3
        fastest = min(milliseconds(run, 1, device) for _ in range(RUNS))
        row = {"precision": str(kind).removeprefix("torch."), "shape": "x".join(map(str, shape))}
        row |= {"mbytes": moved / 1e6, "floor_ms": floor, "ms": fastest}
        rows.append(row | {"ratio": fastest / floor})
    return rows


def _bytes(shape: tuple[int, int, int], kind: torch.dtype) -> int:
    updates = shape[0] * shape[1] * shape[2]
    return updates * (4 * kind.itemsize + 2 * 4)


def _scan(shape: tuple[int, int, int], kind: torch.dtype, device: str, kernel: str) -> Any:
    p = NeuronParameters(keep_mem=DECAY, amount=1.0, surrogate=LIF_SURROGATE)
    current = torch.randn(shape, device=device, dtype=kind, requires_grad=True)
    upstream = torch.randn(shape, device=device, dtype=kind)

    def run() -> None:
        spikes = kernels.scan(current, p, kernel=kernel).spikes
        assert isinstance(spikes, torch.Tensor)
        torch.autograd.grad(spikes, current, upstream)

    return run
