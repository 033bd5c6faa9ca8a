"""A trained network on the chip, drawn: one sample, the weights, the circuits."""

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from snnexp import figures
from snnexp.backends import Bss2
from snnexp.backends.chip import LIMIT
from snnexp.backends.resources import COLUMNS, ROWS
from snnexp.classifier import Classifier


@torch.no_grad()
def draw(classifier: Classifier, values: Any, class_names: Sequence[str]) -> dict[str, Figure]:
    """Of a batch of one sample; nothing at level `reference`."""
    network = classifier.network
    backend = network.backend
    if not isinstance(backend, Bss2) or backend.plan is None:
        return {}
    weights = {
        name: (weight.detach().cpu(), backend.weight(weight).detach().cpu())
        for name, weight in network.weights().items()
    }
    scaled = {
        name: (before * backend.weight_scale, after * backend.weight_scale)
        for name, (before, after) in weights.items()
    }
    runs = [{part.demand.name: part.places for part in run} for run in backend.plan.runs]
    return {
        "chip_traces": _traces(classifier, backend, values, class_names),
        "chip_weights": figures.weight_histograms(scaled, LIMIT),
        "chip_placement": figures.placement(runs, ROWS, COLUMNS),
    }


def _traces(
    classifier: Classifier, backend: Bss2, values: Any, class_names: Sequence[str]
) -> Figure:
    """The same input and weights in floats and on the chip; of layer 1 the busiest neuron."""
    network = classifier.network
    inputs, chip, _ = classifier.run(values, "val", 0, record_membrane=True)
    network.backend = backend.ideal
    try:
        floats, _ = network(inputs, record_membrane=True)
    finally:
        network.backend = backend
    name = next(iter(network.layers))
    counts = chip.layers[name].counts
    assert counts is not None
    neuron = int(counts[0].argmax())
    circuit = network.layers[name].neuron.circuit
    assert circuit is not None and circuit.threshold is not None
    both = (floats, chip)
    membranes = [activity.layers[name].membrane for activity in both]
    spikes = [activity.layers[name].spikes for activity in both]
    readouts = [activity.readout.membrane for activity in both]
    dt = classifier.dt
    return figures.chip_traces(
        hidden=_pair([_one(trace)[:, neuron] for trace in membranes]),
        spikes=_pair([_one(z)[:, neuron].nonzero()[:, 0] * dt for z in spikes]),
        readout=_pair([_one(trace) for trace in readouts]),
        dt=dt,
        class_names=class_names,
        name=f"{name}, neuron {neuron}",
        threshold=circuit.threshold,
    )


def _one(trace: Tensor | None) -> Tensor:
    """Of the batch of one, [time, neuron]."""
    assert trace is not None
    return trace[:, 0].cpu()


def _pair(both: list[Tensor]) -> tuple[Tensor, Tensor]:
    floats, chip = both
    return floats, chip
