"""What is wrong with a network in training, in words that are true."""

import pytest
import torch

from snnexp.activity import Activity, LayerActivity
from snnexp.health import first_batch_warnings
from snnexp.inputs import Dense, Static


def warnings(hidden: float, readout: float, reads_spikes: bool) -> list[str]:
    """Of layers that spike with these numbers at each of 4 steps."""
    layers = {
        name: LayerActivity(Dense(torch.full((4, 2, 3), spikes)))
        for name, spikes in (("hidden1", hidden), ("readout", readout))
    }
    return first_batch_warnings(Activity(Static(torch.ones(2, 5), 4), layers), reads_spikes)


def test_a_silent_readout_is_a_fault_where_its_spikes_are_read():
    (line,) = warnings(0.25, 0.0, reads_spikes=True)
    assert line.startswith("readout is silent on the first batch: all its counts are 0, and it")
    assert "lower model.readout.threshold" in line
    assert warnings(0.25, 0.0, reads_spikes=False) == []


@pytest.mark.parametrize("reads_spikes", [True, False])
def test_a_silent_hidden_layer_is_a_fault(reads_spikes):
    (line,) = warnings(0.0, 0.25, reads_spikes)
    assert line.startswith("hidden1 is silent on the first batch: the layers behind it hear no")
    assert "surrogate gradient reaches below" in line and "lower model.neuron.threshold" in line


def test_layers_that_always_spike_are_named_with_their_own_keys():
    hidden, readout = warnings(1.0, 1.0, reads_spikes=True)
    assert hidden.startswith("hidden1 spikes in 100% of all steps on the first batch; lower the")
    assert hidden.endswith("raise model.neuron.threshold or add regularizer=upper_rate")
    assert readout.endswith("(model.init) or raise model.readout.threshold")


@pytest.mark.parametrize(("decoder", "warns"), [("mean", False), ("spike_count", True)])
def test_a_run_warns_by_what_its_decoder_reads(decoder, warns, train, caplog):
    overrides = ["model/readout=lif", "model.readout.threshold=1e9", f"decoder={decoder}"]
    train(*overrides)
    assert ("readout is silent" in caplog.text) == warns
