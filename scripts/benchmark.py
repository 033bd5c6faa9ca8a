"""Training steps against a plain PyTorch loop, as interleaved pairs: `python scripts/benchmark.py`.

A step is forward, loss, backward and Adam. The plain loop is the one that tutorials write: it
projects at every step, indexes the input, and lets autograd record each small operation. The two
run in turn, A B A B, in one process; the ratio is the median over pairs, with its quartiles, since
machines drift by more than kernels differ. Compilation and warm-up come before and are told apart.

    python scripts/benchmark.py W1 W3 --pairs 30 --json times.json
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from snnexp.backends import Ideal
from snnexp.inputs import Dense, Events, Inputs, Static
from snnexp.kernels import KERNELS
from snnexp.models import LI, LIF, ArcTan, CubaLI, CubaLIF, Network, Normal, SuperSpike

Step = Callable[[], None]
DECAY, CUBA_DECAY = 0.95, 0.85
LIF_SURROGATE, CUBA_SURROGATE = ArcTan(slope=3.14159, peak=1.0), SuperSpike(slope=20.0)


def workload(name: str, kernel: str) -> tuple[Step, Step]:
    """A training step of ours with `kernel`, and of the plain loop, on the same made data."""
    torch.manual_seed(0)
    return WORKLOADS[name](kernel)


def static_lif(kernel: str) -> tuple[Step, Step]:
    """784-1000-10 LIF, 25 steps of a static image, batch 128, cross entropy over time."""
    steps, batch = 25, 128
    values = torch.rand(batch, 784) * (torch.rand(batch, 784) < 0.2)
    labels = torch.randint(10, (batch,))

    def loss(trace: Tensor) -> Tensor:
        return functional.cross_entropy(trace.flatten(0, 1), labels.repeat(steps)) * steps

    ours = _network(kernel, [784, 1000, 10], _lif(False), _lif(False))
    plain = PlainLIF([784, 1000, 10], recurrent=False, spiking_readout=True)
    inputs = Static(values, steps)
    return _step(ours, inputs, loss), _plain_step(plain, [values] * steps, loss)


def recurrent_lif(channels: int, density: float, events: bool, kernel: str) -> tuple[Step, Step]:
    """C-128-128-20 recurrent LIF and LI, 128 steps, batch 256, cross entropy of the integral."""
    steps, batch = 128, 256
    spikes = (torch.rand(steps, batch, channels) < density).float()
    labels = torch.randint(20, (batch,))

    def loss(trace: Tensor) -> Tensor:
        return functional.cross_entropy(trace.sum(0), labels)

    sizes = [channels, 128, 128, 20]
    ours = _network(kernel, sizes, _lif(True), partial(LI, beta=DECAY, normalized=False))
    plain = PlainLIF(sizes, recurrent=True, spiking_readout=False)
    inputs: Inputs = Dense(spikes)
    if events:
        step, sample, channel = spikes.nonzero(as_tuple=True)
        inputs = Events(step, sample, channel, steps, batch, channels)
    return _step(ours, inputs, loss), _plain_step(plain, spikes, loss)


def cuba_lif(kernel: str) -> tuple[Step, Step]:
    """5-120-3 current-based LIF and LI, 30 steps, batch 75, maximum over time."""
    steps, batch = 30, 75
    times = torch.randint(steps, (1, batch, 5))
    spikes = torch.zeros(steps, batch, 5).scatter_(0, times, 1.0)
    labels = torch.randint(3, (batch,))

    def loss(trace: Tensor) -> Tensor:
        return functional.cross_entropy(trace.amax(0), labels)

    common = {"tau_mem": 6e-3, "tau_syn": 6e-3, "leak": 0.0, "method": "exponential"}
    neuron = partial(
        CubaLIF,
        **common,
        tau_ref=0.0,
        threshold=1.0,
        reset=0.0,
        normalized=True,
        detach_reset=True,
        recurrent=False,
        surrogate=CUBA_SURROGATE,
    )
    ours = _network(kernel, [5, 120, 3], neuron, partial(CubaLI, **common, normalized=True))
    return _step(ours, Dense(spikes), loss), _plain_step(PlainCuba(), spikes, loss)


WORKLOADS = {
    "W1": static_lif,
    "W2": partial(recurrent_lif, 700, 0.03, True),
    "W2-8%": partial(recurrent_lif, 700, 0.08, True),
    "W2-128": partial(recurrent_lif, 128, 0.1, False),
    "W3": cuba_lif,
}


class PlainLIF(nn.Module):
    """A tutorial's loop over LIF layers with subtractive reset."""

    def __init__(self, sizes: list[int], recurrent: bool, spiking_readout: bool):
        super().__init__()
        self.sizes = sizes
        self.layers = nn.ModuleList(nn.Linear(n, m, bias=False) for n, m in pairwise(sizes))
        hidden = sizes[1:-1] if recurrent else []
        self.recurrent = nn.ModuleList(nn.Linear(n, n, bias=False) for n in hidden)
        self.spiking_readout = spiking_readout

    def forward(self, steps: list[Tensor] | Tensor) -> Tensor:
        batch, last = len(steps[0]), len(self.layers) - 1
        v = [torch.zeros(batch, size) for size in self.sizes[1:]]
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

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.readout = nn.Linear(5, 120, bias=False), nn.Linear(120, 3, bias=False)

    def forward(self, steps: Tensor) -> Tensor:
        i = v = torch.zeros(steps.shape[1], 120)
        i_out = v_out = torch.zeros(steps.shape[1], 3)
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


def _lif(recurrent: bool) -> Callable[..., LIF]:
    return partial(
        LIF,
        beta=DECAY,
        threshold=1.0,
        reset="subtract",
        reset_delay=False,
        detach_reset=True,
        spike_from="after",
        strict=True,
        recurrent=recurrent,
        surrogate=LIF_SURROGATE,
    )


def _network(kernel: str, sizes: list[int], neuron: Callable, readout: Callable) -> Network:
    return Network(
        num_inputs=sizes[0],
        num_outputs=sizes[-1],
        dt=1e-3,
        backend=Ideal(device="cpu", precision="32-true", devices=1, kernel=kernel),
        hidden_sizes=sizes[1:-1],
        neuron=neuron,
        readout=readout,
        init=Normal(mean=0.0, std=1.0, fan_in_scaled=True),
    )


def _step(network: Network, inputs: Inputs, loss: Callable[[Tensor], Tensor]) -> Step:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        activity, _ = network(inputs)
        trace = activity.readout.membrane
        assert trace is not None
        loss(trace).backward()
        optimizer.step()

    return step


def _plain_step(
    network: nn.Module, steps: list[Tensor] | Tensor, loss: Callable[[Tensor], Tensor]
) -> Step:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss(network(steps)).backward()
        optimizer.step()

    return step


def measure(name: str, kernel: str, pairs: int) -> dict[str, float | str]:
    """Milliseconds of both, and the ratio of ours to the plain loop's over interleaved pairs."""
    steps = workload(name, kernel)
    first = _milliseconds(steps[0])
    for step in (*steps, *steps):
        step()
    times = [(_milliseconds(steps[0]), _milliseconds(steps[1])) for _ in range(pairs)]
    ratios = [ours / plain for ours, plain in times]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "workload": name,
        "kernel": kernel,
        "ms": statistics.median(ours for ours, _ in times),
        "loop_ms": statistics.median(plain for _, plain in times),
        "ratio": middle,
        "ratio_low": low,
        "ratio_high": high,
        "first_ms": first,
    }


def _milliseconds(step: Step) -> float:
    started = time.perf_counter()
    step()
    return (time.perf_counter() - started) * 1e3


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description="Training steps against a plain loop.")
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--kernel", choices=KERNELS, default="auto")
    parser.add_argument("--pairs", type=int, default=15, help="interleaved pairs a workload")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args(argv)
    unknown = sorted(set(given.workloads) - set(WORKLOADS))
    if unknown or given.pairs < 2:
        parser.error(f"workloads are {', '.join(WORKLOADS)}; --pairs is at least 2")
    rows = [measure(name, given.kernel, given.pairs) for name in given.workloads]
    columns = ("workload", "ours (ms)", "plain loop (ms)", "ratio", "quartiles", "first (ms)")
    table = Table(*columns)
    for row in rows:
        spread = f"{row['ratio_low']:.2f}-{row['ratio_high']:.2f}"
        numbers = (f"{row[key]:.1f}" for key in ("ms", "loop_ms"))
        table.add_row(
            str(row["workload"]), *numbers, f"{row['ratio']:.2f}", spread, f"{row['first_ms']:.0f}"
        )
    Console().print(table)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given.pairs} pairs")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
