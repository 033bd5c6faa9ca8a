"""`Activity`: counts, the readout's place, and moving between devices."""

import torch

from snnexp.activity import Activity, LayerActivity
from snnexp.inputs import Dense, Static


def test_counts_are_sums_over_time_and_differentiable():
    spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 0.0]]], requires_grad=True)
    layer = LayerActivity(Dense(spikes))
    assert layer.counts.tolist() == [[2, 1]]
    (layer.counts * torch.tensor([3.0, 5.0])).sum().backward()
    assert spikes.grad.tolist() == [[[3, 5]]] * 3
    assert LayerActivity(membrane=spikes.detach()).counts is None


def test_the_last_layer_is_the_readout_and_all_moves_together():
    names = ("hidden1", "hidden2", "readout")
    layers = {n: LayerActivity(Dense(torch.ones(2, 1, size))) for size, n in enumerate(names, 1)}
    activity = Activity(Static(torch.ones(1, 4), 2), layers)
    assert activity.readout is layers["readout"]
    assert list(activity.hidden) == ["hidden1", "hidden2"]
    moved = activity.to("meta")
    assert list(moved.layers) == list(names)
    assert {layer.spikes.device.type for layer in moved.layers.values()} == {"meta"}
    assert moved.inputs.values.device.type == "meta"
    assert moved.readout.spikes.shape == (2, 1, 3)
    assert moved.readout.membrane is None
