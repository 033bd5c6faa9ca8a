"""Time of a scan, and memory of a training step, against their sizes, with a fitted exponent."""

import math
import statistics
import time
from typing import Any

import torch

from benchmarks import memory
from benchmarks.workloads import DECAY, LIF_SURROGATE
from snnexp import kernels
from snnexp.kernels import NeuronParameters

BASE = {"steps": 250, "batch": 64, "neurons": 256}
SWEEPS = {
    "steps": (100, 200, 500, 1000, 2000, 5000),
    "batch": (16, 32, 64, 128, 256, 512),
    "neurons": (64, 128, 256, 512, 1024, 4096),
}
MEMORY_STEPS = (500, 1000, 2000, 5000)
COLUMNS = {"against": "", "value": "", "what": "", "amount": ".4g", "unit": "", "exponent": ".2f"}


def measure() -> list[dict[str, Any]]:
    """A row a point; exponent: b of amount = a value^b, fitted to all points of its sweep."""
    rows = []
    for against, values in SWEEPS.items():
        sizes = [(value, _seconds(BASE | {against: value}) * 1e3) for value in values]
        rows += _fitted(against, "LIF scan, forward and backward", "ms", sizes)
    peaks: dict[str, list[tuple[int, float]]] = {}
    for steps in MEMORY_STEPS:
        for row in memory.measure(steps):
            peaks.setdefault(row["network"], []).append((steps, row["mb"]))
    for network, sizes in peaks.items():
        rows += _fitted("steps", f"peak, {network}", "MB", sizes)
    return rows


def _fitted(
    against: str, what: str, unit: str, sizes: list[tuple[int, float]]
) -> list[dict[str, Any]]:
    x, y = ([math.log(pair[k]) for pair in sizes] for k in (0, 1))
    exponent = statistics.linear_regression(x, y).slope
    common = {"against": against, "what": what, "unit": unit, "exponent": exponent}
    return [common | {"value": value, "amount": amount} for value, amount in sizes]


def _seconds(sizes: dict[str, int]) -> float:
    """The fastest of a few: other load only ever adds."""
    p = NeuronParameters(keep_mem=DECAY, amount=1.0, surrogate=LIF_SURROGATE)
    current = torch.randn(sizes["steps"], sizes["batch"], sizes["neurons"], requires_grad=True)
    times = []
    for _ in range(6):
        started = time.perf_counter()
        spikes = kernels.scan(current, p, kernel="auto").spikes
        assert isinstance(spikes, kernels.Packed)
        torch.autograd.grad(spikes.counts.sum(), current)
        times.append(time.perf_counter() - started)
    return min(times)
