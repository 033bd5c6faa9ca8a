"""The differentiable count of synaptic operations: each spike times the connections it takes.

As sinabs counts them (`fanout` in `docs/synops.md`): whatever the weights are, spikes with their
multiplicity, analog values with their size, average pooling of spikes as a sum.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from snnexp.activity import Activity
from snnexp.inputs import Inputs, Static, Train
from snnexp.kernels import Packed
from snnexp.models import Network


def count(activity: Activity, network: Network) -> dict[str, Float[Tensor, " batch"]]:
    """Operations of each sample over all steps by layer, recurrent ones as `<layer>_recurrent`."""
    found: dict[str, Tensor] = {}
    arriving = sums(activity.inputs)
    for name, layer in network.layers.items():
        found[name] = arriving @ layer.synapse.fanout.to(arriving)
        train = activity.layers[name].train
        if train is None:
            break
        arriving = train.counts
        if layer.neuron.recurrent is not None:
            fed_back = arriving if layer.neuron.returns_late else arriving - last(train)
            found[f"{name}_recurrent"] = fed_back.sum(1) * layer.neuron.size
    return found


def total(activity: Activity, network: Network) -> Float[Tensor, ""]:
    """Operations of all layers, mean over the batch."""
    return torch.stack([values.mean() for values in count(activity, network).values()]).sum()


def sums(inputs: Inputs) -> Float[Tensor, "batch channel"]:
    """What arrives in all steps together, by sample and channel."""
    if isinstance(inputs, Static):
        return inputs.values * inputs.num_steps
    return inputs.dense().sum(0)


def last(train: Train) -> Float[Tensor, "batch neuron"]:
    """The spikes of the last step, differentiable."""
    if isinstance(train, Packed):
        train = Packed((train.words[-1][-1:],), (train.links[-1][-1:],), train.counts)
    return train.dense()[-1]
