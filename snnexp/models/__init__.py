"""Networks as lists of (synapse, neuron) layers."""

from snnexp.kernels.surrogates import (
    ArcTan,
    Boxcar,
    Exponential,
    Gaussian,
    Sigmoid,
    SuperSpike,
    Surrogate,
    Triangle,
)
from snnexp.models.initializers import Kaiming, Normal
from snnexp.models.network import Layer, Network
from snnexp.models.neurons import IAF, LI, LIF, CubaLI, CubaLIF, Neuron
from snnexp.models.synapses import Linear

__all__ = [
    "IAF",
    "LI",
    "LIF",
    "ArcTan",
    "Boxcar",
    "CubaLI",
    "CubaLIF",
    "Exponential",
    "Gaussian",
    "Kaiming",
    "Layer",
    "Linear",
    "Network",
    "Neuron",
    "Normal",
    "Sigmoid",
    "SuperSpike",
    "Surrogate",
    "Triangle",
]
