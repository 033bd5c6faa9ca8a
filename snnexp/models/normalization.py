"""What happens to a layer's current between its synapse and its neurons."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from snnexp.checks import require_between, require_positive


class BatchNorm(nn.Module):
    """y = weight (x - mean) / sqrt(variance + epsilon) + bias of each neuron's current x.

    In training over all steps and samples of a batch, else by averages that go on by
    mean <- (1 - momentum) mean + momentum new (Ioffe & Szegedy 2015; over time as Bittar & Garner
    2022 have it). weight (1 at first) and bias (0) are learnt. A trained layer can take it into
    its weights and a bias, so that it counts as no operation.
    """

    def __init__(self, *, size: int, momentum: float, epsilon: float):
        super().__init__()
        (self.momentum,) = require_between(0, 1, momentum=momentum)
        (self.epsilon,) = require_positive(epsilon=epsilon)
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))

    def forward(self, current: Float[Tensor, "time batch neuron"]) -> Tensor:
        rows = functional.batch_norm(
            current.flatten(0, 1),
            self.mean,  # type: ignore[arg-type]
            self.variance,  # type: ignore[arg-type]
            self.weight,
            self.bias,
            self.training and current.shape[:2].numel() > 1,  # a single value has no variance
            self.momentum,
            self.epsilon,
        )
        return rows.view_as(current)


class Bias(nn.Module):
    """y = x + bias of each neuron's current x in each step; `bias` does not learn."""

    bias: Float[Tensor, " neuron"]

    def __init__(self, bias: Float[Tensor, " neuron"]):
        super().__init__()
        self.register_buffer("bias", bias)

    def forward(self, current: Float[Tensor, "time batch neuron"]) -> Tensor:
        return current + self.bias
