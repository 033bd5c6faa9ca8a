"""The modules, by the name that hxtorch has for them all."""

from snnexp.hxtorch.snn.base import HXModule, Synapse
from snnexp.hxtorch.snn.neurons import (
    BatchDropout,
    IAFNeuron,
    InputNeuron,
    Neuron,
    ReadoutNeuron,
)

__all__ = [
    "BatchDropout",
    "HXModule",
    "IAFNeuron",
    "InputNeuron",
    "Neuron",
    "ReadoutNeuron",
    "Synapse",
]
