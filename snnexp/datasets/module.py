"""Lightning's view of a data set."""

from typing import Any

import pytorch_lightning as pl
import torch

from snnexp.datasets.memory import MemoryDataset, Split


class Data(pl.LightningDataModule):
    """Gives Lightning one loader an epoch: what a run sees depends on (seed, epoch) alone.

    A split that takes at most a quarter of a GPU's free memory is kept there.
    """

    def __init__(self, dataset: MemoryDataset, batch_size: int, eval_batch_size: int, seed: int):
        super().__init__()
        self.dataset, self.seed = dataset, seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self._resident: dict[str, Split] = {}

    def _loader(self, stage: str, batch_size: int, epoch: int) -> Any:
        trainer = self.trainer
        rank, ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return self.dataset.loader(
            stage,
            batch_size,
            seed=self.seed,
            epoch=epoch,
            rank=rank,
            ranks=ranks,
            split=self._split(stage),
        )

    def _split(self, stage: str) -> Split:
        """Moved to the GPU at its first use, if there is one and it has room."""
        split = self.dataset.splits[stage]
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type == "cuda" and stage not in self._resident:
            free, _ = torch.cuda.mem_get_info(device)
            self._resident[stage] = split.to(device) if 4 * split.values.nbytes <= free else split
        return self._resident.get(stage, split)

    def train_dataloader(self) -> Any:
        epoch = self.trainer.current_epoch if self.trainer else 0
        return self._loader("train", self.batch_size, epoch)

    def val_dataloader(self) -> Any:
        return self._loader("val", self.eval_batch_size, 0)

    def test_dataloader(self) -> Any:
        return self._loader("test", self.eval_batch_size, 0)
