"""The interface and a run's backend: the same network gives the same numbers on both."""

import functools

import pytest
import torch

from snnexp.hxtorch import snn
from snnexp.hxtorch.chip import Chip
from snnexp.hxtorch.snn import functional
from snnexp.hxtorch.snn.transforms.weight_transforms import linear_saturating
from snnexp.inputs import Dense
from snnexp.models import Network, Normal
from tests.backends.test_bss2 import BACKEND, network
from tests.backends.test_chip import PRESET
from tests.models import made

DT, TAU = 2e-6, 6e-6
SPREAD = PRESET(
    threshold_std=0.05, leak_std=0.03, gain_std=0.1, tau_syn_std=0.05, adc_bits=8, adc_offset_std=2
)
"""Circuits that differ, without noise: the same chip measures the same twice."""


def through_the_interface(
    weights, spikes, mock, chip_seed=0, update=functional.cuba_lif_integration
):
    """Hidden spikes, hidden and output traces of 5-20-3 with the weights of `weights`."""
    experiment = snn.Experiment(mock=mock, dt=DT)
    experiment.chip = Chip()
    experiment.chip.seed, experiment.chip.preset = chip_seed, SPREAD
    scaled = functools.partial(linear_saturating, scale=66.39)
    first = snn.Synapse(5, 20, experiment=experiment, transform=scaled)
    second = snn.Synapse(20, 3, experiment=experiment, transform=scaled)
    reading = {"trace_offset": 80 - 128, "trace_scale": 0.0147, "cadc_time_shift": 0}
    spiking = functional.CUBALIFParams(1 / TAU, 1 / TAU, alpha=5.0)
    hidden = snn.Neuron(20, experiment, update, spiking, **reading)
    integrating = functional.CUBALIParams(1 / TAU, 1 / TAU)
    readout = snn.ReadoutNeuron(
        3, experiment, functional.cuba_li_integration, integrating, **reading
    )
    with torch.no_grad():
        for synapse, weight in zip((first, second), weights, strict=True):
            synapse.weight.copy_(weight)
    inner = hidden(first(snn.NeuronHandle(spikes)))
    outer = readout(second(inner))
    snn.run(experiment, len(spikes))
    return (first.weight, second.weight), (inner.spikes, inner.v_cadc, outer.v_cadc)


def by_the_backend(spikes, level, chip_seed=0):
    """The weights, of whole LSB: between them hxtorch sends gradients back by the float weight."""
    built = network(BACKEND(level=level, chip_seed=chip_seed, preset=SPREAD))
    with torch.no_grad():
        for layer in built.layers.values():
            layer.weight.copy_((layer.weight * 66.39).round().clamp(-63, 63) / 66.39)
    activity, _ = built(Dense(spikes), record_membrane=True)
    hidden, readout = activity.layers["hidden1"], activity.readout
    weights = [layer.weight for layer in built.layers.values()]
    return weights, (hidden.spikes, hidden.membrane, readout.membrane)


def spikes_in(steps=30, batch=6):
    draw = torch.Generator().manual_seed(2)
    return (torch.rand(steps, batch, 5, generator=draw) < 0.1).float()


def gradients_of(weights, outputs):
    """Of a loss of the readout's highest values and of hidden spikes."""
    draw = torch.Generator().manual_seed(3)
    share, of_spikes = torch.randn(3, generator=draw), torch.randn(20, generator=draw)
    loss = (outputs[2].amax(0) @ share).sum() + (outputs[0] @ of_spikes).sum()
    return torch.autograd.grad(loss, list(weights))


@pytest.mark.parametrize(("mock", "level"), [(True, "reference"), (False, "chip")])
def test_spikes_traces_and_weight_gradients_are_the_same(mock, level):
    spikes = spikes_in()
    weights, expected = by_the_backend(spikes, level)
    own, found = through_the_interface([w.detach() for w in weights], spikes, mock)
    assert expected[0].sum() > 50
    assert torch.equal(found[0], expected[0])
    for trace, exact in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(trace, exact, rtol=0, atol=2e-6)
    pairs = zip(gradients_of(own, found), gradients_of(weights, expected), strict=True)
    for gradient, exact in pairs:
        assert exact.abs().max() > 1e-3
        torch.testing.assert_close(gradient, exact, rtol=1e-5, atol=1e-5 * float(exact.abs().max()))


def test_exact_gradients_are_those_of_eventprop_in_a_run():
    spikes = spikes_in()
    euler = {"dt": DT, "method": "euler"}
    torch.manual_seed(0)
    built = Network(
        num_inputs=5,
        num_outputs=3,
        dt=DT,
        backend=made.ideal(),
        hidden_sizes=[20],
        neuron=functools.partial(made.cuba_lif, gradient="eventprop", **euler),
        readout=functools.partial(made.cuba_li, **euler),
        init=Normal(mean=[5.0, 0.0], std=[2.0, 0.5], fan_in_scaled=True),
        delays=None,
    )
    weights = [layer.weight for layer in built.layers.values()]
    activity, _ = built(Dense(spikes))
    expected = (activity.layers["hidden1"].spikes, None, activity.readout.membrane)
    plain = [weight.detach() for weight in weights]
    exact = functional.EventPropLIFFunction
    own, found = through_the_interface(plain, spikes, mock=True, update=exact)
    surrogate = through_the_interface(plain, spikes, mock=True)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[0], surrogate[1][0])
    gradient, other = gradients_of(own, found)[0], gradients_of(*surrogate)[0]
    torch.testing.assert_close(gradient, gradients_of(weights, expected)[0], rtol=1e-4, atol=1e-4)
    assert (gradient - other).abs().max() > 0.1 * gradient.abs().max()


def test_another_chip_has_other_circuits_on_both():
    spikes = spikes_in()
    weights, expected = by_the_backend(spikes, "chip", chip_seed=1)
    plain = [w.detach() for w in weights]
    other = through_the_interface(plain, spikes, mock=False, chip_seed=1)[1]
    torch.testing.assert_close(other[2], expected[2], rtol=0, atol=2e-6)
    assert not torch.equal(other[2], through_the_interface(plain, spikes, mock=False)[1][2])
