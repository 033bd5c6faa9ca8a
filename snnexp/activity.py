"""`Activity`: the one value that leaves a network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp import kernels
from snnexp.inputs import Dense, Inputs, Train
from snnexp.kernels import Packed


@dataclass(frozen=True)
class LayerActivity:
    """What one layer did; None stands for what it has not or was not asked to record.

    train: its spikes, compactly; None for an integrator, which does not spike.
    membrane: [time, batch, neuron]; the readout's is always there.
    margin: membrane minus threshold at the decision to spike, [time, batch, neuron].
    arrived: what reached its synapse, where delays made it other than what was sent.
    """

    train: Train | None = None
    membrane: Float[Tensor, "time batch neuron"] | None = None
    margin: Float[Tensor, "time batch neuron"] | None = None
    arrived: Dense | None = None

    @property
    def spikes(self) -> Float[Tensor, "time batch neuron"] | None:
        """The spikes as floats, differentiable; made anew at each reading where they are packed."""
        return None if self.train is None else self.train.dense()

    @property
    def counts(self) -> Float[Tensor, "batch neuron"] | None:
        """Spikes per sample and neuron, differentiable."""
        return None if self.train is None else self.train.counts

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


def join(parts: Sequence[dict[str, LayerActivity]]) -> dict[str, LayerActivity]:
    """The layers' records of consecutive segments of time as one."""
    return {name: _join_layer([part[name] for part in parts]) for name in parts[0]}


def _join_layer(parts: list[LayerActivity]) -> LayerActivity:
    trains = [part.train for part in parts if part.train is not None]
    packed = [train for train in trains if isinstance(train, Packed)]
    dense = [train.spikes for train in trains if isinstance(train, Dense)]
    train = Dense(torch.cat(dense)) if dense else kernels.join(packed) if packed else None
    arrived = [part.arrived.spikes for part in parts if part.arrived is not None]
    membranes = [part.membrane for part in parts if part.membrane is not None]
    margins = [part.margin for part in parts if part.margin is not None]
    return LayerActivity(
        train,
        torch.cat(membranes) if membranes else None,
        torch.cat(margins) if margins else None,
        Dense(torch.cat(arrived)) if arrived else None,
    )
