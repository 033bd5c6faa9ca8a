"""Whole runs on tiny made data."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from snnexp import classifier, experiment
from snnexp.classifier import Classifier
from snnexp.loggers import EpochTable


def test_a_run_saves_what_it_promises(train, tmp_path):
    result = train()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    promised = (
        "test/accuracy val/accuracy test/loss test/rate_hz/hidden1 test/spikes_per_sample "
        "test/synops_ac_per_sample test/synops_mac_per_sample test/silent_output_fraction "
        "seconds/total seconds/train versions seed device commit epoch/best"
    )
    assert set(promised.split()) <= set(summary)
    assert summary["test/accuracy"] == result.metrics["test/accuracy"]
    names = {name.removeprefix("test/") for name in summary if name.startswith("test/")}
    assert names == {name.removeprefix("val/") for name in summary if name.startswith("val/")}


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others(train):
    def numbers(result):
        return {k: v for k, v in result.metrics.items() if k.startswith(("test/", "val/"))}

    first, second = train(folder="a"), train(folder="b")
    assert numbers(first) == numbers(second)
    assert numbers(train("seed=1", folder="c")) != numbers(first)
    for weight, other in zip(
        first.classifier.parameters(), second.classifier.parameters(), strict=True
    ):
        assert torch.equal(weight, other)


def test_what_is_said_of_training_is_of_its_last_epochs_samples(train, monkeypatch):
    """20 samples in batches of 8, 8 and 4; loggers get each batch, by the number of its step."""
    batches, norms, logged = [], [], {}
    step, before, log = (
        Classifier.training_step,
        Classifier.on_before_optimizer_step,
        EpochTable.log_metrics,
    )

    def noted_step(self, batch, index):
        total = step(self, batch, index)
        batches.append((total.item(), int(self._batches[-1][1]), len(batch[1])))
        return total

    def noted_gradient(self, optimizer):
        norms.append(self.network.weights()["hidden1"].grad.norm().item())
        before(self, optimizer)

    def noted_log(self, values, at=None):
        if "train_batch/loss" in values:
            logged[at] = values
        log(self, values, at)

    monkeypatch.setattr(Classifier, "training_step", noted_step)
    monkeypatch.setattr(Classifier, "on_before_optimizer_step", noted_gradient)
    monkeypatch.setattr(EpochTable, "log_metrics", noted_log)
    metrics = train("trainer.max_epochs=2").metrics
    assert [size for *_, size in batches] == [8, 8, 4] * 2
    for at, (loss, hits, size) in enumerate(batches):
        assert logged[at]["train_batch/loss"] == pytest.approx(loss)
        assert logged[at]["train_batch/accuracy"] == pytest.approx(hits / size)
    losses, hits, sizes = zip(*batches[3:], strict=True)
    mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / 20
    assert metrics["train/loss"] == pytest.approx(mean)
    assert metrics["train/accuracy"] == pytest.approx(sum(hits) / 20)
    assert metrics["train/gradient_norm/hidden1"] == pytest.approx(sum(norms[3:]) / 3)


def test_the_rate_counts_what_a_device_has_still_to_do(train, monkeypatch):
    """On a GPU the host is ahead of it, until it reads losses and decisions; here 1 s for each."""
    clock, read = SimpleNamespace(now=0.0), torch.Tensor.cpu

    def late(tensor):
        clock.now += sys._getframe(1).f_code.co_name == "_report_training"
        return read(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", late)
    monkeypatch.setattr(classifier, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    assert train().metrics["train/samples_per_second"] == 20 / 2


def test_products_of_images_are_of_the_precision_of_all_others():
    """Left to itself torch would round images to 10 bits on a GPU, and nothing else."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.fp32_precision, cudnn.allow_tf32
    found = {}
    for chosen in ("tf32", "ieee"):
        matmul.fp32_precision = chosen
        experiment.set_up_torch()
        found[chosen] = cudnn.allow_tf32
    matmul.fp32_precision, cudnn.allow_tf32 = before
    assert found == {"tf32": True, "ieee": False}
