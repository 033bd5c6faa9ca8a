"""The Neuromorphic Intermediate Representation (NIR): networks to and from other tools."""

from snnexp.nir.neurons import NIRNeuron
from snnexp.nir.reading import NIRNetwork
from snnexp.nir.writing import to_graph

__all__ = ["NIRNetwork", "NIRNeuron", "to_graph"]
