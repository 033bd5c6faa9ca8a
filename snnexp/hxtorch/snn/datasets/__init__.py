"""Data sets."""

from snnexp.hxtorch.snn.datasets import yinyang

__all__ = ["yinyang"]
