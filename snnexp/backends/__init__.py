"""Backends: where and how a network is run."""

from snnexp.backends.bss2 import Bss2
from snnexp.backends.chip import Converter, Preset
from snnexp.backends.ideal import CudaGraphs, Ideal

__all__ = ["Bss2", "Converter", "CudaGraphs", "Ideal", "Preset"]
