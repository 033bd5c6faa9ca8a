"""Peak memory of one long training step above what the process held before it, by a child process.

W2's layers over 2000 steps, batch 64, its input as events for ours, dense for the plain loop, which
holds it before the step begins. Linux only: the kernel keeps a process' peak.
"""

import ctypes
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.workloads import PlainLIF, Step, recurrent_lif, train, train_network
from snnexp import allocator

STEPS, BATCH, DENSITY = 2000, 64, 0.03
CHECKPOINT_EVERY = 50
COLUMNS = {"network": "", "steps": "", "mb": ".0f", "ratio": ".3f", "seconds": ".2f"}


def measure(steps: int = STEPS) -> list[dict[str, Any]]:
    """Peaks in MB, and as a share of the plain loop's; seconds: of that one step."""
    rows = []
    for name in STEP:
        peak, seconds = _of_child(name, steps)
        rows.append({"network": name, "steps": steps, "mb": peak, "seconds": seconds})
    return [row | {"ratio": row["mb"] / rows[0]["mb"]} for row in rows]


def _of_child(name: str, steps: int) -> tuple[float, float]:
    command = [sys.executable, __file__, name, str(steps)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    peak, seconds = printed.split()
    return float(peak), float(seconds)


def _made(steps: int, events: bool) -> Any:
    torch.manual_seed(0)
    return recurrent_lif(700, DENSITY, events, steps=steps, batch=BATCH)


def _plain(steps: int) -> Step:
    work = _made(steps, False)
    model = PlainLIF(work)
    return train(model, lambda: work.loss(model(work.dense)))


def _ours(every: int | None, steps: int) -> Step:
    return train_network(_made(steps, True), "auto", every)


STEP = {
    "plain loop": _plain,
    "ours": partial(_ours, None),
    f"ours, checkpoint_every={CHECKPOINT_EVERY}": partial(_ours, CHECKPOINT_EVERY),
}


def _status(key: str) -> float:
    """Of this process, in MB: VmRSS is held now, VmHWM is the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def _peak(name: str, steps: int) -> tuple[float, float]:
    if "checkpoint" in name:  # as `train.py` sets it
        allocator.return_memory()
    else:
        allocator.keep_memory()
    STEP[name](20)()  # compiles, and fills caches
    step = STEP[name](steps)
    ctypes.CDLL(None).malloc_trim(
        0
    )  # what made the data is free, and would hide what the step takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    before = _status("VmRSS")
    started = time.perf_counter()
    step()
    return _status("VmHWM") - before, time.perf_counter() - started


if __name__ == "__main__":
    print(*_peak(sys.argv[1], int(sys.argv[2])))
