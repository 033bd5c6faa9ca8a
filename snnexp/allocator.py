"""How the C library hands out large blocks of memory.

By default glibc takes large blocks from the system and gives them back when they are freed, so that
a training step finds its large tensors' pages empty, and the system fills them at a tenth of the
speed of memory; it learns to keep what is freed, but only up to 32 MiB. `keep_memory` makes it keep
everything: a process then holds on to the most that it ever used. `return_memory` makes it return
every large block: slower, but small blocks that live on cannot leave holes between large ones that
do not, which a run with checkpoints would pay for with most of what it saves.
Other C libraries are left alone, and so is glibc where SNNEXP_ALLOCATOR=default.
"""

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
LARGE = 128 << 10  # bytes; glibc's own threshold in a new process
LARGEST = (1 << 31) - 1
CHOICE = "SNNEXP_ALLOCATOR"


def keep_memory() -> bool:
    """Keep freed blocks for later ones; whether that is so now."""
    return _set(LARGEST)


def return_memory() -> bool:
    """Return blocks above 128 KiB to the system when they are freed; whether that is so now."""
    return _set(LARGE)


def _set(threshold: int) -> bool:
    if os.environ.get(CHOICE) == "default":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(MMAP_THRESHOLD, threshold)) and bool(mallopt(TRIM_THRESHOLD, threshold))
