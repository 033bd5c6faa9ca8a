"""What happens beside a training: what it prints and draws, what it tells, and what ends it."""

from snnexp.callbacks.ending import Prune, Standstill, Termination
from snnexp.callbacks.figures import Figures
from snnexp.callbacks.leaky import TestBestLeaky
from snnexp.callbacks.progress import Bar, EpochLines

__all__ = [
    "Bar",
    "EpochLines",
    "Figures",
    "Prune",
    "Standstill",
    "Termination",
    "TestBestLeaky",
]
