"""Losses against torch's and worked examples."""

import math

import pytest
import torch
from torch.nn import functional

from snnexp.activity import Activity, LayerActivity
from snnexp.inputs import Dense, Static
from snnexp.losses import CrossEntropy, CrossEntropyOverTime, MSECount, NoLoss, TimeToFirstSpike


def activity(spikes=None, membrane=None):
    train = None if spikes is None else Dense(spikes)
    steps = 3 if spikes is None else len(spikes)
    layers = {"hidden1": LayerActivity(), "readout": LayerActivity(train, membrane)}
    return Activity(Static(torch.ones(1, 1), steps), layers)


def spikes_of(counts, steps):
    """Spikes [steps, 1, class] with the given number of them in each class."""
    return (torch.arange(steps)[:, None] < torch.tensor(counts)).float()[:, None]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_equals_torchs(smoothing):
    scores, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    loss = CrossEntropy(label_smoothing=smoothing)(activity(), scores, labels)
    expected = functional.cross_entropy(scores, labels, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_over_time_sums_steps_and_averages_samples(smoothing):
    membrane, labels = torch.randn(7, 4, 3), torch.tensor([0, 2, 1, 1])
    loss = CrossEntropyOverTime(label_smoothing=smoothing)
    found = loss(activity(membrane=membrane), torch.zeros(4, 3), labels)
    steps = (functional.cross_entropy(v, labels, label_smoothing=smoothing) for v in membrane)
    torch.testing.assert_close(found, sum(steps))
    still = loss(activity(membrane=torch.zeros(7, 4, 3)), torch.zeros(4, 3), labels)
    assert still.item() == pytest.approx(7 * math.log(3))


@pytest.mark.parametrize(
    ("steps", "counts", "label", "expected"),
    [
        (25, [20, 5, 5], 0, 0.0),  # n* = 20 and 5
        (25, [19, 7, 5], 0, (1 + 4 + 0) / 3 / 25),
        (25, [0, 0, 0], 2, (25 + 25 + 400) / 3 / 25),
        (24, [4, 19, 4], 1, 0.0),  # 19.2 and 4.8, cut off
        (24, [5, 20, 5], 1, 1 / 24),
    ],
)
def test_mse_count(steps, counts, label, expected):
    loss = MSECount(rate_correct=0.8, rate_incorrect=0.2)
    record = activity(spikes=spikes_of(counts, steps))
    found = loss(record, torch.zeros(1, 3), torch.tensor([label]))
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_mse_count_is_a_mean_over_the_batch_and_its_gradient_flows():
    spikes = torch.cat([spikes_of([20, 5], 25), spikes_of([5, 5], 25)], dim=1).requires_grad_()
    loss = MSECount(rate_correct=0.8, rate_incorrect=0.2)
    found = loss(activity(spikes=spikes), torch.zeros(2, 2), torch.tensor([0, 0]))
    assert found.item() == pytest.approx((0 + 225) / 4 / 25)
    found.backward()  # 2 (n - n*) / (4 25), at every step
    expected = torch.tensor([[0.0, 0.0], [-0.3, 0.0]]).expand(25, 2, 2)
    torch.testing.assert_close(spikes.grad, expected)


def test_first_spikes_that_are_early_and_alone_are_cheap():
    """The label's output spikes at 1 and 3 ms, the other one at 3 and 2 ms; tau is 2 ms."""
    times = torch.tensor([[1e-3, 3e-3], [2e-3, 3e-3]])
    loss = TimeToFirstSpike(tau=2e-3, alpha=0.5, tau_late=4e-3)
    found = loss(activity(), -times, torch.tensor([0, 1]))
    entropy = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(0.5))) / 2
    price = 0.5 * (math.exp(1 / 4) - 1 + math.exp(3 / 4) - 1) / 2
    assert found.item() == pytest.approx(entropy + price, rel=1e-6)


def test_no_loss_is_zero():
    assert NoLoss()(activity(), torch.ones(2, 3), torch.tensor([0, 1])) == 0


@pytest.mark.parametrize(
    ("build", "start"),
    [
        (lambda: CrossEntropy(label_smoothing=1.5), "label_smoothing: 1.5"),
        (lambda: CrossEntropyOverTime(label_smoothing=-0.1), "label_smoothing: -0.1"),
        (lambda: MSECount(rate_correct=1.2, rate_incorrect=0.2), "rate_correct: 1.2"),
        (lambda: MSECount(rate_correct=0.2, rate_incorrect=0.2), "rate_incorrect: 0.2"),
        (lambda: TimeToFirstSpike(tau=0.0, alpha=0.1, tau_late=1e-3), "tau: 0.0 s"),
        (lambda: TimeToFirstSpike(tau=1e-3, alpha=-0.1, tau_late=1e-3), "alpha: -0.1"),
    ],
)
def test_refusals_name_the_argument_first(build, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        build()
