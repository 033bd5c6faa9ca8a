"""How long something takes: by the clock on a CPU, by the device's own events on a GPU.

And how much of a GPU's memory.
"""

import time
from collections.abc import Callable
from typing import Any

import torch


def milliseconds(run: Callable[[], Any], repeats: int = 1, device: str = "cpu") -> float:
    """The mean over `repeats`, one after another.

    On a GPU from the end of what it had to do before to the end of the last of them, so that what
    the host does in between counts where the GPU waits for it.
    """
    if device != "cpu":
        return _by_events(run, repeats, torch.cuda.Event)
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - started) * 1e3 / repeats


def _by_events(run: Callable[[], Any], repeats: int, event: Callable[..., Any]) -> float:
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def peak_megabytes(run: Callable[[], Any], device: str) -> float:
    """The most that tensors take on a GPU while it runs, those that were there before included."""
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 1e6
