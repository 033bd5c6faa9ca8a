"""What a training step cannot do without: matrix products and bytes, at this machine's rates.

Products: forward, for the weight's gradient and for the input's (not of the first layer), a static
input's once; recurrent ones likewise. Bytes: the current, the membrane and the gradient of every
neuron and step are written once and read once, and Adam reads and writes seven floats a weight.
By events the products that spikes enter (all but those of the input's gradient) count only for
channels that spike, at the input's density and at `HIDDEN` for hidden layers.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from benchmarks.clock import milliseconds
from benchmarks.workloads import Workload, made
from snnexp.inputs import Static

HIDDEN = 0.05
COLUMNS = {
    "workload": "",
    "gflop": ".2f",
    "gflop_events": ".2f",
    "mbytes": ".0f",
    "floor_ms": ".1f",
    "floor_events_ms": ".1f",
}


def measure(workloads: list[str], device: str = "cpu") -> list[dict[str, Any]]:
    """A row a workload; the rates are the best of several runs."""
    rate, copies = product_rate(device), bandwidth(device)
    print(f"{rate / 1e9:.0f} GFLOP/s in products, {copies / 1e9:.1f} GB/s in copies")
    rows = []
    for name in workloads:
        dense, events, moved = _necessary(made(name))
        rows.append(
            {
                "workload": name,
                "gflop": dense / 1e9,
                "gflop_events": events / 1e9,
                "mbytes": moved / 1e6,
                "floor_ms": (dense / rate + moved / copies) * 1e3,
                "floor_events_ms": (events / rate + moved / copies) * 1e3,
            }
        )
    return rows


def _necessary(work: Workload) -> tuple[float, float, float]:
    """Operations dense and by events, and bytes, of one training step."""
    steps, batch = work.inputs.num_steps, work.inputs.batch_size
    dense = events = moved = 0.0
    static = isinstance(work.inputs, Static)
    density = 1.0 if static else float((work.inputs.dense() != 0).float().mean())
    for index, (fan_in, size) in enumerate(pairwise(work.sizes)):
        weights = fan_in * size
        if index < len(work.convolutions):
            part = work.convolutions[index]
            fan_in, weights = part.connections, part.weights
        product = 2.0 * batch * fan_in * size * (1 if static and index == 0 else steps)
        into, back = 2 * product, product if index else 0.0
        if work.recurrent and index < len(work.sizes) - 2:
            product = 2.0 * batch * size * size * steps
            into, back = into + 2 * product, back + product
        dense += into + back
        events += into * (density if index == 0 else HIDDEN) + back
        moved += 4 * (6 * steps * batch * size + 7 * weights)
    return dense, events, moved


def product_rate(device: str = "cpu") -> float:
    """Operations a second of products in float32, on a GPU as torch's settings have them."""
    rows, inner = (8192, 256) if device == "cpu" else (8192, 4096)
    a, b = torch.randn(rows, inner, device=device), torch.randn(inner, inner, device=device)
    return 2 * rows * inner * inner / _best(lambda: a @ b, device)


def bandwidth(device: str = "cpu") -> float:
    """Bytes read and written a second by a copy of 64 MB into memory that was used before.

    On a GPU of 1 GB, which no cache holds.
    """
    size = 1 << (24 if device == "cpu" else 28)
    source, target = torch.randn(size, device=device), torch.empty(size, device=device)
    return 2 * 4 * size / _best(lambda: target.copy_(source), device)


def _best(run: Callable[[], Any], device: str) -> float:
    """Seconds."""
    return min(milliseconds(run, 1, device) for _ in range(20)) / 1e3
