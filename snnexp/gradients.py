"""What happens to gradients between the backward pass and the optimizer, as Lightning callbacks."""

from collections.abc import Iterator
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from snnexp.checks import require_choice, require_positive
from snnexp.models import Network


def _matrices(module: pl.LightningModule) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights [neuron, input, ...], recurrent ones too, with their gradients."""
    network = cast(Network, module.network)
    for weight in network.weights().values():
        if weight.grad is not None:
            yield weight, weight.grad


class Centralize(pl.Callback):
    """Gradients of weights [neuron, input, ...] lose their mean (Yong et al. 2020).

    over: `inputs`, the mean over each neuron's inputs, as published; `outputs`, that over the
    neurons that an input leads to. optax' `centralize` takes the mean over all axes but the first,
    which is the input's in Haiku's matrices [input, neuron], so that Spyx' tutorial has `outputs`.
    """

    def __init__(self, *, over: str):
        (self.over,) = require_choice(("inputs", "outputs"), over=over)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        for _, gradient in _matrices(pl_module):
            axes = tuple(range(1, gradient.ndim)) if self.over == "inputs" else 0
            gradient.sub_(gradient.mean(axes, keepdim=True))


class AdaptiveClipping(pl.Callback):
    """A neuron's gradient is no longer than `share` of its weights (Brock et al. 2021, eq. 3).

    g <- g min(1, share max(|w|, least) / |g|), with norms over each neuron's inputs.
    """

    def __init__(self, *, share: float, least: float):
        self.share, self.least = require_positive(share=share, least=least)

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        for weight, gradient in _matrices(pl_module):
            norm = weight.flatten(1).norm(dim=1).clamp_(min=self.least)
            length = gradient.flatten(1).norm(dim=1)
            factor = (self.share * norm / length.clamp(min=1e-12)).clamp_(max=1)
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))
