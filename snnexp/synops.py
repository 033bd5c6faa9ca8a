"""The differentiable count of synaptic operations: each spike times the connections it takes.

As sinabs counts them (`fanout` in `docs/synops.md`): whatever the weights are, spikes with their
multiplicity, analog values with their size, average pooling of spikes as a sum.
"""

from jaxtyping import Float
from torch import Tensor

from snnexp.activity import Activity
from snnexp.inputs import Inputs, Static, Train
from snnexp.kernels import Packed
from snnexp.models import Network

Flow = Inputs | Train


def by_layer(activity: Activity, network: Network) -> dict[str, Float[Tensor, ""]]:
    """Operations of all steps, mean over the batch; recurrent ones as `<layer>_recurrent`."""
    found: dict[str, Tensor] = {}
    flow: Flow = activity.inputs
    for name, layer in network.layers.items():
        counts = sums(activity.layers[name].arrived or flow)
        synapse = layer.synapse
        if synapse.even_fanout is not None:  # spares a training step of 1 ms a twentieth
            found[name] = counts.mean() * (synapse.even_fanout * counts.shape[1])
        else:
            found[name] = (counts @ synapse.fanout_like(counts)).mean()
        train = activity.layers[name].train
        if train is None:
            break
        flow = train
        if layer.neuron.recurrent is not None:
            counts = train.counts if layer.neuron.returns_late else train.counts - last(train)
            found[f"{name}_recurrent"] = counts.mean() * (layer.neuron.size * layer.neuron.others)
    return found


def total(activity: Activity, network: Network) -> Float[Tensor, ""]:
    """Operations of a sample in all layers and steps, mean over the batch."""
    first, *others = by_layer(activity, network).values()
    return sum(others, first)


def sums(flow: Flow) -> Float[Tensor, "batch channel"]:
    """What arrives in all steps together, by sample and channel."""
    return flow.values * flow.num_steps if isinstance(flow, Static) else flow.counts


def last(flow: Flow) -> Float[Tensor, "batch neuron"]:
    """The spikes of the last step, differentiable."""
    return flow.last() if isinstance(flow, Packed) else flow.dense()[-1]
