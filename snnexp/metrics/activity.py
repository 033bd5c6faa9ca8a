"""Firing rates, counted from a network's activity."""

import torch
from torch import Tensor
from torchmetrics import Metric

from snnexp.activity import Activity, LayerActivity
from snnexp.inputs import Static, Train
from snnexp.kernels import Packed
from snnexp.models import Network
from snnexp.synops import sums

SATURATED = 0.5
"""Spikes per step from which on a neuron counts as saturated."""


class ActivityMetrics(Metric):
    """Counts the activity of `network` over a split; the counters are whole numbers."""

    def __init__(self, network: Network, dt: float):
        super().__init__()
        self.dt = dt
        self.layers = dict(network.layers)  # in a plain dict, so as not to be a submodule
        self.spiking = [name for name, layer in self.layers.items() if layer.neuron.spiking]
        self._count("samples", 1)
        self._count("steps", 1)
        self._count("silent", 1)
        self._count("input_spikes", 1)
        for name in self.spiking:
            size = self.layers[name].neuron.size
            self._count(f"spikes_{name}", size)
            self._count(f"active_{name}", 1)
            self._count(f"window_{name}", 1)

    def _count(self, name: str, size: int) -> None:
        self.add_state(name, torch.zeros(size, dtype=torch.long), dist_reduce_fx="sum")

    def _add(self, name: str, amount: Tensor | int) -> None:
        setattr(self, name, getattr(self, name) + amount)

    def _total(self, name: str) -> int:
        return int(getattr(self, name).sum())

    @torch.no_grad()
    def update(self, activity: Activity) -> None:
        """Add one batch."""
        inputs = activity.inputs
        self._add("samples", inputs.batch_size)
        self._add("steps", inputs.batch_size * inputs.num_steps)
        if not isinstance(inputs, Static):
            self._add("input_spikes", inputs.counts.sum().long())
        for name in self.spiking:
            self._update_layer(name, activity.layers[name])
        self._add("silent", _silent(activity).sum())

    def _update_layer(self, name: str, layer: LayerActivity) -> None:
        assert layer.train is not None
        spikes, active = _totals(layer.train)
        self._add(f"spikes_{name}", spikes)
        self._add(f"active_{name}", active)
        surrogate = self.layers[name].neuron.surrogate
        if layer.margin is not None and surrogate is not None:
            inside = layer.margin.abs() <= surrogate.half_width
            self._add(f"window_{name}", inside.sum())

    def neuron_rates(self) -> dict[str, Tensor]:
        """Each spiking layer's mean rate by neuron, in Hz, [neuron]."""
        seconds = self._total("steps") * self.dt
        return {name: getattr(self, f"spikes_{name}") / seconds for name in self.spiking}

    def compute(self) -> dict[str, float]:
        """Rates in Hz, counts per sample and shares in [0, 1], by layer and for the network.

        activation_sparsity: the share of (step, sample, neuron) without a spike (NeuroBench).
        """
        samples, steps = self._total("samples"), self._total("steps")
        values: dict[str, float] = {}
        spikes, neurons, active = 0, 0, 0
        for name in self.spiking:
            counts = getattr(self, f"spikes_{name}")
            size, total = counts.numel(), int(counts.sum())
            spikes, neurons = spikes + total, neurons + size
            active += self._total(f"active_{name}")
            values |= {
                f"rate_hz/{name}": total / (size * steps * self.dt),
                f"spikes_per_neuron/{name}": total / (size * samples),
                f"spikes_per_step/{name}": total / (size * steps),
                f"dead/{name}": int((counts == 0).sum()) / size,
                f"saturated/{name}": int((counts >= SATURATED * steps).sum()) / size,
                f"in_window/{name}": self._total(f"window_{name}") / (size * steps),
            }
        values |= {
            "rate_hz": spikes / (neurons * steps * self.dt),
            "spikes_per_sample": spikes / samples,
            "activation_sparsity": 1 - active / (neurons * steps),
            "input_spikes_per_sample": self._total("input_spikes") / samples,
            "silent_output_fraction": self._total("silent") / samples,
        }
        return values


def _totals(train: Train) -> tuple[Tensor, Tensor]:
    """Spikes by neuron; the number of (step, sample, neuron) with a spike."""
    if isinstance(train, Packed):
        spikes = train.counts.sum(0, dtype=torch.long)
        return spikes, spikes.sum()
    return train.spikes.sum((0, 1), dtype=torch.long), (train.spikes != 0).sum()


def _silent(activity: Activity) -> Tensor:
    """The samples of which the readout says nothing: no spike, or to an integrator nothing came.

    Biases, normalization and a converter's noise move an integrator's membrane all the same.
    """
    *before, readout = activity.layers.values()
    said = readout.counts
    if said is None:
        said = sums(readout.arrived or (before[-1].train if before else None) or activity.inputs)
    return (said == 0).all(1)
