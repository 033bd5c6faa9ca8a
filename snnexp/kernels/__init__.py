"""The loops over time. Each takes a layer's whole current and returns a `Scan`.

Everything else in the package works on whole tensors: nobody else loops over time.
"""

from snnexp.kernels.reference import cuba_li, cuba_lif, li, lif
from snnexp.kernels.scan import CubaParameters, LIFParameters, Scan, State

__all__ = ["CubaParameters", "LIFParameters", "Scan", "State", "cuba_li", "cuba_lif", "li", "lif"]
