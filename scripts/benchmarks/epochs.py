"""W5: a training epoch of `train.py` against a tutorial's, as interleaved pairs in one run.

Yin-Yang with 5025 samples in batches of 75, 30 steps, 5-120-3 current-based LIF. The tutorial's
loop encodes, trains and keeps the loss and the accuracy of each batch; ours logs all that a run
logs. The tutorial's epoch follows each of ours. `ms` is the training part of our epoch, `whole_ms`
all of it, with validation and checkpoint.
"""

import statistics
import tempfile
import time
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch.nn import functional

from benchmarks.workloads import PlainCuba
from snnexp import console, experiment, session
from snnexp.datasets import YinYang

COLUMNS = {
    "workload": "",
    "ms": ".0f",
    "whole_ms": ".0f",
    "loop_ms": ".0f",
    "ratio": ".2f",
    "whole_ratio": ".2f",
}
SAMPLES, BATCH, STEPS = 5025, 75, 30
OVERRIDES = (
    "model=cuba_lif",
    f"dataset.sizes.train={SAMPLES}",
    f"batch_size={BATCH}",
    "time={dt: 2.0e-6, steps: 30, early: 2.0e-6, late: 40.0e-6, bias: 18.0e-6}",
    "model.neuron.tau_mem=6.0e-6",
    "model.neuron.tau_syn=6.0e-6",
    "model.readout.tau_mem=6.0e-6",
    "model.readout.tau_syn=6.0e-6",
    "decoder=max_over_time",
    "scheduler=step",
)


class Tutorial(pl.Callback):
    """After each epoch of ours, one of the tutorial's; both timed."""

    def __init__(self) -> None:
        radii = {"radius_small": 0.1, "radius_big": 0.5}
        sizes, seeds = {"train": SAMPLES, "val": 1, "test": 1}, {"train": 42, "val": 41, "test": 40}
        split = YinYang(sizes=sizes, seeds=seeds, **radii).splits["train"]
        assert isinstance(split.values, torch.Tensor)
        self.values, self.labels = split.values, split.labels
        self.model = PlainCuba([5, 120, 3])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=2e-3)
        self.training: list[float] = []
        self.whole: list[float] = []
        self.tutorial: list[float] = []
        self.started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self.training.append(time.perf_counter() - self.started)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.whole.append(time.perf_counter() - self.started)
        started = time.perf_counter()
        self._epoch()
        self.tutorial.append(time.perf_counter() - started)

    def _epoch(self) -> None:
        losses, hits = [], 0
        for index in torch.randperm(SAMPLES).split(BATCH):
            values, labels = self.values[index], self.labels[index]
            step = (2 + 38 * values).div(2).round().long()  # us, in steps of 2 us
            spikes = torch.zeros(STEPS, len(index), 5)
            spikes[:, :, :4].scatter_(0, step[None], 1.0)
            spikes[9, :, 4] = 1
            self.optimizer.zero_grad()
            scores = self.model(spikes).amax(0)
            loss = functional.cross_entropy(scores, labels)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
            hits += int((scores.argmax(1) == labels).sum())


def measure(epochs: int) -> list[dict[str, Any]]:
    """One row; the first epoch, which warms up, is left out."""
    console.quieten_lightning()
    cfg = session.compose([*OVERRIDES, f"trainer.max_epochs={epochs + 1}"])
    tutorial, build = Tutorial(), experiment.build_trainer

    def with_tutorial(*arguments: Any) -> pl.Trainer:
        trainer = build(*arguments)
        cast(Any, trainer).callbacks.insert(0, tutorial)
        return trainer

    experiment.build_trainer = with_tutorial
    with tempfile.TemporaryDirectory() as folder:
        experiment.run(cfg, folder)
    training, whole, loop = (times[1:] for times in (
        tutorial.training, tutorial.whole, tutorial.tutorial
    ))  # fmt: skip
    return [
        {
            "workload": "W5",
            "ms": statistics.median(training) * 1e3,
            "whole_ms": statistics.median(whole) * 1e3,
            "loop_ms": statistics.median(loop) * 1e3,
            "ratio": statistics.median(a / b for a, b in zip(training, loop, strict=True)),
            "whole_ratio": statistics.median(a / b for a, b in zip(whole, loop, strict=True)),
        }
    ]
