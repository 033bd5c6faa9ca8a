"""What counting costs a training step: a budget of operations alone, and with every counter.

A run pays for a budget where it has such a regularizer, and for the counters in validation alone.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.workloads import Step, Workload, build, convolution, made, train
from snnexp.activity import Activity
from snnexp.backends import Ideal
from snnexp.inputs import Static
from snnexp.metrics import SynapticOperations
from snnexp.models import (
    IAF,
    ConvNetwork,
    Exponential,
    Kaiming,
    Network,
    SumPool2d,
    Synapse,
)
from snnexp.regularizers import SynopsBudget

Pieces = tuple[Network, Callable[[], Activity], Callable[[Activity], Tensor]]


def measure(
    names: list[str], pairs: int, compare: Callable[[Step, Step, int], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Milliseconds with counting and without, and the ratio over interleaved pairs."""
    rows = []
    for name in [*names, "sinabs' tutorial"]:
        pieces = _tutorial if name not in names else partial(_workload, name)
        for what, counters in (("budget", False), ("budget, counters", True)):
            counting, plain = _counting(*pieces(), counters), _plain(*pieces())
            found = compare(counting, plain, pairs)
            rows.append({"workload": f"{name}: {what}", "kernel": "auto", **found})
    return rows


def _plain(
    network: Network, run: Callable[[], Activity], loss: Callable[[Activity], Tensor]
) -> Step:
    return train(network, lambda: loss(run()), fused=True)


def _counting(
    network: Network,
    run: Callable[[], Activity],
    loss: Callable[[Activity], Tensor],
    counters: bool,
) -> Step:
    metric = SynapticOperations(network)
    budget = SynopsBudget(factor=0.0, target=1.0, of=None)  # both train alike, at the same activity

    def total() -> Tensor:
        activity = run()
        if counters:
            metric.update(activity)
        return loss(activity) + budget(activity, torch.empty(0, 0), network)

    return train(network, total, fused=True)


def _workload(name: str) -> Pieces:
    work: Workload = made(name)
    network = build(work, "auto", None)

    def loss(activity: Activity) -> Tensor:
        trace = activity.readout.membrane
        assert trace is not None
        return work.loss(trace)

    return network, lambda: network(work.inputs)[0], loss


def _tutorial() -> Pieces:
    """The convolutional net of sinabs' tutorial, 10 steps of ones, batch 5."""
    torch.manual_seed(0)
    neuron = partial(
        IAF,
        threshold=1.0,
        multiple=True,
        detach_reset=False,
        recurrent=False,
        surrogate=Exponential(alpha=2.0, scale=1.0),
    )
    pool = partial(SumPool2d, kernel_size=2, stride=2)
    hidden: dict[str, dict[str, Callable[..., Synapse]]] = {
        "conv1": {"conv": convolution(16, 5)},
        "conv2": {"pool": pool, "conv": convolution(32, 5)},
        "conv3": {"pool": pool, "conv": convolution(120, 4)},
    }
    network = ConvNetwork(
        input_shape=(1, 28, 28),
        num_outputs=10,
        dt=1e-3,
        backend=Ideal(
            device="cpu", precision="32-true", devices=1, kernel="auto", checkpoint_every=None
        ),
        hidden=hidden,
        neuron=neuron,
        readout=neuron,
        init=Kaiming(gain=3**-0.5),
    )
    inputs, labels = Static(torch.ones(5, 784), 10), torch.arange(5)

    def loss(activity: Activity) -> Tensor:
        assert activity.readout.counts is not None
        return functional.cross_entropy(activity.readout.counts, labels)

    return network, lambda: network(inputs)[0], loss
