"""What cannot be run though each part of it can: refused before training, with the way out.

Each of these raises ConfigError; `snnexp.config.check` refuses what one key says by itself.
"""

import math
from collections.abc import Sized
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from snnexp import checkpoints, config
from snnexp.classifier import Classifier
from snnexp.datasets import MemoryDataset, as_floats
from snnexp.datasets.memory import STAGES
from snnexp.decoders import FirstSpike
from snnexp.errors import ConfigError
from snnexp.losses import NoLoss, TimeToFirstSpike


def unsound(dataset: MemoryDataset) -> None:
    """Splits that are not what a data set says of itself, as those of a user's own may be."""
    name, shape = type(dataset).__name__, dataset.shape
    if len(dataset.class_names) != dataset.num_classes:
        raise ConfigError(
            f"dataset: {name} has num_classes = {dataset.num_classes}, but class_names names "
            f"{len(dataset.class_names)}; name each class"
        )
    if shape is not None and math.prod(shape) != dataset.num_features:
        raise ConfigError(
            f"dataset: {name} has shape = {tuple(shape)}, but num_features = "
            f"{dataset.num_features}; it must be {math.prod(shape)}, their product"
        )
    for stage in STAGES:
        if stage not in dataset.splits:
            raise ConfigError(f"dataset: {name} has no split {stage!r}; fill {', '.join(STAGES)}")
        split = dataset.splits[stage]
        fault = _label_fault(split.labels, dataset.num_classes) or _value_fault(dataset, split)
        if fault:
            raise ConfigError(f"dataset: in the {stage} split of {name}, {fault}")


def _label_fault(labels: Any, num_classes: int) -> str | None:
    kind = labels.dtype if isinstance(labels, torch.Tensor) else type(labels).__name__
    if not isinstance(kind, torch.dtype) or kind.is_floating_point or kind.is_complex:
        return f"labels are of {kind}; make them a tensor of whole numbers"
    if labels.ndim != 1:
        return f"labels have the shape {tuple(labels.shape)}; it must be [sample]"
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if low < 0 or high >= num_classes:
        return (
            f"labels go from {low} to {high}; with num_classes = {num_classes} they must lie in 0 "
            f"to {num_classes - 1}"
        )
    return None


def _value_fault(dataset: MemoryDataset, split: Any) -> str | None:
    """Of events only their number is looked at, since they may lie in a large file."""
    values, count = split.values, len(split.labels)
    if isinstance(values, Sized) and len(values) != count:
        return f"there are {len(values)} values, but {count} labels; give each sample one"
    if dataset.yields != "values":
        return None
    if not isinstance(values, torch.Tensor):
        return f"values are of {type(values).__name__}; make them a tensor"
    if values.shape != (count, dataset.num_features):
        return (
            f"values have the shape {tuple(values.shape)}; it must be [sample, num_features], "
            f"({count}, {dataset.num_features})"
        )
    if values.is_floating_point() and not values.isfinite().all():
        return "values are not all finite; mend or leave out those samples"
    return None


def misfit(dataset: MemoryDataset, encoder: Any, backend: Any) -> None:
    """An encoder that does not take what the data are, or a precision they have not."""
    if dataset.yields == "recordings" and backend.precision == "64-true":
        raise ConfigError(
            "backend.precision: '64-true', but recorded events, whose times have 16 bits, are "
            "binned in float32; choose 32-true"
        )
    if encoder.accepts != dataset.yields:
        ways = {"spikes": "none", "recordings": "grid", "values": "latency"}
        raise ConfigError(
            f"encoder: {type(encoder).__name__} takes {encoder.accepts}, but "
            f"{type(dataset).__name__} yields {dataset.yields}; choose for example "
            f"encoder={ways[dataset.yields]}"
        )
    for stage, split in dataset.splits.items():
        try:
            encoder.check(_every_value(split.values))
        except ValueError as error:
            raise ConfigError(f"dataset: in its {stage} split, {error}") from error


def _every_value(values: Any) -> Any:
    """The values; of bytes the different ones, since a large data set is slow to check."""
    is_bytes = isinstance(values, torch.Tensor) and values.dtype == torch.uint8
    return as_floats(values.unique()[None]) if is_bytes else values


def values(encoder: Any, backend: Any) -> None:
    """An encoder that gives values, for a chip."""
    if not (encoder.spikes or backend.takes_values):
        raise ConfigError(
            f"encoder: {type(encoder).__name__} gives values, but the chip takes spikes; choose an "
            "encoder that spikes, such as encoder=latency"
        )


def delayed_values(encoder: Any, network: Any) -> None:
    """Delays of an input that is no spikes."""
    first = next(iter(network.layers.values()))
    if first.delay is not None and not encoder.spikes:
        raise ConfigError(
            f"model.delays.inputs: true, but {type(encoder).__name__} gives values, which have no "
            "spikes to delay; set it to false, or choose an encoder that spikes, such as "
            "encoder=latency"
        )


def unrecorded(trainer: DictConfig, backend: Any) -> None:
    """What steps that are recorded and replayed do not go with."""
    reasons = {
        "accumulate_grad_batches": (1, "writes its gradients where those of the step before are"),
        "strategy": ("auto", "is that of one GPU"),
    }
    for key, (alone, reason) in reasons.items():
        if backend.replays and key in trainer and trainer[key] != alone:
            raise ConfigError(
                f"trainer.{key}: {trainer[key]!r}, but a recorded step {reason}; set it to "
                f"{alone!r}, or choose backend=gpu"
            )


def unwatchable(cfg: DictConfig) -> None:
    """A plateau schedule takes a value of its metric after each epoch, and at no other time."""
    monitor, interval = cfg.scheduler.monitor, cfg.scheduler.interval
    key = "check_val_every_n_epoch"
    every = cfg.trainer.get(key, 1)  # Lightning's default
    if monitor is None:
        raise ConfigError(
            "scheduler.monitor: null, but this schedule watches a metric; set it, for example to "
            "val/accuracy"
        )
    if interval != "epoch":
        raise ConfigError(
            f"scheduler.interval: {interval!r}, but this schedule watches {monitor!r}, which is "
            "measured once an epoch; set scheduler.interval=epoch"
        )
    if monitor.startswith("val/") and every != 1:
        raise ConfigError(
            f"scheduler.monitor: {monitor!r}, but with trainer.{key}: {every} it is not measured "
            f"after each epoch, as this schedule takes it; set trainer.{key}=1, or watch a metric "
            "under train/"
        )


def silent_readout(stage: str, part: Any, network: Any) -> None:
    """A decoder or a loss that reads spikes of an integrator."""
    readout = network.layers["readout"].neuron
    if part.reads == "spikes" and not readout.spiking:
        raise ConfigError(
            f"{stage}: {type(part).__name__} reads output spikes, but the readout "
            f"{type(readout).__name__} does not spike; choose model/readout=lif, "
            f"or another {stage}"
        )


def untimed_scores(loss: Any, decoder: Any) -> None:
    """A loss of spike times with a decoder that gives none."""
    if isinstance(loss, TimeToFirstSpike) and not isinstance(decoder, FirstSpike):
        raise ConfigError(
            f"loss: TimeToFirstSpike takes first spike times, but {type(decoder).__name__} gives "
            "other scores; choose decoder=first_spike, or another loss"
        )


def endless_price(loss: Any, seconds: float) -> None:
    """A price of late spikes that is infinite for an output without one in this time."""
    if isinstance(loss, TimeToFirstSpike) and seconds / loss.tau_late > math.log(3e38):
        raise ConfigError(
            f"loss.tau_late: {loss.tau_late!r} s; an output that does not spike in {seconds:.3g} s "
            "would cost exp(t / tau_late), more than float32 can hold; raise it, for example to "
            f"{seconds / 10:.2g}"
        )


def nothing_learnt(loss: Any, regularizers: DictConfig) -> None:
    """No loss and nothing else."""
    if isinstance(loss, NoLoss) and not regularizers:
        raise ConfigError(
            "loss: NoLoss, and no regularizer: nothing would be learnt; choose another loss, or "
            "add for example regularizer=[synops_target]"
        )


def no_start(init_from: str) -> None:
    """A start that is a file, or is not there."""
    start = Path(init_from)
    if start.is_file():
        run = start.parent.parent if start.parent.name == checkpoints.FOLDER else None
        such = f", such as init_from={run}" if run else ""
        raise ConfigError(f"init_from: {start} is a file; give the folder of a run{such}")
    if not start.is_dir():
        raise ConfigError(f"init_from: {start} does not exist; give the folder of a run")


def no_batches(cfg: DictConfig, dataset: MemoryDataset, devices: int) -> None:
    """A split of which a process would see no batch, for want of samples or by its limit."""
    for stage in ("train", "val", "test") if cfg.test else ("train", "val"):
        size = cfg.batch_size if stage == "train" else cfg.eval_batch_size
        loader = dataset.loader(stage, size, seed=cfg.seed, rank=devices - 1, ranks=devices)
        batches, key = len(loader), f"limit_{stage}_batches"
        if batches == 0:
            raise ConfigError(
                f"backend.devices: {devices} processes, but the {stage} split has "
                f"{len(dataset.splits[stage])} samples, and each process needs one; lower "
                "backend.devices, or enlarge the split"
            )
        limit = cfg.trainer.get(key, 1.0)  # Lightning's default
        if isinstance(limit, float) and int(limit * batches) == 0:
            raise ConfigError(
                f"trainer.{key}: {limit}, a share of {batches} batches of the {stage} split that "
                f"is less than one; set it to 1, one batch, or to a share of at least 1/{batches}"
            )


def unknown_metrics(cfg: DictConfig, classifier: Classifier) -> None:
    """One validation tells the names of all that will be measured."""
    measured = {*classifier.metrics, *classifier.training_metrics()}
    wanted = {"best.metric": cfg.best.metric, "scheduler.monitor": cfg.scheduler.monitor}
    wanted |= {f"callback.{name}.monitor": n.get("monitor") for name, n in cfg.callback.items()}
    for key, name in wanted.items():
        if name is not None and name not in measured:
            meant = config.suggest(name, sorted(measured))
            raise ConfigError(f"{key}: {name!r} is not measured in an epoch of this run{meant}")
    if cfg.trainer.max_epochs == 0:
        measured -= {*classifier.training_metrics()}
    returned = measured | result_metrics(cfg, classifier)
    for index, objective in enumerate(cfg.objectives):
        if objective.name not in returned:
            meant = config.suggest(objective.name, sorted(returned))
            raise ConfigError(
                f"objectives[{index}].name: {objective.name!r} is no metric of this run{meant}"
            )


def result_metrics(cfg: DictConfig, classifier: Classifier) -> set[str]:
    """The names of what is measured once training has ended, as validation was begun with."""
    backend = classifier.network.backend
    told = backend.describe(cfg.time.dt * cfg.time.steps)
    names = {"epoch/best", "epoch/last", "batches", "seconds/train", "seconds/total"}
    if cfg.test:
        names |= {name.replace("val/", "test/", 1) for name in classifier.metrics}
        told |= backend.deviations([0.0] * backend.trials) if backend.trials > 1 else {}
    return names | {name for name, value in told.items() if isinstance(value, int | float)}
