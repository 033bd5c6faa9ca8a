"""Time and memory of a training step against steps, neurons and batch, with a fitted exponent."""

import math
import statistics
import time
from typing import Any

import torch

from benchmarks import memory
from benchmarks.workloads import recurrent_lif, train_network

BASE = {"steps": 250, "hidden": 128, "batch": 64}
SWEEPS = {
    "steps": (100, 200, 500, 1000, 2000, 5000),
    "hidden": (64, 128, 256, 512),
    "batch": (16, 32, 64, 128, 256, 512),
}
MEMORY_STEPS = (500, 1000, 2000, 5000)
COLUMNS = {"against": "", "value": "", "what": "", "amount": ".4g", "unit": "", "exponent": ".2f"}


def measure() -> list[dict[str, Any]]:
    """A row a point; exponent: b of amount = a value^b, fitted to all points of its sweep."""
    rows = []
    for against, values in SWEEPS.items():
        sizes = [(value, _seconds(BASE | {against: value}) * 1e3) for value in values]
        rows += _fitted(against, "time", "ms", sizes)
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
    torch.manual_seed(0)
    step = train_network(recurrent_lif(128, 0.1, True, **sizes), "auto")
    step()
    times = []
    for _ in range(5):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return min(times)
