"""The allocator's thresholds, by what a process holds after it has freed a large block."""

import subprocess
import sys

import pytest

HELD = """
import ctypes, sys
from pathlib import Path
from snnexp import allocator

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

done = getattr(allocator, sys.argv[1])()
before = resident()
block = bytearray(64 << 20)
del block
print(int(done), resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
@pytest.mark.parametrize(
    ("name", "choice", "done", "kept"),
    [
        ("keep_memory", "", 1, True),
        ("return_memory", "", 1, False),
        ("keep_memory", "default", 0, False),
    ],
)
def test_a_freed_block_is_kept_or_returned(name, choice, done, kept, monkeypatch):
    monkeypatch.setenv("SNNEXP_ALLOCATOR", choice)
    command = [sys.executable, "-c", HELD, name]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(found[0]) == done
    assert (float(found[1]) > 50) == kept
