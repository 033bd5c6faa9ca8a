"""What ends a training before its last epoch: a standstill, a sweep's pruner, a signal."""

import math
import signal
import threading
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from snnexp.checks import require_between, require_whole
from snnexp.classifier import Classifier


class Standstill(pl.Callback):
    """Stops where the loss of single batches stands still, as snnTorch's Optuna tutorial does.

    A batch improves if its loss is below the best one by the share improvement / depth^3. When more
    than `patience` batches in a row do not, training ends with that epoch, but not with the first.
    """

    def __init__(self, *, patience: int, improvement: float, depth: int):
        require_whole(1, patience=patience, depth=depth)
        require_between(0, 1, improvement=improvement)
        self.patience, self.share = patience, improvement / depth**3
        self.best, self.since, self.stopped = math.inf, 0, False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """At the last batch: till then the losses stay on the device."""
        assert isinstance(pl_module, Classifier)
        if trainer.is_last_batch:
            self.note(trainer.current_epoch, pl_module.batch_losses())

    def note(self, epoch: int, losses: list[float]) -> None:
        """Count the batches of an epoch, the first of which is 0."""
        for loss in losses:
            improved = loss < (1 - self.share) * self.best
            self.best, self.since = (loss, 0) if improved else (self.best, self.since + 1)
            self.stopped |= epoch > 0 and self.since > self.patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop(trainer)  # a run that is continued behind its end

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        trainer.should_stop = trainer.should_stop or self.stopped

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "since": self.since, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.since = state_dict["best"], state_dict["since"]
        self.stopped = state_dict["stopped"]


class Prune(pl.Callback):
    """Ends a poor trial of a sweep after an epoch, as the sweep's pruner decides.

    monitor: the objective, a metric under val/. Outside a sweep it does nothing.
    """

    def __init__(self, *, monitor: str):
        self.monitor = monitor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        if trainer.state.fn == "fit":
            from snnexp.sweeper import pruning

            pruning.report(pl_module.metrics[self.monitor], pl_module.epochs_done)


class Termination(pl.Callback):
    """How several processes end: at once, and the first, which began the others, says why.

    At SIGTERM by the handler from before training: Lightning's would first exchange a message with
    the others, which wait for another one.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Unless it is ignored by now: a process that is ending is not told again."""
        is_ending = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        may_set = threading.current_thread() is threading.main_thread()
        if trainer.world_size > 1 and may_set and not is_ending:
            signal.signal(signal.SIGTERM, self.handler)

    on_validation_start = on_test_start = on_train_start

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """The others end, who wait for this process, and Lightning's watch over them.

        It would kill this process too, once it saw that they had ended.
        """
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGKILL)
            launcher.procs.clear()
