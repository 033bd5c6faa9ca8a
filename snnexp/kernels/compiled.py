"""Loads what numba compiled, from a cache that belongs to these sources.

Numba looks at a function's own file to tell whether its cache still holds, but ours are compiled
from several; so the cache's folder is named after all of them.
"""

import functools
import hashlib
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


@functools.cache
def load() -> ModuleType:
    """The module `fused`; compiled at first use, or read from the cache.

    The cache is in NUMBA_CACHE_DIR if that is set, else beside the sources, else in the user's.
    Raises ImportError without numba, RuntimeError if no cache can be written.
    """
    config: Any = importlib.import_module("numba").config
    here = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    before = config.CACHE_DIR
    root = Path(before) if before else here / "__pycache__"
    config.CACHE_DIR = str(root / f"numba-{hashlib.sha256(sources).hexdigest()[:12]}")
    try:
        fused = importlib.import_module("snnexp.kernels.fused")
    finally:
        config.CACHE_DIR = before
    threads = torch.get_num_threads()
    fused.set_num_threads(1)  # the first call starts numba's, as many as cores, and torch's follow
    torch.set_num_threads(threads)
    return fused
