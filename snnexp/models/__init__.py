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
from snnexp.models.architectures import ConvNetwork, DeepNetwork
from snnexp.models.delays import Delay, FixedDelay, LearntDelay
from snnexp.models.images import AvgPool2d, Conv2d, SumPool2d
from snnexp.models.initializers import Kaiming, Normal
from snnexp.models.network import Layer, Network
from snnexp.models.neurons import IAF, LI, LIF, Circuit, CubaIAF, CubaLI, CubaLIF, LearntLIF, Neuron
from snnexp.models.synapses import Chain, Flatten, Linear, Synapse

__all__ = [
    "IAF",
    "LI",
    "LIF",
    "ArcTan",
    "AvgPool2d",
    "Boxcar",
    "Chain",
    "Circuit",
    "Conv2d",
    "ConvNetwork",
    "CubaIAF",
    "CubaLI",
    "CubaLIF",
    "DeepNetwork",
    "Delay",
    "Exponential",
    "FixedDelay",
    "Flatten",
    "Gaussian",
    "Kaiming",
    "Layer",
    "LearntDelay",
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
