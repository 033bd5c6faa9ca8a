"""The workers of a sweep on one machine: processes that run the same command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from snnexp.errors import RunError

IS_WORKER = "SNNEXP_SWEEP_WORKER"
THREADS = "OMP_NUM_THREADS"
MOST_DEATHS = 20


def is_worker() -> bool:
    """Whether this process was begun by `run`."""
    return IS_WORKER in os.environ


def is_orphan() -> bool:
    """Whether the process that began this worker is gone."""
    return is_worker() and os.getppid() != int(os.environ[IS_WORKER])


def run(work: Callable[[], None], count: int) -> None:
    """One worker is this process itself; several are begun, and begun again if they are killed.

    The machine's cores are divided among them, unless OMP_NUM_THREADS says otherwise.
    """
    if count == 1:
        work()
        return
    threads = os.environ.get(THREADS) or str(max(1, (os.cpu_count() or 1) // count))
    environment = os.environ | {IS_WORKER: str(os.getpid()), THREADS: threads}
    command = [sys.executable, *sys.orig_argv[1:]]
    children = [subprocess.Popen(command, env=environment) for _ in range(count)]
    print(f"{count} workers with {threads} thread(s) each", flush=True)
    try:
        _watch(children, command, environment)
    except BaseException:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
        raise
    if any(child.returncode for child in children):
        raise RunError("the sweep stopped; a worker's message above says why")


def _watch(
    children: list["subprocess.Popen[bytes]"], command: list[str], environment: dict[str, str]
) -> None:
    """Until all have ended; one that was killed is replaced."""
    deaths = 0
    while any(child.poll() is None for child in children):
        for index, child in enumerate(children):
            if child.poll() is not None and child.returncode < 0:
                deaths += 1
                name = signal.Signals(-child.returncode).name
                if deaths > MOST_DEATHS:
                    raise RunError(f"workers were killed {deaths} times, the last by {name}")
                print(f"a worker was killed ({name}) and is begun again", flush=True)
                children[index] = subprocess.Popen(command, env=environment)
        time.sleep(0.2)
