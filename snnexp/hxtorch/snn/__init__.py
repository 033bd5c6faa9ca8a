"""hxtorch.snn: experiments, modules and handles."""

from snnexp.hxtorch.snn import datasets, functional, morphology, transforms
from snnexp.hxtorch.snn.experiment import Experiment, run
from snnexp.hxtorch.snn.handles import Handle, NeuronHandle, ReadoutNeuronHandle, SynapseHandle
from snnexp.hxtorch.snn.modules import (
    BatchDropout,
    HXModule,
    IAFNeuron,
    InputNeuron,
    Neuron,
    ReadoutNeuron,
    Synapse,
)

__all__ = [
    "BatchDropout",
    "Experiment",
    "HXModule",
    "Handle",
    "IAFNeuron",
    "InputNeuron",
    "Neuron",
    "NeuronHandle",
    "ReadoutNeuron",
    "ReadoutNeuronHandle",
    "Synapse",
    "SynapseHandle",
    "datasets",
    "functional",
    "morphology",
    "run",
    "transforms",
]
