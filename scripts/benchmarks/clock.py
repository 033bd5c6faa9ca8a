"""How long something takes: by the clock on a CPU, by the device's own events on a GPU."""

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
