"""What a training step cannot do without: matrix products and bytes, at this machine's rates.

Products: forward, for the weight's gradient and for the input's (not of the first layer), a static
input's once; recurrent ones likewise. Bytes: the current, the membrane and the gradient of every
neuron and step are written once and read once, and Adam reads and writes seven floats a weight.
By events the products that spikes enter (all but those of the input's gradient) count only for
channels that spike, at the input's density and at `HIDDEN` for hidden layers.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

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


def measure(workloads: list[str]) -> list[dict[str, Any]]:
    """A row a workload; the rates are the best of several runs."""
    rate, bandwidth = _product_rate(), _bandwidth()
    print(f"{rate / 1e9:.0f} GFLOP/s in products, {bandwidth / 1e9:.1f} GB/s in copies")
    rows = []
    for name in workloads:
        dense, events, moved = _necessary(made(name))
        rows.append(
            {
                "workload": name,
                "gflop": dense / 1e9,
                "gflop_events": events / 1e9,
                "mbytes": moved / 1e6,
                "floor_ms": (dense / rate + moved / bandwidth) * 1e3,
                "floor_events_ms": (events / rate + moved / bandwidth) * 1e3,
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
        product = 2.0 * batch * fan_in * size * (1 if static and index == 0 else steps)
        into, back = 2 * product, product if index else 0.0
        if work.recurrent and index < len(work.sizes) - 2:
            product = 2.0 * batch * size * size * steps
            into, back = into + 2 * product, back + product
        dense += into + back
        events += into * (density if index == 0 else HIDDEN) + back
        moved += 4 * (6 * steps * batch * size + 7 * fan_in * size)
    return dense, events, moved


def _product_rate() -> float:
    a, b = torch.randn(8192, 256), torch.randn(256, 256)
    return 2 * 8192 * 256 * 256 / _best(lambda: a @ b)


def _bandwidth() -> float:
    """Bytes read and written a second by a copy of 64 MB into memory that was used before."""
    source, target = torch.randn(1 << 24), torch.empty(1 << 24)
    return 2 * 4 * (1 << 24) / _best(lambda: target.copy_(source))


def _best(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(20):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)
