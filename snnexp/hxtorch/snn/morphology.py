"""Neurons of several circuits."""

from snnexp.checks import require_whole
from snnexp.hxtorch.halco import LogicalNeuronCompartments


class SingleCompartmentNeuron:
    """`size` circuits joined to one neuron: both rows of a column first, or along its row.

    Each circuit brings 128 signed inputs.
    """

    def __init__(self, size: int, expand_horizontally: bool = False):
        (self.size,) = require_whole(1, size=size)
        places = [(0, n) if expand_horizontally else (n % 2, n // 2) for n in range(size)]
        self.compartments = LogicalNeuronCompartments(tuple(places))
