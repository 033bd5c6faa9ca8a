"""Training steps against a plain PyTorch loop, as interleaved pairs: `python scripts/benchmark.py`.

A step is forward, loss, backward and Adam. The plain loop is the one that tutorials write: it
projects at every step, indexes the input, and lets autograd record each small operation. The two
run in turn, A B A B, in one process; the ratio is the median over pairs, with its quartiles, since
machines drift by more than kernels differ. Compilation and warm-up come before and are told apart.

    python scripts/benchmark.py W1 W3 --pairs 30 --json times.json
    python scripts/benchmark.py --kernel numba torch     # kernels side by side
    python scripts/benchmark.py --peers                  # whatever of the other libraries is there
    python scripts/benchmark.py --memory                 # peak memory of a step of 2000 time steps
    python scripts/benchmark.py --scaling                # against steps, neurons and batch
    python scripts/benchmark.py --floors                 # what no step can do without
    python scripts/benchmark.py --counting               # a step with counts and a budget, without
    python scripts/benchmark.py --chip                   # the emulated chip against its model
    python scripts/benchmark.py --epoch                  # an epoch of train.py against a tutorial's
    python scripts/benchmark.py --device cuda            # on a GPU, larger ones too, or --floors
    python scripts/benchmark.py --device cuda --graphs   # with our steps recorded and replayed
    python scripts/benchmark.py --device cuda --scan     # a scan against the bytes that it moves
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import chips, counting, epochs, floors, memory, peers, scaling, scans
from benchmarks.clock import milliseconds, peak_megabytes
from benchmarks.workloads import LARGER, WORKLOADS, Step, ours, plain
from snnexp import allocator, experiment
from snnexp.kernels import KERNELS

TURN = 20
"""Milliseconds of steps in a row, at least: a training finds its data in the caches, as a turn of a
single short step after the other's would not."""
IDLE = 0.25
"""Load by other processes, in cores, above which a note stands under the table."""


def measure(
    name: str, kernel: str, pairs: int, device: str, graphs: bool = False
) -> dict[str, Any]:
    """Milliseconds of both, and the ratio of ours to the plain loop's over interleaved pairs.

    On a GPU the peak of memory of a step of each, too, with the data and weights of both.
    graphs: ours is replayed; what memory it takes is then not told, since a replay allocates none.
    """
    step, loop = ours(name, kernel, device, graphs), plain(name, device)
    row = {"workload": name, "kernel": kernel, **compare(step, loop, pairs, device)}
    if device != "cpu" and not graphs:
        row |= {"mb": peak_megabytes(step, device), "loop_mb": peak_megabytes(loop, device)}
    return row


def compare(step: Step, loop: Step, pairs: int, device: str = "cpu") -> dict[str, float]:
    """A step against the plain loop's."""
    first = milliseconds(step, 1, device)
    for run in (step, loop, step, loop, step):
        run()
    repeats = max(1, math.ceil(TURN / milliseconds(step, 1, device)))
    times = [
        (milliseconds(step, repeats, device), milliseconds(loop, repeats, device))
        for _ in range(pairs)
    ]
    low, middle, high = statistics.quantiles([one / other for one, other in times], n=4)
    return {
        "ms": statistics.median(one for one, _ in times),
        "loop_ms": statistics.median(other for _, other in times),
        "ratio": middle,
        "ratio_low": low,
        "ratio_high": high,
        "first_ms": first,
    }


def wait_until_idle(seconds: float) -> str:
    """Wait for the machine to have nothing else to do; what is left of other load, in words."""
    end = time.monotonic() + seconds
    while (others := _load()) > IDLE and time.monotonic() < end:
        time.sleep(1)
    return "" if others <= IDLE else f"; other processes took {others:.1f} cores before it began"


def _load() -> float:
    """Cores that other processes keep busy, over half a second; 0 where that cannot be told."""
    try:
        before, own = _busy(), time.process_time()
        time.sleep(0.5)
        return max(0.0, (_busy() - before - (time.process_time() - own)) / 0.5)
    except OSError:
        return 0.0


def _busy() -> float:
    """Core seconds that the machine has worked since it started."""
    ticks = [int(part) for part in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / 100


def show(rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """A table of rows; columns: key to format."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(format(row[key], form) for key, form in columns.items()))
    Console(width=120).print(table)


PAIRS = {
    "workload": "",
    "kernel": "",
    "ms": ".1f",
    "loop_ms": ".1f",
    "ratio": ".2f",
    "ratio_low": ".2f",
    "ratio_high": ".2f",
    "first_ms": ".0f",
}
MEMORY = {"mb": ".0f", "loop_mb": ".0f"}
"""Columns more of a GPU."""


def refuse_device(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """End where what is asked for cannot be measured there."""
    others = ("memory", "scaling", "counting", "chip", "epoch", "peers")
    if given.device == "cuda" and any(getattr(given, name) for name in others):
        parser.error("--device cuda goes with workloads, --floors and --scan; drop one of the two")
    if given.device == "cpu" and given.scan:
        parser.error("--scan: on a CPU spikes leave it as bits; add --device cuda")
    if given.device == "cpu" and given.graphs:
        parser.error("--graphs: they are CUDA's; add --device cuda")
    if given.graphs and (given.floors or given.scan):
        parser.error("--graphs goes with workloads; drop --floors and --scan")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda, but there is no CUDA; drop it to measure on the CPU")


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description="Training steps against a plain loop.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--kernel", nargs="+", choices=KERNELS, default=["auto"])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--pairs", type=int, default=15, help="interleaved pairs a workload")
    parser.add_argument(
        "--idle", type=float, default=30, help="seconds to wait for an idle machine"
    )
    parser.add_argument("--graphs", action="store_true", help="our steps replayed (CUDA graphs)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--peers", action="store_true", help="other libraries, if importable")
    what.add_argument("--memory", action="store_true", help="peak memory of a long step")
    what.add_argument("--scaling", action="store_true", help="against steps, neurons and batch")
    what.add_argument("--floors", action="store_true", help="what no step can do without")
    what.add_argument("--counting", action="store_true", help="a step with counts and without")
    what.add_argument("--chip", action="store_true", help="the emulated chip in the loop")
    what.add_argument("--epoch", action="store_true", help="an epoch of a run")
    what.add_argument("--scan", action="store_true", help="a scan against what it has to move")
    given = parser.parse_args(argv)
    known = WORKLOADS | LARGER
    if set(given.workloads) - set(known) or given.pairs < 2:
        parser.error(f"workloads are {', '.join(known)}; --pairs is at least 2")
    given.workloads = given.workloads or [*(WORKLOADS if given.device == "cpu" else known)]
    refuse_device(parser, given)
    experiment.set_up_torch()
    kept = "kept" if allocator.keep_memory() else "given back"
    busy = wait_until_idle(given.idle)
    if given.memory:
        rows, columns = memory.measure(), memory.COLUMNS
    elif given.scaling:
        rows, columns = scaling.measure(), scaling.COLUMNS
    elif given.floors:
        rows, columns = floors.measure(given.workloads, given.device), floors.COLUMNS
    elif given.counting:
        rows, columns = counting.measure(given.workloads, given.pairs, compare), PAIRS
    elif given.chip:
        rows, columns = chips.measure(given.pairs, compare), PAIRS
    elif given.epoch:
        rows, columns = epochs.measure(given.pairs), epochs.COLUMNS
    elif given.scan:
        rows, columns = scans.measure(given.device, given.kernel[0]), scans.COLUMNS
    elif given.peers:
        rows, columns = peers.measure(given.workloads, given.pairs, compare), PAIRS
    else:
        names = ((name, kernel) for name in given.workloads for kernel in given.kernel)
        rows = [measure(*name, given.pairs, given.device, given.graphs) for name in names]
        columns = PAIRS if given.device == "cpu" or given.graphs else PAIRS | MEMORY
    show(rows, columns)
    place = f"{torch.get_num_threads()} threads"
    if given.device == "cuda":
        place = f"{torch.cuda.get_device_name()}, {torch.get_float32_matmul_precision()} precision"
    print(f"torch {torch.__version__}, {place}, {given.pairs} pairs, memory {kept}{busy}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
