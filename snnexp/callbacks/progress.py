"""What a run prints while it goes on: a bar, or a line an epoch."""

import logging
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from snnexp.classifier import Classifier

log = logging.getLogger(__name__)


class Bar(RichProgressBar):
    """A progress bar with the last epoch's loss and accuracy beside it."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        assert isinstance(pl_module, Classifier)
        shown, metrics = ("train/loss", "val/loss", "val/accuracy"), _of_one_epoch(pl_module)
        return {name: metrics[name] for name in shown if name in metrics}


class EpochLines(pl.Callback):
    """One line an epoch, for log files and pipes."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        if not trainer.is_global_zero:
            return
        metrics = _of_one_epoch(pl_module)
        shown = (
            ("loss", "train/loss", "{:.4f}"),
            ("val/loss", "val/loss", "{:.4f}"),
            ("val/accuracy", "val/accuracy", "{:.2%}"),
            ("rate", "val/rate_hz", "{:.3g} Hz"),
        )
        values = "  ".join(
            f"{label} {form.format(metrics[name])}"
            for label, name, form in shown
            if name in metrics
        )
        seconds = time.perf_counter() - self.started
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        log.info("epoch %s  %s  %.1f s", epoch, values, seconds)


def _of_one_epoch(classifier: Classifier) -> dict[str, float]:
    """The last trained epoch's metrics: none under `val/` if it was not validated."""
    metrics = classifier.metrics
    if classifier.validated == metrics.get("epoch/trained", 0):
        return metrics
    return {name: value for name, value in metrics.items() if not name.startswith("val/")}
