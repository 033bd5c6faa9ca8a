"""The accuracy on the test split after each epoch, of which the best is told and not used."""

from typing import Any

import pytorch_lightning as pl
import torch

from snnexp.classifier import Classifier


class TestBestLeaky(pl.Callback):
    """`test_best_leaky`: the best accuracy on the test split after any validated epoch so far.

    It chooses an epoch by the test split, so that it is too high: for comparison with papers that
    select so, and for nothing else. No best epoch, schedule, early stop or objective can take it.
    """

    __test__ = False  # no test of pytest's
    METRIC = "test_best_leaky"

    def __init__(self) -> None:
        self.best = 0.0

    @torch.no_grad()
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        if trainer.state.fn != "fit":
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        sums, learns = torch.zeros(2), pl_module.training
        pl_module.eval()
        for index, (values, labels) in enumerate(data.test_dataloader()):
            scores = pl_module.run(values.to(pl_module.device), "test", index)[2]
            hits = (scores.argmax(1) == labels.to(scores.device)).sum()
            sums += torch.tensor([hits.item(), len(labels)])
        pl_module.train(learns)
        right, samples = pl_module.over_processes(sums).tolist()
        self.best = max(self.best, right / samples)
        pl_module.log_values({self.METRIC: self.best})

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
