"""Loads what numba compiled, from a cache that belongs to these sources.

Numba looks at a function's own file to tell whether its cache still holds, but ours are compiled
from several; so the cache's folder is named after all of them.
"""

import contextlib
import functools
import hashlib
import importlib
from collections.abc import Iterator
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
    if config.CPU_FEATURES is None:
        config.CPU_FEATURES = _features()
    with caching():
        fused = importlib.import_module("snnexp.kernels.fused")
    threads = torch.get_num_threads()
    fused.set_num_threads(1)  # the first call starts numba's, as many as cores, and torch's follow
    torch.set_num_threads(threads)
    return fused


@contextlib.contextmanager
def caching() -> Iterator[None]:
    """What numba is told of within this keeps its machine code in the cache of these sources."""
    config: Any = importlib.import_module("numba").config
    before = config.CACHE_DIR
    root = Path(before) if before else Path(__file__).parent / "__pycache__"
    config.CACHE_DIR = str(root / f"numba-{_sources()}")
    try:
        yield
    finally:
        config.CACHE_DIR = before


@functools.cache
def _sources() -> str:
    here = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in here)).hexdigest()[:12]


def _features() -> str | None:
    """The machine's, with vectors as wide as it has them; None: as numba finds them.

    LLVM takes half the width where full vectors once lowered the clock; those that know vbmi2, Ice
    Lake and Zen 4 and what followed them, run them at full speed.
    """
    features = importlib.import_module("llvmlite.binding").get_host_cpu_features().flatten()
    return f"{features},-prefer-256-bit" if "+avx512vbmi2" in features else None
