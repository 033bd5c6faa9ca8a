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
    if config.CPU_FEATURES is None:
        config.CPU_FEATURES = _features()
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


def _features() -> str | None:
    """The machine's, with vectors as wide as it has them; None: as numba finds them.

    LLVM takes half the width where full vectors once lowered the clock; those that know vbmi2, Ice
    Lake and Zen 4 and what followed them, run them at full speed.
    """
    features = importlib.import_module("llvmlite.binding").get_host_cpu_features().flatten()
    return f"{features},-prefer-256-bit" if "+avx512vbmi2" in features else None
