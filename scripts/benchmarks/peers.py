# pyright: reportMissingImports=false, reportReturnType=false, reportCallIssue=false
"""The workloads in other libraries, whichever can be imported, each against the plain loop.

Every network is written as its library's tutorials write it, with a LIF neuron of the same decay,
threshold and surrogate where the library has them; what differs stands beside it.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import spyx_peer
from benchmarks.workloads import CUBA_SLOPE, DECAY, SLOPE, Step, Workload, made, plain, train

Compare = Callable[[Step, Step, int], dict[str, float]]


def measure(workloads: list[str], pairs: int, compare: Compare) -> list[dict[str, Any]]:
    """A row for each library and workload."""
    rows = []
    for library, make in PEERS.items():
        try:
            importlib.import_module(library)
        except ImportError as error:
            print(f"{library} is left out: {error}")
            continue
        for name in workloads:
            work = made(name)
            if library == "spyx" and work.convolutions:
                continue  # written with dense layers alone
            result = compare(make(work), plain(name), pairs)
            rows.append({"workload": name, "kernel": library, **result})
    return rows


def _training(make: Callable[[Workload], nn.Module], work: Workload) -> Step:
    model = make(work)
    return train(model, lambda: work.loss(model(work.dense)))


class _Loop(nn.Module):
    """Synapses and neurons, step by step; `advance(index, current, before)` is a neuron's."""

    def __init__(self, work: Workload):
        super().__init__()
        self.work, self.last = work, len(work.sizes) - 2
        self.synapses = work.synapses()
        hidden = work.sizes[1:-1] if work.recurrent else []
        self.recurrent = nn.ModuleList(nn.Linear(n, n, bias=False) for n in hidden)

    def advance(self, index: int, current: Tensor, before: Any) -> tuple[Tensor, Tensor, Any]:
        """Spikes, membrane and state."""
        raise NotImplementedError

    def forward(self, steps: Any) -> Tensor:
        batch = len(steps[0])
        state: list[Any] = [None] * len(self.synapses)
        z = [torch.zeros(batch, size) for size in self.work.sizes[1:]]
        membrane, traces = z[-1], []
        for t in range(len(steps)):
            flow = steps[t]
            for index, synapse in enumerate(self.synapses):
                current = synapse(flow)
                if index < len(self.recurrent):
                    current = current + self.recurrent[index](z[index])
                z[index], membrane, state[index] = self.advance(index, current, state[index])
                flow = z[index]
            traces.append(membrane)
        return torch.stack(traces)


class SnnTorch(_Loop):
    """Leaky, or Synaptic for the current-based; its reset is delayed by a step."""

    def __init__(self, work: Workload):
        import snntorch
        from snntorch import surrogate

        super().__init__(work)
        neurons = []
        for index in range(len(self.synapses)):
            fires = index < self.last or work.spiking_readout
            common = {"reset_mechanism": "subtract" if fires else "none"}
            if work.cuba:
                common["spike_grad"] = surrogate.fast_sigmoid(slope=CUBA_SLOPE)
                neurons.append(snntorch.Synaptic(alpha=0.85, beta=0.85, **common))
            else:
                common["spike_grad"] = surrogate.atan(alpha=2.0)
                neurons.append(snntorch.Leaky(beta=DECAY, **common))
        self.neurons = nn.ModuleList(neurons)

    def advance(self, index: int, current: Tensor, before: Any) -> tuple[Tensor, Tensor, Any]:
        neuron = self.neurons[index]
        if before is None:
            zeros = torch.zeros_like(current)
            before = (zeros, zeros) if self.work.cuba else (zeros,)
        z, *state = neuron(current, *before)
        return z, state[-1], tuple(state)


class Norse(_Loop):
    """LIFBoxCell, or LIFCell for the current-based; they reset to zero, not by subtraction."""

    def __init__(self, work: Workload):
        from norse.torch import (
            LIBoxCell,
            LICell,
            LIFBoxCell,
            LIFBoxParameters,
            LIFCell,
            LIFParameters,
        )

        super().__init__(work)
        neurons = []
        for index in range(len(self.synapses)):
            fires = index < self.last or work.spiking_readout
            if work.cuba:
                p = LIFParameters(method="super", alpha=torch.as_tensor(CUBA_SLOPE))
                neurons.append(LIFCell(p) if fires else LICell())
            else:
                box = LIFBoxParameters(method="super", alpha=torch.as_tensor(SLOPE))
                neurons.append(LIFBoxCell(box) if fires else LIBoxCell())
        self.neurons = nn.ModuleList(neurons)

    def advance(self, index: int, current: Tensor, before: Any) -> tuple[Tensor, Tensor, Any]:
        z, state = self.neurons[index](current, before)
        return z, state.v, state


class SpikingJelly(_Loop):
    """LIFNode in its multi-step mode, step by step where recurrence needs it.

    It has no current-based neuron: LIF there too.
    """

    def __init__(self, work: Workload):
        from spikingjelly.activation_based import neuron, surrogate

        super().__init__(work)
        neurons = []
        for index in range(len(self.synapses)):
            fires = index < self.last or work.spiking_readout
            neurons.append(
                neuron.LIFNode(
                    tau=1 / (1 - DECAY),
                    decay_input=False,
                    v_threshold=1.0 if fires else 1e9,
                    v_reset=None if fires else 0.0,
                    surrogate_function=surrogate.ATan(alpha=2.0),
                    detach_reset=True,
                    step_mode="s" if work.recurrent else "m",
                    store_v_seq=index == self.last and not work.recurrent,
                )
            )
        self.neurons = nn.ModuleList(neurons)

    def forward(self, steps: Any) -> Tensor:
        from spikingjelly.activation_based import functional

        functional.reset_net(self)
        if self.work.recurrent:
            return super().forward(steps)
        flow = torch.stack(list(steps))
        for synapse, neuron in zip(self.synapses, self.neurons, strict=True):
            flow = neuron(functional.seq_to_ann_forward(flow, synapse))
        return self.neurons[-1].v_seq

    def advance(self, index: int, current: Tensor, before: Any) -> tuple[Tensor, Tensor, Any]:
        neuron = self.neurons[index]
        return neuron(current), neuron.v, None


class Sinabs(_Loop):
    """LIF and ExpLeak over whole sequences [batch, time, ...], step by step with recurrence.

    It has no current-based neuron: LIF there too.
    """

    def __init__(self, work: Workload):
        import math

        from sinabs.activation import SingleExponential, SingleSpike
        from sinabs.layers import LIF, ExpLeak

        super().__init__(work)
        tau, neurons = -1 / math.log(DECAY), []
        for index in range(len(self.synapses)):
            if index < self.last or work.spiking_readout:
                fire = {"spike_fn": SingleSpike, "surrogate_grad_fn": SingleExponential()}
                records = index == self.last and not work.recurrent
                neurons.append(LIF(tau_mem=tau, norm_input=False, record_states=records, **fire))
            else:
                neurons.append(ExpLeak(tau_mem=tau, norm_input=False))
        self.neurons = nn.ModuleList(neurons)

    def forward(self, steps: Any) -> Tensor:
        for neuron in self.neurons:
            neuron.reset_states()
        if self.work.recurrent:
            return super().forward(steps)
        flow = torch.stack(list(steps), 1)
        for synapse, neuron in zip(self.synapses, self.neurons, strict=True):
            flow = neuron(synapse(flow.flatten(0, 1)).unflatten(0, flow.shape[:2]))
        readout: Any = self.neurons[-1]
        trace = readout.recordings["v_mem"] if self.work.spiking_readout else flow
        return trace.transpose(0, 1)

    def advance(self, index: int, current: Tensor, before: Any) -> tuple[Tensor, Tensor, Any]:
        neuron = self.neurons[index]
        out = neuron(current[:, None])[:, 0]
        membrane = (
            out if isinstance(getattr(neuron, "spike_fn", None), type(None)) else neuron.v_mem
        )
        return out, membrane, None


PEERS: dict[str, Callable[[Workload], Step]] = {
    "snntorch": partial(_training, SnnTorch),
    "norse": partial(_training, Norse),
    "spikingjelly": partial(_training, SpikingJelly),
    "sinabs": partial(_training, Sinabs),
    "spyx": spyx_peer.training,
}
