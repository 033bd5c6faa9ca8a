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
from snnexp.models.network import ConvNetwork, DeepNetwork, Layer, Network
from snnexp.models.neurons import IAF, LI, LIF, CubaLI, CubaLIF, LearntLIF, Neuron
from snnexp.models.synapses import AvgPool2d, Chain, Conv2d, Flatten, Linear, SumPool2d, Synapse

__all__ = [
    "IAF",
    "LI",
    "LIF",
    "ArcTan",
    "AvgPool2d",
    "Boxcar",
    "Chain",
    "Conv2d",
    "ConvNetwork",
    "CubaLI",
    "CubaLIF",
    "DeepNetwork",
    "Exponential",
    "Flatten",
    "Gaussian",
    "Kaiming",
    "Layer",
    "LearntLIF",
    "Linear",
    "Network",
    "Neuron",
    "Normal",
    "Sigmoid",
    "SumPool2d",
    "SuperSpike",
    "Surrogate",
    "Synapse",
    "Triangle",
]
