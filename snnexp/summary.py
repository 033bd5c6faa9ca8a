"""`summary.json`: a run's results, with what a number needs beside it to be compared."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from snnexp import __version__
from snnexp.folders import SUMMARY, unwritable, whole


def about(seed: int, device: torch.device) -> dict[str, Any]:
    """What a number needs beside it to be compared: versions, seed, device, commit, time."""
    modules = ("torch", "pytorch_lightning", "hydra", "numpy")
    versions = {name: sys.modules[name].__version__ for name in modules}
    versions |= {"snnexp": __version__, "python": platform.python_version()}
    is_cuda = device.type == "cuda"
    return {
        "versions": versions,
        "seed": seed,
        "device": torch.cuda.get_device_name(device) if is_cuda else device.type,
        "commit": commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit() -> str | None:
    """The checkout's commit, with `-dirty` for changes beside it; None outside a checkout."""
    package = Path(__file__).resolve().parent.parent
    if not (package / ".git").exists():
        return None
    command = ["git", "-C", str(package), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write a run's `summary.json` atomically: its presence marks a complete run."""
    try:
        with whole(folder / SUMMARY) as partial, partial.open("w") as file:
            json.dump(summary, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(folder, error) from error
