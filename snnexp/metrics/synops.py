"""Synaptic operations by the field's definitions, counted while activity streams by."""

import torch
from torch import Tensor
from torchmetrics import Metric

from snnexp import synops
from snnexp.activity import Activity
from snnexp.inputs import Events, Static
from snnexp.kernels import Packed
from snnexp.models import Network, Synapse
from snnexp.synops import Flow

KINDS = ("ac", "mac", "dense", "fanout")
WIDE = torch.float if torch.backends.mps.is_available() else torch.double
"""Of the counters; Apple's GPUs have no doubles."""


class SynapticOperations(Metric):
    """Operations of an inference by layer and in total; `docs/synops.md` defines them.

    `ac`, `mac`: effective operations of NeuroBench 2.3 (Yik et al. 2025), one for each step, input
    that is not 0 and connection whose weight is not 0. `dense`: one for each step and connection.
    `fanout`: sinabs' count, blind to weights. A static input counts at each step.
    by_content: whether a layer's operations in a step are accumulates (`ac`) is told from its
    input, as in NeuroBench: if all of the batch's values are -1, 0 or 1. Otherwise by what the
    input is: spikes, also where several fall together, are accumulated; values, as from `Static`
    or averages, are multiplied (`mac`).
    Kept are counters by input channel; the weights are those at the time of `compute`.
    """

    def __init__(self, network: Network, by_content: bool = False):
        super().__init__()
        self.by_content = by_content
        self.layers = dict(network.layers)  # in a plain dict, so as not to be a submodule
        self._count("samples", 1)
        self._count("steps", 1)  # of all samples
        for name, layer in self.layers.items():
            self._count_channels(name, len(layer.synapse.fanout), layer.synapse)
            if layer.neuron.recurrent is not None:
                self._count_channels(f"{name}_recurrent", layer.neuron.size, None)

    def _count(self, name: str, size: int) -> None:
        """Whole numbers, but sums of analog values; doubles keep both."""
        self.add_state(name, torch.zeros(size, dtype=WIDE), dist_reduce_fx="sum")

    def _count_channels(self, name: str, sources: int, synapse: Synapse | None) -> None:
        """`sum`: of all that leaves a source; `ac`, `mac`: how often a weighted input is not 0."""
        reached = sources if synapse is None else synapse.core.fanout.numel()
        self._count(f"sum_{name}", sources)
        self._count(f"ac_{name}", reached)
        self._count(f"mac_{name}", reached)

    def _add(self, name: str, amount: Tensor | int) -> None:
        setattr(self, name, getattr(self, name) + amount)

    @torch.no_grad()
    def update(self, activity: Activity) -> None:
        """Add one batch."""
        inputs = activity.inputs
        self._add("samples", inputs.batch_size)
        self._add("steps", inputs.batch_size * inputs.num_steps)
        flow: Flow = inputs
        for name, layer in self.layers.items():
            self._update_layer(name, activity.layers[name].arrived or flow, layer.synapse)
            train = activity.layers[name].train
            if train is None:
                break
            flow = train
            if layer.neuron.recurrent is not None:
                self._update_layer(f"{name}_recurrent", flow, None, layer.neuron.returns_late)

    def _update_layer(
        self, name: str, flow: Flow, synapse: Synapse | None, returns_late: bool = True
    ) -> None:
        """Add what `flow` sends through a synapse, or with None back into its own layer.

        What goes back is the spike of the step before, so that the last one does not arrive.
        """
        repeats = flow.num_steps if isinstance(flow, Static) else 1
        counts = synops.sums(flow)
        total = (counts if returns_late else counts - synops.last(flow)).sum(0, dtype=WIDE)
        self._add(f"sum_{name}", total)
        if synapse is None or synapse.direct:  # what is sent is what reaches the weights
            if isinstance(flow, Packed):
                self._add(f"ac_{name}", total)
                return
            if isinstance(flow, Events) and not self.by_content:
                self._add(f"ac_{name}", flow.active())
                return
        values = flow.values[None] if isinstance(flow, Static) else flow.dense()
        values = values if returns_late else values[:-1]
        if synapse is not None and not synapse.direct:
            values = synapse.arriving(values.flatten(0, 1)).unflatten(0, values.shape[:2])
        if self.by_content:
            self._add_by_content(name, values, repeats)
            return
        whole = not isinstance(flow, Static) and not (synapse is not None and synapse.analog)
        busy = values.sign().abs_()  # summed 5 times as fast as booleans
        active = busy.flatten(0, 1).sum(0, dtype=torch.float)
        self._add(f"{'ac' if whole else 'mac'}_{name}", active * repeats)

    def _add_by_content(self, name: str, values: Tensor, repeats: int) -> None:
        """In each step apart."""
        active = (values != 0).sum(1, dtype=WIDE) * repeats
        accumulates = ((values == 0) | (values.abs() == 1)).flatten(1).all(1, keepdim=True)
        self._add(f"ac_{name}", (active * accumulates).sum(0))
        self._add(f"mac_{name}", (active * ~accumulates).sum(0))

    @property
    def num_steps(self) -> int:
        """Steps of a sample."""
        return int(self.steps) // int(self.samples)  # type: ignore[arg-type]

    def compute(self) -> dict[str, float]:
        """`synops_<kind>/<layer>` and `synops_<kind>_per_sample`, the same by `_per_step`.

        And `synops_effective_per_sample`: those of `ac` and `mac` together.
        """
        samples, steps = int(self.samples), int(self.steps)  # type: ignore[arg-type]
        values: dict[str, float] = {}
        operations = self._operations(steps)
        for kind in KINDS:
            amounts = {name: found[kind] for name, found in operations.items()}
            for name, amount in amounts.items():
                values[f"synops_{kind}/{name}"] = amount / samples
                values[f"synops_{kind}_per_step/{name}"] = amount / steps
            values[f"synops_{kind}_per_sample"] = sum(amounts.values()) / samples
            values[f"synops_{kind}_per_step"] = sum(amounts.values()) / steps
        both = (values[f"synops_{kind}_per_sample"] for kind in ("ac", "mac"))
        return values | {"synops_effective_per_sample": sum(both)}

    def _operations(self, steps: int) -> dict[str, dict[str, float]]:
        """Of each connection the operations of every kind, over all samples and steps."""
        found: dict[str, dict[str, float]] = {}
        for name, layer in self.layers.items():
            synapse, weight = layer.synapse.core, layer.weight
            effective = synapse.connections(weight != 0)
            possible = synapse.connections(torch.ones_like(weight))
            found[name] = self._of(name, steps, effective, possible, layer.synapse.fanout)
            if (matrix := layer.neuron.recurrent) is not None:
                effective = (matrix != 0).sum(0).cpu()
                possible = torch.full_like(effective, layer.neuron.others)
                of = f"{name}_recurrent"
                found[of] = self._of(of, steps, effective, possible, possible)
        return found

    def _of(
        self, name: str, steps: int, effective: Tensor, possible: Tensor, fanout: Tensor
    ) -> dict[str, float]:
        ac, mac, total = (getattr(self, f"{kind}_{name}").cpu() for kind in ("ac", "mac", "sum"))
        return {
            "ac": float((ac * effective.double()).sum()),
            "mac": float((mac * effective.double()).sum()),
            "dense": float(possible.double().sum() * steps),
            "fanout": float((total * fanout.double()).sum()),
        }


def size_of(network: Network) -> dict[str, float]:
    """NeuroBench's static metrics, and the number of neurons by layer and in all.

    footprint_bytes: of all parameters and buffers. connection_sparsity: the share of weights that
    are 0; biases do not count.
    """
    weights = [weight.detach() for weight in network.weights().values()]
    recurrent = [
        layer.neuron for layer in network.layers.values() if layer.neuron.recurrent is not None
    ]
    missing = sum(neuron.size * (neuron.size - neuron.others) for neuron in recurrent)
    zeros = sum(int((weight == 0).sum()) for weight in weights) - missing
    connections = sum(weight.numel() for weight in weights) - missing
    tensors = [*network.parameters(), *network.buffers()]
    neurons = {name: layer.neuron.size for name, layer in network.layers.items()}
    return {
        "footprint_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "connection_sparsity": zeros / connections,
        "neurons": sum(neurons.values()),
        **{f"neurons/{name}": size for name, size in neurons.items()},
    }
