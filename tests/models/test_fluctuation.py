"""Fluctuation-driven initial weights: their moments, and what membranes then do under Poisson input."""

import re
from functools import partial

import pytest
import torch

from snnexp.config import instantiate
from snnexp.errors import ConfigError
from snnexp.experiment import build
from snnexp.inputs import Dense
from snnexp.models import Fluctuation, Layer, Linear
from snnexp.session import compose
from tests.models.made import li, lif

fluctuation = partial(
    Fluctuation,
    input_rate=50.0,
    hidden_rate=20.0,
    mean=0.2,
    distance=8.0,
    recurrent_share=0.1,
    steps=200,
)


def layer_of(neuron, index=0, inputs=100, neurons=400, **changed):
    layer = Layer(Linear(input_shape=(inputs,), num_outputs=neurons), neuron(size=neurons))
    fluctuation(**changed).fill_layer(layer, index)
    return layer


def assert_moments(weight, mean, std):
    """Within 5 standard errors."""
    root = weight.numel() ** 0.5
    assert weight.mean().item() == pytest.approx(mean, abs=5 * std / root)
    assert weight.std().item() == pytest.approx(std, abs=5 * std / (2**0.5 * root))


@pytest.mark.parametrize(("index", "rate"), [(0, 50.0), (1, 20.0)])
def test_weights_of_leaky_neurons_have_the_moments_of_their_formula(index, rate):
    """e(k) = 0.9^k: its sum is 10, that of its squares 1 / 0.19; n r dt spikes come in a step.

    The threshold is 1, so that the standard deviation is to be (1 - 0.2) / 8 = 0.1.
    """
    layer = layer_of(lif, index)
    arriving = 100 * rate * 1e-3
    mean = 0.2 / (arriving * 10)
    assert_moments(layer.weight, mean, (0.1**2 * 0.19 / arriving - mean**2) ** 0.5)


def test_recurrent_weights_cause_their_share_of_the_variance():
    layer = layer_of(partial(lif, recurrent=True), mean=0.0)
    assert_moments(layer.weight, 0.0, (0.9 * 0.125**2 * 0.19 / 5) ** 0.5)
    assert_moments(layer.neuron.recurrent, 0.0, (0.1 * 0.125**2 * 0.19 / (400 * 0.02)) ** 0.5)


def test_integrators_count_as_if_their_threshold_were_1():
    assert_moments(layer_of(li, 1, mean=0.0).weight, 0.0, (0.125**2 * 0.19 / 2) ** 0.5)


@pytest.mark.parametrize(
    ("mean", "model"),
    [
        (0.02, ["model=lif"]),
        (0.02, ["model=lif_deep", "model.depth=2"]),
        (0.02, ["model=iaf"]),
        (0.02, ["model=cuba_lif"]),
        (0.02, ["model=cuba_lif", "model.neuron.method=euler", "model.neuron.normalized=true"]),
        (0.02, ["model=cuba_lif", "model.neuron.leak=0.1", "model.neuron.gradient=eventprop"]),
        (0.02, ["model=cuba_iaf"]),
        (0.02, ["model=rlif", "model.neuron.recurrent=false"]),
        (0.0, ["model=adlif", "model.norm=null"]),  # adaptation takes a mean away
        (0.0, ["model=se_adlif", "time.dt=8e-3", "model.neuron.recurrent=false"]),
    ],
    ids=lambda value: "-".join(value)[6:] if isinstance(value, list) else str(value),
)
def test_membranes_fluctuate_as_asked_under_poisson_input(mean, model):
    """At the end of 200 steps, over 500 samples of 100 inputs of 40 Hz, 200 neurons.

    A neuron's mean varies with its weights; that of 200 lies within 4 standard errors. Their mean
    variance is that of 20,000 weights and of samples that share 100 inputs: 3 times about 2 %.
    The threshold is 30 standard deviations away, so that none spikes.
    """
    width = ["model.width=200"] if "model=lif_deep" in model else ["model.hidden_sizes=[200]"]
    settings = {"input_rate": 40.0, "hidden_rate": 10.0, "mean": mean, "distance": 30.0}
    overrides = [f"model.init.{name}={value}" for name, value in settings.items()]
    dense = ["dataset=ones", "encoder=none", "time.steps=200", "model/init=fluctuation"]
    cfg = compose([*dense, *model, *width, *overrides])
    network = build_network(cfg, 100)
    inputs = torch.poisson(torch.full((200, 500, 100), 40 * cfg.time.dt))
    with torch.no_grad():
        layer = network(Dense(inputs), record_membrane=True)[0].layers["hidden1"]
    assert not layer.spikes.any()
    membrane = layer.membrane[-1].double()
    means = membrane.mean(0)
    assert means.mean().item() == pytest.approx(mean, abs=4 * means.std().item() / 200**0.5)
    std = membrane.var(0).mean().sqrt().item()
    assert std == pytest.approx((1 - mean) / 30, rel=0.06)


def build_network(cfg, num_inputs):
    sizes = {"num_inputs": num_inputs, "num_outputs": 3, "dt": cfg.time.dt}
    return instantiate(cfg.model, **sizes, backend=instantiate(cfg.backend)).eval()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mean": 1.0}, "init.mean: 1.0; it must lie below the neurons' threshold"),
        ({"mean": 0.9}, "init.mean: 0.9 takes more variance of the inputs than distance = 8.0"),
        ({"input_rate": 0.0}, "input_rate: 0.0 Hz; it must be a finite number above 0"),
        ({"distance": 0.0}, "distance: 0.0; it must be a finite number above 0"),
        ({"recurrent_share": 1.1}, "recurrent_share: 1.1; it must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changed, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        layer_of(lif, **changed)


def test_pooled_layers_are_refused_with_a_way_out():
    cfg = compose(["dataset=ones", "model=conv_lif", "model/init=fluctuation"])
    with pytest.raises(ConfigError, match=r"^model\.init: AvgPool2d .*model/init=torch"):
        build(cfg)
