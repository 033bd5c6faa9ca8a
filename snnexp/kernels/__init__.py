"""The loops over time. `scan` takes a layer's whole current and returns a `Scan`.

Everything else in the package works on whole tensors: nobody else loops over time.
"""

from snnexp.kernels.dispatch import KERNELS, project_events, scan
from snnexp.kernels.scan import NeuronParameters, Scan, State

__all__ = ["KERNELS", "NeuronParameters", "Scan", "State", "project_events", "scan"]
