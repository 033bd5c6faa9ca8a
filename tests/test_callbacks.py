"""When training ends early, and what a run shows of its epochs."""

import csv
import re
from types import SimpleNamespace

import pytest

from snnexp.callbacks import Bar, EpochLines, Standstill, TestBestLeaky, progress
from snnexp.errors import ConfigError


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
        (0.4, 2, ([1.0, 0.94, 0.94], [0.94]), None),  # 40 % over 2^3 is 5 %
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


LEAKY = "callback=[test_best_leaky]"
DEFINED = "callback.test_best_leaky._target_=snnexp.callbacks.leaky.TestBestLeaky"
"""The same class, by the module that defines it."""


def test_the_leaky_accuracy_is_the_best_of_all_epochs_and_changes_nothing_else(train):
    """Against runs that end with each of the epochs and are tested there."""
    settings = ("scheduler=none", "best.metric=epoch/trained", "optimizer.lr=0.05")
    tested = []
    for epochs in (1, 2, 3):
        run = train(*settings, f"trainer.max_epochs={epochs}", folder=str(epochs))
        tested.append(run.metrics["test/accuracy"])
    leaky = train(*settings, LEAKY, "trainer.max_epochs=3", folder="leaky")
    assert leaky.metrics["test_best_leaky"] == pytest.approx(max(tested))
    kept = ("test/loss", "val/loss", "train/loss", "test/accuracy")
    assert all(leaky.metrics[name] == run.metrics[name] for name in kept)
    with (leaky.folder / "metrics.csv").open(newline="") as file:
        rows = [row["test_best_leaky"] for row in csv.DictReader(file)]
    assert rows[0] == ""  # the untrained network is none of the epochs
    best = [max(tested[: n + 1]) for n in range(3)]
    assert [float(text) for text in rows[1:]] == pytest.approx(best)


def test_a_continued_run_knows_the_best_leaky_accuracy():
    first, second = TestBestLeaky(), TestBestLeaky()
    first.best = 0.75
    second.load_state_dict(first.state_dict())
    assert second.best == 0.75


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["test=false"], r"^callback\.test_best_leaky: it reads the test split after every epoch"),
        (["test=false", DEFINED], r"^callback\.test_best_leaky: it reads the test split"),
        (["best.metric=test_best_leaky"], r"^best\.metric: 'test_best_leaky'; a model is selected"),
        (["objectives=[{name: test_best_leaky, direction: maximize}]"], r"^objectives\[0\]\.name:"),
        (["scheduler=plateau", "scheduler.monitor=test_best_leaky"], r"^scheduler\.monitor:"),
    ],
)
def test_nothing_is_selected_by_the_leaky_accuracy(train, overrides, message):
    with pytest.raises(ConfigError, match=message):
        train(LEAKY, *overrides)


def test_no_early_stop_watches_the_leaky_accuracy(train):
    callbacks = "callback=[early_stopping,test_best_leaky]"
    watched = "callback.early_stopping.monitor=test_best_leaky"
    with pytest.raises(ConfigError, match=r"^callback\.early_stopping\.monitor: 'test_best_leaky'"):
        train(callbacks, watched)


def test_a_line_shows_no_other_epochs_validation(train, monkeypatch):
    """Of three epochs the second is validated; the bar is asked at the same moments."""
    lines, bars = [], []
    log = SimpleNamespace(info=lambda form, *values: lines.append(form % values))
    monkeypatch.setattr(progress, "log", log)
    line = EpochLines.on_train_epoch_end

    def with_bar(self, trainer, classifier):
        line(self, trainer, classifier)
        bars.append(Bar().get_metrics(trainer, classifier))

    monkeypatch.setattr(EpochLines, "on_train_epoch_end", with_bar)
    train("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")
    whole = r"loss \S+  val/loss \S+  val/accuracy \S+%  rate \S+ Hz"
    patterns = [r"epoch 1/3  loss \S+", rf"epoch 2/3  {whole}", r"epoch 3/3  loss \S+"]
    for text, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern + r"  \d+\.\d s", text), text
    assert [list(shown) for shown in bars] == [
        ["train/loss"],
        ["train/loss", "val/loss", "val/accuracy"],
        ["train/loss"],
    ]
