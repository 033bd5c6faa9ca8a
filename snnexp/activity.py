"""`Activity`: the one value that leaves a network."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.inputs import Inputs


@dataclass(frozen=True)
class LayerActivity:
    """What one layer did; None stands for what it has not or was not asked to record.

    spikes: [time, batch, neuron]; None for an integrator, which does not spike.
    membrane: [time, batch, neuron]; the readout's is always there.
    margin: membrane minus threshold at the decision to spike, [time, batch, neuron].
    """

    spikes: Float[Tensor, "time batch neuron"] | None = None
    membrane: Float[Tensor, "time batch neuron"] | None = None
    margin: Float[Tensor, "time batch neuron"] | None = None

    @property
    def counts(self) -> Float[Tensor, "batch neuron"] | None:
        """Spikes per sample and neuron, differentiable."""
        return None if self.spikes is None else self.spikes.sum(0)

    def to(self, device: torch.device | str) -> "LayerActivity":
        """The same record on `device`."""
        recorded = {name: value for name, value in vars(self).items() if value is not None}
        return replace(self, **{name: value.to(device) for name, value in recorded.items()})


@dataclass(frozen=True)
class Activity:
    """What drove a network and what each of its layers did, by name in the order of the flow.

    The last layer is the readout.
    """

    inputs: Inputs
    layers: dict[str, LayerActivity]

    @property
    def readout(self) -> LayerActivity:
        return next(reversed(self.layers.values()))

    @property
    def hidden(self) -> dict[str, LayerActivity]:
        return dict(list(self.layers.items())[:-1])

    def to(self, device: torch.device | str) -> "Activity":
        """The same record on `device`."""
        layers = {name: layer.to(device) for name, layer in self.layers.items()}
        return replace(self, inputs=self.inputs.to(device), layers=layers)
