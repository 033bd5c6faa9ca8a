"""Backends: where and how a network is run."""

from snnexp.backends.ideal import Ideal

__all__ = ["Ideal"]
