"""The loops over time. `scan` takes a layer's whole current and returns a `Scan`.

Everything else in the package works on whole tensors: nobody else loops over time.
"""

from snnexp.kernels.convolution import convolve
from snnexp.kernels.dispatch import KERNELS, at_least_float32, project, project_events, scan
from snnexp.kernels.packed import Packed, join
from snnexp.kernels.projection import Current, Projection, whole
from snnexp.kernels.scan import Measured, NeuronParameters, Number, Scan, State

__all__ = [
    "KERNELS",
    "Current",
    "Measured",
    "NeuronParameters",
    "Number",
    "Packed",
    "Projection",
    "Scan",
    "State",
    "at_least_float32",
    "convolve",
    "join",
    "project",
    "project_events",
    "scan",
    "whole",
]
