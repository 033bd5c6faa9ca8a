"""Figures of a run while it goes on, and of what it came to."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from snnexp import figures
from snnexp.backends import Bss2
from snnexp.callbacks import chip_figures
from snnexp.checks import require_whole
from snnexp.classifier import Classifier
from snnexp.datasets import Data, MemoryDataset
from snnexp.loggers import EpochTable

POINTS = 25
"""Of time, at which decisions so far are compared."""


class Figures(pl.Callback):
    """Draws one validation sample, rates and decisions.

    Every few epochs for TensorBoard; at the end, from the best epoch's weights, for `plots/*.png`
    too. every: epochs between two drawings. sample: index in the validation split.
    resolution: points along a side of the decision map, for data sets in the plane.
    """

    def __init__(self, *, every: int, sample: int, resolution: int):
        require_whole(1, every=every, resolution=resolution)
        require_whole(0, sample=sample)
        self.every, self.sample, self.resolution = every, sample, resolution
        self._tested = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        if trainer.state.fn == "fit" and pl_module.epochs_done % self.every == 0:
            self._show(trainer, pl_module, "val", None)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """What a run without a test has to show."""
        if trainer.is_global_zero:
            folder = Path(trainer.default_root_dir) / "plots"
            folder.mkdir(exist_ok=True)
            for name, figure in self._draw_training(trainer).items():
                figure.savefig(folder / f"{name}.png", dpi=120)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        if self._tested:  # of several trials the first is drawn
            return
        self._tested = True
        folder = Path(trainer.default_root_dir) / "plots"
        folder.mkdir(exist_ok=True)
        self._show(trainer, pl_module, "test", folder)

    def _show(
        self, trainer: pl.Trainer, classifier: Classifier, stage: str, folder: Path | None
    ) -> None:
        boards = [board for board in trainer.loggers if isinstance(board, TensorBoardLogger)]
        if not trainer.is_global_zero or (not boards and folder is None):
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        with torch.no_grad():
            drawn = self._draw(trainer, classifier, data, stage)
        for name, figure in drawn.items():
            if data.dataset.source is not None and name != "learning_curves":
                figure.suptitle(
                    data.dataset.source, fontsize=8, x=0.99, horizontalalignment="right"
                )
            for board in boards:
                board.experiment.add_figure(name, figure, classifier.global_step)
            if folder is not None:
                figure.savefig(folder / f"{name}.png", dpi=120)
        for board in boards:
            for name, weight in classifier.network.weights().items():
                board.experiment.add_histogram(f"weights/{name}", weight, classifier.global_step)
            for name, delay in classifier.network.delays().items():
                board.experiment.add_histogram(f"delays_s/{name}", delay, classifier.global_step)

    def _draw(
        self, trainer: pl.Trainer, classifier: Classifier, data: Data, stage: str
    ) -> dict[str, Figure]:
        dataset = data.dataset
        drawn = self._draw_sample(classifier, dataset)
        drawn["rates"] = figures.rate_histogram(classifier.neuron_rates[stage])
        confusion, names = classifier.confusion[stage], dataset.class_names
        drawn["confusion"] = figures.confusion_matrix(confusion, names)
        if hasattr(dataset, "grid"):
            drawn |= self._draw_plane(classifier, dataset, stage)
        drawn |= self._draw_training(trainer)
        if stage == "test" and classifier.decoder.reads == "membrane":
            drawn |= self._draw_decisions(classifier, dataset, stage)
        if stage == "test" and isinstance(classifier.network.backend, Bss2):
            values, _ = self._chosen(classifier, dataset)
            drawn |= chip_figures.draw(classifier, values, dataset.class_names)
        return drawn

    def _draw_training(self, trainer: pl.Trainer) -> dict[str, Figure]:
        """The curves; of a learning rate that only rises, the loss against it too."""
        drawn = {}
        for table in trainer.loggers:
            if isinstance(table, EpochTable):
                rows = list(table.rows.values())
                drawn["learning_curves"] = figures.learning_curves(rows)
                rates = [row["train/lr"] for row in rows if "train/lr" in row]
                if len(rates) > 2 and all(a < b for a, b in pairwise(rates)):
                    drawn["rate_range"] = figures.rate_range(rows)
        return drawn

    def _draw_decisions(
        self, classifier: Classifier, dataset: MemoryDataset, stage: str
    ) -> dict[str, Figure]:
        """Decisions on ever longer beginnings of each sample's readout."""
        split, decisions, points = dataset.splits[stage], [], []
        for index in torch.arange(len(split)).split(500):
            _, activity, _ = classifier.run(split.values[index].to(classifier.device), stage, 0)
            trace = activity.readout.membrane
            assert trace is not None
            points = sorted({-(-len(trace) * k // POINTS) for k in range(1, POINTS + 1)})
            so_far = [classifier.decoder.decode(trace[:point]).argmax(1) for point in points]
            decisions.append(torch.stack(so_far).cpu())
        decided = torch.cat(decisions, 1)
        changed = decided[1:] != decided[:-1]  # the last change of each sample, or none
        last = (changed * torch.arange(1, len(points))[:, None]).amax(0)
        times = [point * classifier.dt for point in points]
        correct = decided == split.labels
        drawn = {
            "accuracy_over_time": figures.accuracy_over_time(
                correct, torch.tensor(times)[last], times
            )
        }
        if dataset.speakers is not None:
            speaker = dataset.speakers[stage]
            drawn["speakers"] = figures.accuracy_by_group(correct[-1], speaker, "speaker")
        return drawn

    def _draw_sample(self, classifier: Classifier, dataset: MemoryDataset) -> dict[str, Figure]:
        values, label = self._chosen(classifier, dataset)
        inputs, activity, scores = classifier.run(values, "val", 0)
        spikes = inputs.dense()[:, 0].cpu()
        hidden = {
            name: layer.spikes[:, 0].cpu()
            for name, layer in activity.hidden.items()
            if layer.spikes is not None
        }
        readout = activity.readout.membrane
        assert readout is not None
        dt = classifier.dt
        return {
            "input": figures.input_encoding(spikes, dt, getattr(classifier.encoder, "marks", {})),
            "activity": figures.activity(
                inputs=spikes,
                hidden=hidden,
                readout=readout[:, 0].cpu(),
                dt=dt,
                class_names=dataset.class_names,
                label=label,
                decision=int(scores[0].argmax()),
            ),
        }

    def _chosen(self, classifier: Classifier, dataset: MemoryDataset) -> tuple[Any, int]:
        """The drawn sample's values, as a batch of one, and its label."""
        split = dataset.splits["val"]
        index = min(self.sample, len(split) - 1)
        values = split.values[index : index + 1].to(classifier.device)
        return values, int(split.labels[index])

    def _draw_plane(self, classifier: Classifier, dataset: Any, stage: str) -> dict[str, Figure]:
        split, names = dataset.splits[stage], dataset.class_names
        values, inside, extent = dataset.grid(self.resolution)
        scores = _scores(classifier, values)
        scores[~inside] = float("nan")
        scores = scores.view(self.resolution, self.resolution, -1)
        decisions = _scores(classifier, split.values).argmax(1)
        return {
            "data": figures.plane_data(split.values, split.labels, names),
            "decision_map": figures.decision_map(
                scores, extent, split.values, split.labels, decisions, names
            ),
            "score_maps": figures.score_maps(scores, extent, names),
        }


def _scores(classifier: Classifier, values: Tensor) -> Tensor:
    chunks = values.to(classifier.device).split(2000)
    return torch.cat([classifier(chunk).cpu() for chunk in chunks])
