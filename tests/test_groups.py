"""Groups of parameters: who belongs to which, what the optimizer is told, and what is refused."""

import re

import pytest
import torch

from snnexp import config
from snnexp.errors import ConfigError
from snnexp.experiment import build
from snnexp.optimizers import grouped

RICH = ("model=radlif", "model/delays=learnt", "+model/synapse=delayed")


def network(compose, *overrides):
    return build(compose(*overrides))[1].network


def names(net, kind):
    own = {id(p) for p in net.kinds()[kind]}
    return {name.removeprefix("layers.") for name, p in net.named_parameters() if id(p) in own}


def test_every_parameter_belongs_to_one_kind(compose):
    net = network(compose, *RICH)
    found = [id(p) for parameters in net.kinds().values() for p in parameters]
    assert sorted(found) == sorted(id(p) for p in net.parameters())
    assert names(net, "weights") == {"hidden1.synapse.weight", "readout.synapse.weight"}
    assert names(net, "recurrent") == {"hidden1.neuron.recurrent"}
    places = ("delay", "synapse")
    assert names(net, "delays") == {
        f"{n}.{p}.share" for n in ("hidden1", "readout") for p in places
    }
    decays = {"hidden1.neuron.alpha", "hidden1.neuron.beta", "readout.neuron.alpha"}
    assert names(net, "time_constants") == decays
    assert names(net, "neurons") == {"hidden1.neuron.a", "hidden1.neuron.b"}
    assert len(names(net, "norm")) == 4


@pytest.mark.parametrize(
    ("model", "decays"),
    [
        ("rlif", {"hidden1.neuron.beta", "readout.neuron.beta"}),
        ("se_adlif", {"hidden1.neuron.place_mem", "hidden1.neuron.place_adapt"}),
        ("alif", {"hidden1.neuron.place_mem", "hidden1.neuron.place_adapt"}),
        ("rf", {"hidden1.neuron.place_mem", "hidden1.neuron.place_frequency"}),
        ("cuba_lif", set()),
    ],
)
def test_learnt_decays_are_time_constants(compose, model, decays):
    assert names(network(compose, f"model={model}"), "time_constants") == decays


def test_a_group_steps_by_its_own_rate_and_decay(compose):
    """A first step of Adam is the learning rate, whatever the gradient; decay adds nothing here."""
    groups = ("+optimizer.groups.delays.lr=0.25", "+optimizer.groups.recurrent.lr=0.0")
    _, classifier, _ = build(compose(*RICH, *groups, "optimizer.lr=0.5"))
    net = classifier.network
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    classifier.optimizer(grouped(net, classifier.groups)).step()
    for name, parameter in net.named_parameters():
        step = 0.25 if name.endswith("share") else 0.0 if name.endswith("recurrent") else 0.5
        torch.testing.assert_close(before[name] - parameter, torch.full_like(parameter, step))


def test_groups_keep_their_ratio_in_every_schedule(train):
    """The rates of the last of two epochs: cosine at its half, one cycle behind its peak."""
    chosen = ("model=rlif", "+optimizer.groups.time_constants.lr=2e-3", "optimizer.lr=1e-3")
    for scheduler in ("cosine", "one_cycle"):
        more = (f"scheduler={scheduler}", "trainer.max_epochs=2")
        metrics = train(*chosen, *more, folder=scheduler).metrics
        assert 0 < metrics["train/lr"] < 1e-3
        assert metrics["train/lr/time_constants"] == pytest.approx(2 * metrics["train/lr"])


def test_without_groups_parameters_go_as_they_are(compose):
    net = network(compose, "model=rlif")
    found = list(grouped(net, {}))
    assert all(one is other for one, other in zip(found, net.parameters(), strict=True))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            "+optimizer.groups.delay.lr=0.1",
            "optimizer.groups.delay: unknown kind of parameters; did you mean 'delays'?",
        ),
        (
            "+optimizer.groups.delays.rate=0.1",
            "optimizer.groups.delays.rate: unknown key; known are betas, lr, weight_decay",
        ),
        ("+optimizer.groups.delays.fused=true", "optimizer.groups.delays.fused: unknown key"),
        ("+optimizer.groups.delays.lr=-1", "optimizer.groups.delays.lr: -1; it must be at least 0"),
        (
            "+optimizer.groups.delays.lr=fast",
            "optimizer.groups.delays.lr: 'fast' is of the wrong type",
        ),
        (
            "+optimizer.groups.delays=0.1",
            "optimizer.groups.delays: 0.1; give what differs from the optimizer's",
        ),
        ("+optimizer.groups=0.1", "optimizer.groups: 0.1; give settings by kind"),
    ],
)
def test_bad_groups_are_refused_before_anything_runs(compose, overrides, message):
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        config.check(compose("model=rlif", overrides))


def test_a_kind_that_the_network_has_not_is_refused_with_a_way_out(compose):
    message = r"^optimizer\.groups\.delays: this network has none; it has weights, recurrent, time"
    with pytest.raises(ConfigError, match=message):
        build(compose("model=rlif", "+optimizer.groups.delays.lr=0.1"))


def test_a_bad_value_of_the_optimizer_is_still_named(compose):
    groups = ("+optimizer.groups.norm.lr=0.1", "optimizer.betas=[2.0,0.9]")
    with pytest.raises(ConfigError, match=r"^optimizer: Invalid beta"):
        build(compose("model=adlif", *groups))
