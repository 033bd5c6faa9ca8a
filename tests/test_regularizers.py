"""Regularizers: each against its equation on two hidden layers made by hand."""

from functools import partial

import pytest
import torch

from snnexp.activity import Activity, LayerActivity
from snnexp.inputs import Dense, Static
from snnexp.regularizers import Burst, LowerRate, Readout, UpperRate, Weights
from tests.models import made

STEPS = 5
COUNTS = [[3, 0], [1, 4]], [[0, 0, 2], [5, 1, 0]]  # by layer, sample and neuron
SCORES = torch.tensor([[1.0, -2.0], [0.0, 3.0]])


def network():
    built = made.network((4, 2, 3, 2), partial(made.lif, recurrent=True))
    for value, weight in enumerate(built.weights().values(), start=1):
        torch.nn.init.constant_(weight, value)  # 1 to 5 in the order of the flow
    return built


def activity():
    """Two hidden layers with COUNTS spikes in their first steps, and a busy spiking readout."""
    layers = {}
    for name, counts in zip(("hidden1", "hidden2"), COUNTS, strict=True):
        spikes = (torch.arange(STEPS)[:, None, None] < torch.tensor(counts)).float()
        layers[name] = LayerActivity(Dense(spikes.requires_grad_()))
    layers["readout"] = LayerActivity(Dense(torch.ones(STEPS, 2, 2)))
    return Activity(Static(torch.ones(2, 4), STEPS), layers)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (Readout(factor=0.1), 0.1 * (1 + 4 + 0 + 9) / 4),
        (Burst(factor=0.1), 0.1 * ((9 + 0 + 1 + 16) / 4 + (4 + 25 + 1) / 6)),
        # short of 2 by 0 2 / 1 0 and by 2 2 0 / 0 1 2
        (LowerRate(factor=0.1, bound=2.0), 0.1 * ((4 + 1) / 4 + (4 + 4 + 1 + 4) / 6)),
        # means 1.5, 2.5 and 2/3, 2 against 1
        (UpperRate(factor=0.1, bound=1.0), 0.1 * ((0.25 + 2.25) / 2 + (0 + 1) / 2)),
        (Weights(factor=0.1), 0.1 * (1 + 4 + 9 + 16 + 25)),
        (Weights(factor=[1.0, 0.0, 0.0, 0.1, 2.0]), 1 + 1.6 + 50),
    ],
    ids=["readout", "burst", "lower_rate", "upper_rate", "weights", "weights each"],
)
def test_terms_equal_their_equations(term, expected):
    value = term(activity(), SCORES, network())
    assert value.shape == ()
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        # d/dn by sample and neuron of the first layer, the same at each step
        (Burst(factor=0.1), [[0.1 * 2 * 3 / 4, 0], [0.1 * 2 * 1 / 4, 0.1 * 2 * 4 / 4]]),
        (LowerRate(factor=0.1, bound=2.0), [[0, -0.1 * 2 * 2 / 4], [-0.1 * 2 * 1 / 4, 0]]),
        # 2 (mean - 1) / (2 samples x 2 neurons)
        (UpperRate(factor=0.1, bound=1.0), [[0.1 * 0.25] * 2, [0.1 * 0.75] * 2]),
    ],
    ids=["burst", "lower_rate", "upper_rate"],
)
def test_gradients_reach_the_spikes(term, expected):
    record = activity()
    term(record, SCORES, network()).backward()
    found = record.layers["hidden1"].spikes.grad
    torch.testing.assert_close(found, torch.tensor(expected).expand(STEPS, 2, 2))


def test_gradients_reach_scores_and_weights():
    scores, net = SCORES.clone().requires_grad_(), network()
    (
        Readout(factor=0.1)(activity(), scores, net) + Weights(factor=0.1)(activity(), scores, net)
    ).backward()
    torch.testing.assert_close(scores.grad, 0.1 * 2 * SCORES / 4)
    recurrent = net.weights()["hidden1_recurrent"]
    torch.testing.assert_close(recurrent.grad, torch.full((2, 2), 0.1 * 2 * 2 / 4))


@pytest.mark.parametrize(
    ("build", "start"),
    [
        (lambda: Readout(factor=-1.0), "factor: -1.0"),
        (lambda: Weights(factor=[1.0, -2.0]), "factor: -2.0"),
        (lambda: Weights(factor=[]), "factor: "),
        (lambda: LowerRate(factor=1.0, bound=0.0), "bound: 0.0"),
        (lambda: UpperRate(factor=1.0, bound=-1.0), "bound: -1.0"),
        (
            lambda: Weights(factor=[1.0, 2.0])(activity(), SCORES, network()),
            "factor: 2 entries for 5 synapses",
        ),
    ],
)
def test_refusals_name_the_argument_first(build, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        build()
