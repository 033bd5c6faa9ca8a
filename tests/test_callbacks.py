"""When training ends early."""

import pytest

from snnexp.callbacks import Standstill


def epochs_until_it_stops(callback, *epochs):
    for epoch, losses in enumerate(epochs):
        callback.note(epoch, losses)
        if callback.stopped:
            return epoch + 1
    return None


@pytest.mark.parametrize(
    ("improvement", "depth", "epochs", "expected"),
    [
        (0.1, 1, ([1.0, 0.95, 0.95, 0.95], [0.95], [0.8]), 2),  # none is 10 % below the first
        (0.1, 1, ([1.0, 0.89, 0.89, 0.89], [0.8, 0.8, 0.8], [0.8]), 3),  # 3 in a row
        (0.1, 1, ([1.0, 1.0, 1.0, 1.0],), None),  # never in the first epoch
        (0.4, 2, ([1.0, 0.94, 0.94, 0.94], [0.8]), None),  # 40 % over 2^3 is 5 %
    ],
)
def test_a_standstill_of_more_than_two_batches_ends_training(improvement, depth, epochs, expected):
    callback = Standstill(patience=2, improvement=improvement, depth=depth)
    assert epochs_until_it_stops(callback, *epochs) == expected


def test_a_continued_run_knows_what_was_before():
    first = Standstill(patience=2, improvement=0.1, depth=1)
    assert epochs_until_it_stops(first, [1.0, 1.0]) is None
    second = Standstill(patience=2, improvement=0.1, depth=1)
    second.load_state_dict(first.state_dict())
    second.note(1, [1.0, 1.0])
    assert second.stopped and second.state_dict() == {"best": 1.0, "since": 3, "stopped": True}


def test_a_run_stops(train):
    """Nothing is below nothing, so that it ends behind the second epoch."""
    given = ("callback.standstill.patience=1", "callback.standstill.improvement=1.0")
    result = train("callback=[standstill]", *given, "trainer.max_epochs=5")
    assert result.metrics["epoch/last"] == 2
