"""What a run lacks, a metric or a batch, is known before it trains, and refused by name."""

import re

import pytest
import torch

from snnexp import experiment, refusals
from snnexp.errors import ConfigError
from snnexp.evaluate import evaluate
from tests.conftest import TINY

STOP = "callback=[early_stopping]"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [STOP, "callback.early_stopping.monitor=train/losss"],
            "callback.early_stopping.monitor: 'train/losss' is not measured in an epoch of this "
            "run; did you mean 'train/loss'?",
        ),
        (
            ["scheduler=plateau", "scheduler.monitor=train/acc"],
            "scheduler.monitor: 'train/acc' is not measured in an epoch of this run; did you mean "
            "'train/accuracy'?",
        ),
        (
            ["scheduler=plateau", "scheduler.monitor=seconds/train"],
            "scheduler.monitor: 'seconds/train' is not measured in an epoch of this run",
        ),
        (
            ["objectives.0.name=epoch/bets"],
            "objectives[0].name: 'epoch/bets' is no metric of this run; did you mean 'epoch/best'?",
        ),
        (["objectives.0.name=chip/runs"], "objectives[0].name: 'chip/runs' is no metric"),
        (["objectives.0.name=test/accuracy_sd"], "objectives[0].name: 'test/accuracy_sd' is no"),
    ],
)
def test_a_metric_that_there_will_not_be_is_refused_before_training(
    train, tmp_path, overrides, message
):
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        train(*overrides)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    "overrides",
    [
        ["regularizer=[burst]", "model=se_adlif", "+optimizer.groups={neurons: {lr: 0.01}}"],
        ["test=false", "model=lif"],
        ["experiment=yinyang_bss2", "backend.test_chips=2", *TINY],
    ],
)
def test_what_is_announced_is_what_is_measured(train, monkeypatch, overrides):
    """Of the seed alone, a number too, nothing is said."""
    announced, refuse = [], refusals.unknown_metrics

    def spy(cfg, classifier):
        announced.append(classifier.metrics.keys() | classifier.training_metrics())
        announced.append(refusals.result_metrics(cfg, classifier))
        refuse(cfg, classifier)

    monkeypatch.setattr(refusals, "unknown_metrics", spy)
    metrics = train(*overrides).metrics
    measured = {name for name, value in metrics.items() if isinstance(value, int | float)}
    assert announced[0] | announced[1] == measured - {"seed"}


def test_a_plateau_of_training_needs_no_validation(train):
    """Of the number of epochs, which only rises: mode min lowers the rate from the second on."""
    settings = ("scheduler.monitor=epoch/trained", "scheduler.schedule.mode=min")
    settings += ("scheduler.schedule.patience=0", "scheduler.schedule.factor=0.5")
    every = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")
    result = train("scheduler=plateau", "optimizer.lr=0.01", *settings, *every)
    assert result.metrics["train/lr"] == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["trainer.limit_train_batches=0.3"],  # 20 samples in batches of 8
            "trainer.limit_train_batches: 0.3, a share of 3 batches of the train split that is "
            "less than one; set it to 1, one batch, or to a share of at least 1/3",
        ),
        (["trainer.limit_val_batches=0.4"], "trainer.limit_val_batches: 0.4, a share of 2 batches"),
        (["trainer.limit_test_batches=0.4"], "trainer.limit_test_batches: 0.4, a share of 2"),
        (
            ["trainer=ddp", "backend=cpu", "backend.devices=2", "dataset.sizes.val=1"],
            "backend.devices: 2 processes, but the val split has 1 samples, and each process needs "
            "one; lower backend.devices, or enlarge the split",
        ),
    ],
)
def test_a_split_without_a_batch_is_refused_before_training(train, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        train(*overrides)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("limit", ["0.5", "1", "1.0"])
def test_a_share_of_one_batch_is_one(train, limit):
    """Of two batches of 8 and 2 test samples, by share, by number, and all of them."""
    test = train(f"trainer.limit_test_batches={limit}", "trainer.limit_train_batches=1").metrics
    samples = 10 if limit == "1.0" else 8
    right = test["test/accuracy"] * samples
    assert right == pytest.approx(round(right), abs=1e-6)


def test_the_limit_of_a_test_that_is_not_run_does_not_matter(train):
    assert "test/loss" not in train("test=false", "trainer.limit_test_batches=0.1").metrics


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("scheduler=one_cycle", "best.metric=epoch/trained"),
        ("scheduler=plateau", "callback=[figures,early_stopping]"),
        ("callback=[test_best_leaky,standstill]", "regularizer=[synops_target]"),
    ],
    ids=str,
)
def test_without_an_epoch_the_network_is_measured_as_it_is(train, compose, overrides):
    result = train("trainer.max_epochs=0", *overrides)
    untrained = experiment.build(compose(*overrides))[1].network
    saved = experiment.load(result.folder).network
    for name, weight in untrained.weights().items():
        assert torch.equal(weight, saved.weights()[name])
    assert result.metrics["epoch/best"] == result.metrics["epoch/last"] == 0
    assert result.metrics["batches"] == 0
    measured = evaluate(result.folder, [])
    assert measured["test/accuracy"] == result.metrics["test/accuracy"]
    assert measured["val/loss"] == pytest.approx(result.metrics["val/loss"], rel=1e-6)


def test_without_an_epoch_there_are_no_metrics_of_training(train):
    with pytest.raises(ConfigError, match=r"objectives\[0\].name: 'train/loss' is no metric"):
        train("trainer.max_epochs=0", "objectives.0.name=train/loss")
