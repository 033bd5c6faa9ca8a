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
from snnexp.models.adaptive import ALIF, AdLIF, SEAdLIF
from snnexp.models.architectures import ConvNetwork, DeepNetwork
from snnexp.models.cuba import CubaIAF, CubaLI, CubaLIF
from snnexp.models.delayed import DelayedLinear, TappedLinear
from snnexp.models.delays import Delay, FixedDelay, LearntDelay
from snnexp.models.fluctuation import Fluctuation
from snnexp.models.images import AvgPool2d, Conv2d, SumPool2d
from snnexp.models.initializers import Kaiming, Normal, Orthogonal
from snnexp.models.integrators import BiasedLI, RangeLI
from snnexp.models.layer import Layer
from snnexp.models.lif import IAF, LI, LIF, LearntLIF
from snnexp.models.network import Network
from snnexp.models.neuron import Circuit, Neuron
from snnexp.models.normalization import BatchNorm
from snnexp.models.resonator import RF
from snnexp.models.spyx import RLIF, Haiku, LearntLI
from snnexp.models.synapses import Chain, Flatten, Linear, Synapse

__all__ = [
    "ALIF",
    "IAF",
    "LI",
    "LIF",
    "RF",
    "RLIF",
    "AdLIF",
    "ArcTan",
    "AvgPool2d",
    "BatchNorm",
    "BiasedLI",
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
    "DelayedLinear",
    "Exponential",
    "FixedDelay",
    "Flatten",
    "Fluctuation",
    "Gaussian",
    "Haiku",
    "Kaiming",
    "Layer",
    "LearntDelay",
    "LearntLI",
    "LearntLIF",
    "Linear",
    "Network",
    "Neuron",
    "Normal",
    "Orthogonal",
    "RangeLI",
    "SEAdLIF",
    "Sigmoid",
    "SumPool2d",
    "SuperSpike",
    "Surrogate",
    "Synapse",
    "TappedLinear",
    "Triangle",
]
