"""Loss and accuracy: means over samples, and Wilson's interval against published values."""

import pytest
import torch

from snnexp.metrics import Outcome, wilson_interval


def scores(decisions):
    return torch.nn.functional.one_hot(torch.tensor(decisions), 3).float()


def test_means_are_over_samples_whatever_the_batches():
    outcome = Outcome(["cross_entropy", "readout"], 3)
    for decisions, labels, loss, term in (
        ([0, 1, 2, 2], [0, 1, 2, 0], 1.0, 0.5),
        ([1], [2], 6.0, 0.0),
    ):
        parts = {"readout": torch.tensor(term), "cross_entropy": torch.tensor(loss)}
        outcome.update(parts, scores(decisions), torch.tensor(labels))
    values = outcome.compute()
    assert values["loss/cross_entropy"] == pytest.approx((4 * 1 + 6) / 5)
    assert values["loss/readout"] == pytest.approx(4 * 0.5 / 5)
    assert values["loss"] == pytest.approx(2.4)
    assert values["accuracy"] == pytest.approx(3 / 5)
    bounds = values["accuracy_low"], values["accuracy_high"]
    assert bounds == pytest.approx(wilson_interval(3, 5))
    # [label, decision]
    assert outcome.confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 1]]
    outcome.reset()
    assert outcome.confusion.sum() == 0


def test_a_tie_goes_to_the_first_class():
    outcome = Outcome(["loss"], 3)
    outcome.update({"loss": torch.tensor(0.0)}, torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))
    assert outcome.compute()["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (8, 10, 0.490, 0.943),
        # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_interval(hits, trials, low, high):
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=6e-4)


def test_the_interval_of_none_and_of_all_ends_at_0_and_1():
    """In floats the bound of 0 of 7 would be below 0, that of 20 of 20 above 1."""
    assert wilson_interval(0, 7)[0] == 0
    assert wilson_interval(20, 20)[1] == 1
