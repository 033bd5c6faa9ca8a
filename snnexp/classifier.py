"""The LightningModule: one step for training, validation and test."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from snnexp import health
from snnexp.activity import Activity
from snnexp.checks import require
from snnexp.datasets import as_floats
from snnexp.decoders import Decoder
from snnexp.encoders import Encoder
from snnexp.errors import ConfigError, TrainingError
from snnexp.graphs import Replay
from snnexp.inputs import Inputs
from snnexp.losses import Loss
from snnexp.metrics import ActivityMetrics, Cost, Outcome, SynapticOperations, size_of
from snnexp.models import Network
from snnexp.optimizers import grouped
from snnexp.randomness import generator, key
from snnexp.recordings import Recordings
from snnexp.regularizers import Regularizer
from snnexp.schedulers import Schedule

log = logging.getLogger(__name__)
EVALUATED = ("val", "test")
CHANCE_EPOCH = 5
"""The epoch after which an accuracy at chance is worth a warning."""


class Classifier(pl.LightningModule):
    """Encoder, network and decoder with their loss; called on values it returns scores.

    Nothing is read from the device in a step, but on the CPU, where that is free: metrics are
    counted there and logged once an epoch, the training loss and accuracy of each batch with them.
    `metrics` holds the last values by name, those under `val/` of the weights behind `validated`
    epochs; `confusion` and `neuron_rates` what the figures need, by stage.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        network: Network,
        decoder: Decoder,
        loss: Loss,
        regularizers: dict[str, Regularizer],
        energy: dict[str, Callable[[Cost], float]],
        optimizer: Callable[..., torch.optim.Optimizer],
        groups: Mapping[str, Mapping[str, Any]],
        schedule: Schedule,
        dt: float,
        num_features: int,
        num_classes: int,
        seed: int,
    ):
        super().__init__()
        self.encoder, self.network, self.decoder = encoder, network, decoder
        self.loss, self.regularizers, self.energy = loss, regularizers, energy
        self.optimizer, self.groups, self.schedule = optimizer, groups, schedule
        self.num_features, self.num_classes = num_features, num_classes
        self.seed, self.dt = seed, dt
        parts = [loss.name, *regularizers]
        self.outcome = cast(
            Mapping[str, Outcome],
            nn.ModuleDict({stage: Outcome(parts, num_classes) for stage in EVALUATED}),
        )
        self.activity = cast(
            Mapping[str, ActivityMetrics],
            nn.ModuleDict({stage: ActivityMetrics(network, dt) for stage in EVALUATED}),
        )
        self.operations = cast(
            Mapping[str, SynapticOperations],
            nn.ModuleDict({stage: SynapticOperations(network) for stage in EVALUATED}),
        )
        self.metrics: dict[str, float] = {}
        self.validated: int | None = None
        self._resumed = False
        self._replay: Replay | None = None
        self.confusion: dict[str, Tensor] = {}
        self.neuron_rates: dict[str, dict[str, Tensor]] = {}
        self._batches: list[tuple[Tensor, Tensor, int]] = []
        self._gradients: list[Tensor] = []
        self._started = 0.0
        self._rates: dict[str, float] = {}

    def forward(self, values: Any) -> Tensor:
        """Scores [batch, class] of values as the data set yields them.

        Raises ValueError for values of another width.
        """
        return self.run(values, "test", 0)[2]

    def run(
        self, values: Any, stage: str, index: int, **record: bool
    ) -> tuple[Inputs, Activity, Tensor]:
        """Encode, run and decode batch `index`, as in `encode`."""
        inputs = self.encode(values, stage, index)
        activity, _ = self.network(inputs, **record)
        return inputs, activity, self.decoder(activity)

    def encode(self, values: Any, stage: str, index: int) -> Inputs:
        """What the network gets of batch `index`, which the backend begins.

        Draws are new each epoch in `train`, else fixed for a batch of this index and size.
        """
        self._refuse_width(values)
        epoch = self.current_epoch if stage == "train" else 0
        device = values.device if isinstance(values, Tensor) else self.device
        purpose = f"{stage}/{self.global_rank}/{index}"
        if isinstance(values, Tensor):
            values = as_floats(values, next(self.network.parameters()).dtype)
            if stage == "train" and self.encoder.alters:
                own = f"augment/{self.global_rank}/{index}"
                values = self.encoder.alter(values, generator(self.seed, epoch, own, str(device)))
        inputs = self.encoder(values, generator(self.seed, epoch, purpose, str(device)))
        self.network.backend.begin(self.seed, epoch, purpose, device)
        return inputs

    def _refuse_width(self, values: Any) -> None:
        """Else some encoders would take values of another width for silent or foreign channels."""
        if isinstance(values, Tensor):
            require(
                values.shape[1:] == (self.num_features,),
                f"values: their shape is {tuple(values.shape)}; it must be [batch, "
                f"{self.num_features}]",
            )
        elif isinstance(values, Inputs | Recordings):
            require(
                values.num_channels == self.num_features,
                f"values: they have {values.num_channels} channels; it must be {self.num_features}",
            )

    def training_step(self, batch: tuple[Any, Tensor], index: int) -> Tensor:
        values, labels = batch
        inputs = self.encode(values, "train", index)
        if self._replay is not None and self.global_step > 0:
            losses, correct = self._replay(inputs, labels)
            total = losses.sum()
        else:
            losses, correct, answer = self._learn(inputs, labels)
            total = losses.sum()
            self._look_at(total, values, *answer)
        self._batches.append((losses.detach(), correct, len(labels)))
        return total

    def _learn(
        self, inputs: Inputs, labels: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Activity, Tensor, dict[str, Tensor]]]:
        """The parts of the loss [part], the number of right decisions [], and of what they are."""
        activity, _ = self.network(inputs)
        scores = self.decoder(activity)
        parts = self._parts(activity, scores, labels)
        correct = (scores.detach().argmax(1) == labels).sum()
        return torch.stack(list(parts.values())), correct, (activity, scores, parts)

    def _look_at(
        self,
        total: Tensor,
        values: Any,
        activity: Activity,
        scores: Tensor,
        parts: dict[str, Tensor],
    ) -> None:
        """Refuse a loss that is not finite, on the CPU; warn of what the first batch shows."""
        if self.device.type == "cpu" and not math.isfinite(total.item()):
            name = health.first_non_finite(values, self.network.weights(), activity, scores, parts)
            raise TrainingError(self._divergence(str(name), self.global_step))
        if self.global_step == 0:
            reads_spikes = "spikes" in (self.decoder.reads, self.loss.reads)
            for line in health.first_batch_warnings(activity, reads_spikes):
                log.warning(line)

    def batch_losses(self) -> list[float]:
        """The loss of each of the epoch's batches so far, the mean over all processes."""
        losses = torch.stack([parts.sum() for parts, _, _ in self._batches])
        return (self.over_processes(losses) / self.trainer.world_size).tolist()

    def _parts(self, activity: Activity, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        parts = {self.loss.name: self.loss(activity, scores, labels)}
        for name, term in self.regularizers.items():
            try:
                parts[name] = term(activity, scores, self.network)
            except ValueError as error:
                raise ConfigError(f"regularizer.{name}.{error}") from error
        return parts

    def _divergence(self, name: str, step: int) -> str:
        return (
            f"the loss is not finite at step {step} (epoch {self.current_epoch + 1}); the first "
            f"bad tensor is {name}. The checkpoints of earlier epochs are kept. "
            "Lower optimizer.lr, or set trainer.gradient_clip_val"
        )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        weights = self.network.weights().values()
        gradients = [w.new_zeros(1) if w.grad is None else w.grad for w in weights]
        norms = torch._foreach_norm(gradients)  # type: ignore[attr-defined]
        self._gradients.append(torch.stack(norms))

    def on_train_epoch_start(self) -> None:
        self._batches, self._gradients = [], []
        self._started = time.perf_counter()
        first, *others = self.trainer.optimizers[0].param_groups
        self._rates = {"train/lr": first["lr"]}
        self._rates |= {f"train/lr/{group['name']}": group["lr"] for group in others}
        self.network.proceed(self.current_epoch / (self.trainer.max_epochs or 1))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed an epoch's own draws, as of dropout, behind all that draws before its first batch.

        A loader draws a number whenever it is begun, which in an epoch that is continued happens
        before this epoch's start, else behind it. In published results that number is the first of
        each epoch but a run's first one.
        """
        if batch_idx == 0:
            torch.manual_seed(key(self.seed, self.current_epoch, "global"))
            if self.current_epoch > 0:
                torch.empty((), dtype=torch.int64).random_()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.network.constrain()
        if self.trainer.is_last_batch:
            self._report_training()

    def validation_step(self, batch: tuple[Any, Tensor], index: int) -> None:
        self._evaluate(batch, index, "val")

    def test_step(self, batch: tuple[Any, Tensor], index: int) -> None:
        self._evaluate(batch, index, "test")

    def _evaluate(self, batch: tuple[Any, Tensor], index: int, stage: str) -> None:
        values, labels = batch
        _, activity, scores = self.run(values, stage, index, record_margin=True)
        self.outcome[stage].update(self._parts(activity, scores, labels), scores, labels)
        self.activity[stage].update(activity)
        self.operations[stage].update(activity)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def _report(self, stage: str) -> None:
        outcome, activity = self.outcome[stage], self.activity[stage]
        operations = self.operations[stage]
        values = outcome.compute() | activity.compute() | operations.compute()
        values |= size_of(self.network)
        cost = Cost.of(values, operations.num_steps, self.dt)
        for name, device in self.energy.items():
            values[f"energy/{name}_nJ_per_sample"] = device(cost)
        self.log_values({f"{stage}/{name}": value for name, value in values.items()})
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        if stage == "val":
            self.validated = self.epochs_done
        if stage == "val" and fitting and self.epochs_done == CHANCE_EPOCH:
            samples = int(outcome.confusion.sum())
            line = health.chance_warning(
                values["accuracy"], samples, self.num_classes, CHANCE_EPOCH
            )
            if line:
                log.warning(line)
        with outcome.sync_context(), activity.sync_context():  # of all processes, as in compute
            self.confusion[stage] = outcome.confusion.cpu()
            self.neuron_rates[stage] = {n: r.cpu() for n, r in activity.neuron_rates().items()}
        outcome.reset()
        activity.reset()
        operations.reset()

    def _report_training(self) -> None:
        """Log what was buffered in the epoch: means over samples, and each batch with its step.

        On a GPU the losses are read here first, before validation and checkpoints.
        """
        names = [self.loss.name, *self.regularizers]
        losses = torch.stack([parts for parts, _, _ in self._batches]).cpu().double()
        correct = torch.stack([hits for _, hits, _ in self._batches]).cpu().double()
        seconds = max(time.perf_counter() - self._started, 1e-9)  # the device has done it all now
        sizes = torch.tensor([size for _, _, size in self._batches], dtype=torch.double)
        first = self.current_epoch * len(sizes)
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step, part = bad[0].tolist()
            raise TrainingError(self._divergence(f"the loss part {names[part]}", first + step))
        for step, (loss, share) in enumerate(zip(losses.sum(1), correct / sizes, strict=True)):
            values = {"train_batch/loss": loss.item(), "train_batch/accuracy": share.item()}
            for logger in self.loggers:
                logger.log_metrics(values, first + step)
        sums = [(losses * sizes[:, None]).sum(0), correct.sum()[None], sizes.sum()[None]]
        *totals, hits, samples = self.over_processes(torch.cat(sums)).tolist()
        means = [total / samples for total in totals]
        self.log_values(
            {
                "train/loss": sum(means),
                **{f"train/loss/{n}": mean for n, mean in zip(names, means, strict=True)},
                "train/accuracy": hits / samples,
                **self._rates,
                "epoch/trained": self.current_epoch + 1,
                "train/samples_per_second": samples / seconds,
                **self._norms(),
            }
        )

    def training_metrics(self) -> set[str]:
        """The names of what an epoch of training logs, before there is one."""
        names = {"train/loss", "train/accuracy", "train/lr", "train/samples_per_second"}
        names |= {f"train/loss/{name}" for name in (self.loss.name, *self.regularizers)}
        if self.groups:
            _, *others = grouped(self.network, self.groups)
            names |= {f"train/lr/{group['name']}" for group in others}
        for name in self.network.weights():
            names |= {f"train/weight_norm/{name}", f"train/gradient_norm/{name}"}
        return names | {"epoch/trained"}

    def over_processes(self, sums: Tensor) -> Tensor:
        """The sums over all processes that train this model."""
        if self.trainer.world_size == 1:
            return sums
        reduced = self.trainer.strategy.reduce(sums.to(self.device), reduce_op="sum")
        return torch.as_tensor(reduced).cpu()

    def _norms(self) -> dict[str, float]:
        weights = self.network.weights()
        gradients = torch.stack(self._gradients).mean(0).tolist()
        norms = {f"train/weight_norm/{name}": w.norm().item() for name, w in weights.items()}
        for name, norm in zip(weights, norms.values(), strict=True):
            if not math.isfinite(norm):  # of a hidden layer it can leave the loss finite
                raise TrainingError(self._divergence(f"the weights of {name}", self.global_step))
        pairs = zip(weights, gradients, strict=True)
        return norms | {f"train/gradient_norm/{name}": norm for name, norm in pairs}

    @property
    def epochs_done(self) -> int:
        """Training epochs behind the weights that an epoch's end sees."""
        return self.current_epoch + (self.trainer.state.fn == TrainerFn.FITTING)

    def log_values(self, values: dict[str, float]) -> None:
        """To Lightning's callbacks, and to the loggers with the number of epochs behind them.

        Not by `self.log`, whose bookkeeping costs more than the rest of an epoch's end.
        """
        self.metrics |= values
        exact = {name: torch.tensor(value, dtype=torch.double) for name, value in values.items()}
        self.trainer.callback_metrics.update(exact)
        for logger in self.loggers:
            logger.log_metrics(values | {"epoch": self.epochs_done}, self.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["metrics"], checkpoint["validated"] = dict(self.metrics), self.validated
        measured = {name: term.measured() for name, term in self.regularizers.items()}
        checkpoint["regularizers"] = measured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.metrics = dict(checkpoint["metrics"])
        self.validated = checkpoint.get("validated")
        self._resumed = True

    def on_train_start(self) -> None:
        """Catch up on what Lightning does at an epoch's end after it has saved the checkpoint."""
        if self.network.backend.replays:
            self._replay = Replay(lambda *batch: self._learn(*batch)[:2], self.network)
        if not self._resumed:
            return
        schedule = self.trainer.lr_scheduler_configs[0]
        if schedule.reduce_on_plateau:
            plateau: Any = schedule.scheduler
            plateau.step(self.metrics[str(schedule.monitor)])
        if any(callback.stopped_epoch for callback in self.trainer.early_stopping_callbacks):
            self.trainer.should_stop = True

    def on_train_end(self) -> None:
        if self._replay is not None:
            self._replay.release()  # before the network leaves its device

    def configure_optimizers(self) -> Any:
        optimizer: Any = self.optimizer(grouped(self.network, self.groups))
        optimizer._step_supports_amp_scaling = False  # callbacks and norms see unscaled gradients
        steps, epochs = self.trainer.estimated_stepping_batches, self.trainer.max_epochs
        record = self.schedule.configure(optimizer, steps=int(steps), epochs=int(epochs or 1))
        return {"optimizer": optimizer, "lr_scheduler": record}
