"""The workloads: a training step of ours and of the loop that tutorials write, on the same data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnexp.backends import Ideal
from snnexp.graphs import Replay
from snnexp.inputs import Dense, Events, Inputs, Static
from snnexp.models import (
    LI,
    LIF,
    ArcTan,
    AvgPool2d,
    Conv2d,
    ConvNetwork,
    CubaLI,
    CubaLIF,
    Network,
    Neuron,
    Normal,
    SuperSpike,
)

Step = Callable[[], None]
DECAY, CUBA_DECAY = 0.95, 0.85
SLOPE, CUBA_SLOPE = math.pi, 20.0
LIF_SURROGATE, CUBA_SURROGATE = ArcTan(slope=SLOPE, peak=1.0), SuperSpike(slope=CUBA_SLOPE)


@dataclass(frozen=True)
class Convolution:
    """A convolution of an image of `shape` (channel, height, width), and the mean of 2 x 2."""

    shape: tuple[int, int, int]
    channels: int
    kernel: int = 5

    @property
    def weights(self) -> int:
        return self.channels * self.shape[0] * self.kernel**2

    @property
    def connections(self) -> int:
        """Of a neuron: the pixels that a pool's four kernels cover, in each channel."""
        return self.shape[0] * (self.kernel + 1) ** 2

    def plain(self) -> nn.Module:
        """As a tutorial writes it, between flat layers."""
        convolution = nn.Conv2d(self.shape[0], self.channels, self.kernel, bias=False)
        return nn.Sequential(
            nn.Unflatten(1, self.shape), convolution, nn.AvgPool2d(2), nn.Flatten()
        )


@dataclass(frozen=True)
class Workload:
    """Layers of LIF neurons, or of current-based ones if `cuba`, and what they are trained on.

    dense: the input by step as a loop takes it. inputs: the same as ours takes it. loss: of the
    readout's membrane [time, batch, class]. convolutions: of the first layers; the others are
    dense.
    """

    sizes: Sequence[int]
    dense: Sequence[Tensor] | Tensor
    inputs: Inputs
    loss: Callable[[Tensor], Tensor]
    recurrent: bool = False
    spiking_readout: bool = False
    cuba: bool = False
    convolutions: Sequence[Convolution] = ()

    def synapses(self) -> nn.ModuleList:
        """Those between layers, as a tutorial writes them."""
        pairs = list(pairwise(self.sizes))[len(self.convolutions) :]
        dense = [nn.Linear(fan_in, size, bias=False) for fan_in, size in pairs]
        return nn.ModuleList([*(part.plain() for part in self.convolutions), *dense])


def static_lif() -> Workload:
    """784-1000-10 LIF, 25 steps of a static image, batch 128, cross entropy over time."""
    steps, batch = 25, 128
    values = torch.rand(batch, 784) * (torch.rand(batch, 784) < 0.2)
    labels = torch.randint(10, (batch,))

    def loss(trace: Tensor) -> Tensor:
        return functional.cross_entropy(trace.flatten(0, 1), labels.repeat(steps)) * steps

    inputs = Static(values, steps)
    return Workload([784, 1000, 10], [values] * steps, inputs, loss, spiking_readout=True)


def recurrent_lif(
    channels: int,
    density: float,
    events: bool,
    *,
    steps: int = 128,
    batch: int = 256,
    hidden: int = 128,
) -> Workload:
    """C-128-128-20 recurrent LIF and LI, 128 steps, batch 256, cross entropy of the integral."""
    spikes = (torch.rand(steps, batch, channels) < density).float()
    labels = torch.randint(20, (batch,))

    def loss(trace: Tensor) -> Tensor:
        return functional.cross_entropy(trace.sum(0), labels)

    inputs: Inputs = Dense(spikes)
    if events:
        step, sample, channel = (part.int() for part in spikes.nonzero(as_tuple=True))
        inputs = Events(step, sample, channel, steps, batch, channels)
    return Workload([channels, hidden, hidden, 20], spikes, inputs, loss, recurrent=True)


def long_lif() -> Workload:
    """W2-128 over 1000 steps; without recurrence, through which gradients would overflow."""
    return replace(recurrent_lif(128, 0.1, False, steps=1000), recurrent=False)


def cuba_lif() -> Workload:
    """5-120-3 current-based LIF and LI, 30 steps, batch 75, maximum over time."""
    steps, batch = 30, 75
    times = torch.randint(steps, (1, batch, 5))
    spikes = torch.zeros(steps, batch, 5).scatter_(0, times, 1.0)
    labels = torch.randint(3, (batch,))

    def loss(trace: Tensor) -> Tensor:
        return functional.cross_entropy(trace.amax(0), labels)

    return Workload([5, 120, 3], spikes, Dense(spikes), loss, cuba=True)


def conv_lif() -> Workload:
    """12C5-P2-64C5-P2-10 LIF and LI, 25 steps of a static image, batch 100, maximum over time."""
    steps, batch = 25, 100
    values = torch.rand(batch, 784) * (torch.rand(batch, 784) < 0.2)
    labels = torch.randint(10, (batch,))

    def loss(trace: Tensor) -> Tensor:
        return functional.cross_entropy(trace.amax(0), labels)

    convolutions = Convolution((1, 28, 28), 12), Convolution((12, 12, 12), 64)
    return Workload(
        [784, 1728, 1024, 10],
        [values] * steps,
        Static(values, steps),
        loss,
        convolutions=convolutions,
    )


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "W1": static_lif,
    "W2": partial(recurrent_lif, 700, 0.03, True),
    "W2-8%": partial(recurrent_lif, 700, 0.08, True),
    "W2-128": partial(recurrent_lif, 128, 0.1, False),
    "W3": cuba_lif,
    "W4": conv_lif,
}
LARGER: dict[str, Callable[[], Workload]] = {
    "W2-h1024": partial(recurrent_lif, 128, 0.1, False, hidden=1024),
    "W2-b1024": partial(recurrent_lif, 128, 0.1, False, batch=1024),
    "W2-t1000": long_lif,
}
"""W2-128 with more neurons, samples or steps: measured on a GPU, on a CPU if they are asked for."""


def made(name: str, device: str = "cpu") -> Workload:
    """A workload, the same at each call, with its data on `device`."""
    torch.manual_seed(0)
    with torch.device(device):
        return (WORKLOADS | LARGER)[name]()


def ours(name: str, kernel: str, device: str = "cpu", graphs: bool = False) -> Step:
    """Our training step; graphs: replayed, see `snnexp.graphs.Replay`."""
    return train_network(made(name, device), kernel, device=device, graphs=graphs)


def plain(name: str, device: str = "cpu") -> Step:
    """The plain loop's training step."""
    work = made(name, device)
    model = (PlainCuba(work.sizes) if work.cuba else PlainLIF(work)).to(device)
    return train(model, lambda: work.loss(model(work.dense)))


def train_network(
    work: Workload,
    kernel: str,
    checkpoint_every: int | None = None,
    device: str = "cpu",
    graphs: bool = False,
) -> Step:
    """A training step of our network, with Adam fused."""
    network = build(work, kernel, checkpoint_every).to(device)

    def losses(inputs: Inputs) -> tuple[Tensor]:
        trace = network(inputs)[0].readout.membrane
        assert trace is not None
        return (work.loss(trace),)

    def inputs() -> Inputs:
        """Events in each step on a grid, if that is to be recorded."""
        on_grid = graphs and isinstance(work.inputs, Events)
        return Dense(work.inputs.dense()) if on_grid else work.inputs

    run = Replay(losses, network) if graphs else losses
    return train(network, lambda: run(inputs())[0], fused=True)


def train(model: nn.Module, loss: Callable[[], Tensor], fused: bool | None = None) -> Step:
    """A training step of any model, with Adam as torch has it where `fused` does not say."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def build(work: Workload, kernel: str, checkpoint_every: int | None) -> Network:
    """Our network."""
    backend = Ideal(
        device="cpu",
        precision="32-true",
        devices=1,
        kernel=kernel,
        checkpoint_every=checkpoint_every,
    )
    neuron, readout = _neurons(work)
    common: dict[str, Any] = {
        "num_outputs": work.sizes[-1],
        "dt": 1e-3,
        "backend": backend,
        "neuron": neuron,
        "readout": readout,
        "init": Normal(mean=0.0, std=1.0, fan_in_scaled=True),
    }
    if work.convolutions:
        pool = partial(AvgPool2d, kernel_size=2, stride=2)
        hidden = {
            f"conv{index}": {"conv": convolution(part.channels, part.kernel), "pool": pool}
            for index, part in enumerate(work.convolutions, 1)
        }
        return ConvNetwork(input_shape=work.convolutions[0].shape, hidden=hidden, **common)
    return Network(num_inputs=work.sizes[0], hidden_sizes=work.sizes[1:-1], **common)


def convolution(channels: int, kernel_size: int) -> Callable[..., Conv2d]:
    """Ours, of every pixel."""
    return partial(
        Conv2d,
        channels=channels,
        kernel_size=kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
    )


def _neurons(work: Workload) -> tuple[Callable[..., Neuron], Callable[..., Neuron]]:
    if work.cuba:
        tau = -1e-3 / math.log(CUBA_DECAY)
        common = {"tau_mem": tau, "tau_syn": tau, "leak": 0.0, "method": "exponential"}
        cuba = partial(
            CubaLIF,
            **common,
            tau_ref=0.0,
            threshold=1.0,
            reset=0.0,
            normalized=True,
            gradient="surrogate",
            detach_reset=True,
            recurrent=False,
            surrogate=CUBA_SURROGATE,
        )
        return cuba, partial(CubaLI, **common, normalized=True)
    lif = partial(
        LIF,
        beta=DECAY,
        threshold=1.0,
        reset="subtract",
        reset_delay=False,
        detach_reset=True,
        spike_from="after",
        strict=True,
        surrogate=LIF_SURROGATE,
    )
    integrator = partial(LI, beta=DECAY, normalized=False)
    readout = partial(lif, recurrent=False) if work.spiking_readout else integrator
    return partial(lif, recurrent=work.recurrent), readout


class PlainLIF(nn.Module):
    """A tutorial's loop over LIF layers with subtractive reset."""

    def __init__(self, work: Workload):
        super().__init__()
        self.sizes, self.spiking_readout = work.sizes, work.spiking_readout
        self.layers = work.synapses()
        hidden = work.sizes[1:-1] if work.recurrent else []
        self.recurrent = nn.ModuleList(nn.Linear(n, n, bias=False) for n in hidden)

    def forward(self, steps: Sequence[Tensor] | Tensor) -> Tensor:
        batch, last = len(steps[0]), len(self.layers) - 1
        v = [torch.zeros(batch, size, device=steps[0].device) for size in self.sizes[1:]]
        z, traces = list(v), []
        for t in range(len(steps)):
            flow = steps[t]
            for index, layer in enumerate(self.layers):
                current = layer(flow)
                if index < len(self.recurrent):
                    current = current + self.recurrent[index](z[index])
                v[index] = DECAY * v[index] + current
                if index < last or self.spiking_readout:
                    z[index] = flow = LIF_SURROGATE.spike(v[index] - 1)
                    v[index] = v[index] - flow.detach()
            traces.append(v[last])
        return torch.stack(traces)


class PlainCuba(nn.Module):
    """A tutorial's loop over a current-based layer with reset to zero, and an integrator."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        channels, self.size, self.classes = sizes
        self.hidden = nn.Linear(channels, self.size, bias=False)
        self.readout = nn.Linear(self.size, self.classes, bias=False)

    def forward(self, steps: Sequence[Tensor] | Tensor) -> Tensor:
        batch, device = len(steps[0]), steps[0].device
        i = v = torch.zeros(batch, self.size, device=device)
        i_out = v_out = torch.zeros(batch, self.classes, device=device)
        traces = []
        for t in range(len(steps)):
            i = CUBA_DECAY * i + self.hidden(steps[t])
            v = CUBA_DECAY * v + (1 - CUBA_DECAY) * i
            z = CUBA_SURROGATE.spike(v - 1)
            v = v * (1 - z.detach())
            i_out = CUBA_DECAY * i_out + self.readout(z)
            v_out = CUBA_DECAY * v_out + (1 - CUBA_DECAY) * i_out
            traces.append(v_out)
        return torch.stack(traces)
