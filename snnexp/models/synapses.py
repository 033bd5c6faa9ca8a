"""Synapses: what turns a layer's input into its neurons' current."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from snnexp.inputs import Current, Inputs, Train


class Linear(nn.Module):
    """Dense connections: x(t) = W z(t), W [neuron, channel]; no bias."""

    def __init__(self, *, num_inputs: int, num_outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_outputs, num_inputs))

    def forward(self, inputs: Inputs | Train, weight: Float[Tensor, "neuron channel"]) -> Current:
        """The current that `inputs` causes through `weight`, the one that the backend holds."""
        return inputs.project(weight)
