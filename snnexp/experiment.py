"""One run: a configuration becomes objects in the order of the flow, which train, test and save."""

import logging
import math
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.loggers import TensorBoardLogger
from torch.optim.lr_scheduler import ReduceLROnPlateau

from snnexp import checkpoints, config, folders, randomness
from snnexp.activity import Activity
from snnexp.callbacks import Bar, EpochLines, Termination
from snnexp.checkpoints import BEST, LAST, path_of
from snnexp.classifier import Classifier
from snnexp.config import instantiate
from snnexp.datasets import Data, MemoryDataset, as_floats
from snnexp.decoders import FirstSpike
from snnexp.errors import ConfigError, RunError
from snnexp.losses import NoLoss, TimeToFirstSpike
from snnexp.models import Network
from snnexp.optimizers import grouped
from snnexp.stopwatch import Stopwatch
from snnexp.summary import about, write_summary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A finished run: its metrics by name, its folder and the trained classifier (best epoch)."""

    metrics: dict[str, Any]
    folder: Path
    classifier: Classifier

    def objectives(self, wanted: list[dict[str, str]]) -> float | tuple[float, ...]:
        """The values of the configured objectives, as a sweeper takes them."""
        values = tuple(self.metrics[objective["name"]] for objective in wanted)
        return values[0] if len(values) == 1 else values


def build(cfg: DictConfig) -> tuple[MemoryDataset, Classifier, dict[str, Any]]:
    """The data set, the untrained classifier and the trainer's settings of a checked configuration.

    Weights depend on the seed alone.
    """
    backend = instantiate(cfg.backend)
    dataset = instantiate(cfg.dataset)
    sizes = {"num_features": dataset.num_features, "input_shape": dataset.shape}
    encoder = instantiate(cfg.encoder, **config.taken(cfg.encoder, **sizes))
    _refuse_misfit(dataset, encoder, backend)
    torch.manual_seed(randomness.key(cfg.seed, 0, "weights"))
    network = instantiate(
        cfg.model,
        **_input_size(cfg.model, dataset, encoder),
        num_outputs=dataset.num_classes,
        dt=cfg.time.dt,
        backend=backend,
    )
    _refuse_values(encoder, backend)
    _refuse_delayed_values(encoder, network)
    _refuse_unrecorded(cfg.trainer, backend)
    stated, groups = config.split(cfg, "optimizer", "groups")
    optimizer, schedule = instantiate(stated), instantiate(cfg.scheduler)
    with config.naming_keys():  # their values are checked by torch, which sees them only here
        batches, epochs = -(-len(dataset.splits["train"]) // cfg.batch_size), cfg.trainer.max_epochs
        parameters = _grouped(network, groups)
        record = schedule.configure(optimizer(parameters), steps=batches * epochs, epochs=epochs)
    if isinstance(record["scheduler"], ReduceLROnPlateau):
        _refuse_unwatchable(cfg)
    decoder, loss = instantiate(cfg.decoder), instantiate(cfg.loss)
    for stage, part in (("decoder", decoder), ("loss", loss)):
        _refuse_silent_readout(stage, part, network)
    _refuse_untimed_scores(loss, decoder)
    _refuse_endless_price(loss, cfg.time.dt * cfg.time.steps)
    if isinstance(loss, NoLoss) and not cfg.regularizer:
        raise ConfigError(
            "loss: NoLoss, and no regularizer: nothing would be learnt; choose another loss, or "
            "add for example regularizer=[synops_target]"
        )
    classifier = Classifier(
        encoder=encoder,
        network=network,
        decoder=decoder,
        loss=loss,
        regularizers={name: instantiate(node) for name, node in cfg.regularizer.items()},
        energy={name: instantiate(node) for name, node in cfg.energy.items()},
        optimizer=optimizer,
        groups=groups,
        schedule=schedule,
        dt=cfg.time.dt,
        num_classes=dataset.num_classes,
        seed=cfg.seed,
    )
    _prepare_regularizers(cfg, classifier, dataset)
    return dataset, classifier, backend.trainer_settings()


def _grouped(network: Network, groups: dict[str, Any]) -> Any:
    try:
        return grouped(network, groups)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _prepare_regularizers(cfg: DictConfig, classifier: Classifier, dataset: MemoryDataset) -> None:
    """Some measure the network as training finds it, on the first batch of the first epoch."""

    def untrained() -> Activity:
        _start_from(cfg, classifier)
        loader = dataset.loader("train", cfg.batch_size, seed=classifier.seed)
        return classifier.run(next(iter(loader))[0], "train", 0)[1]

    for name, term in classifier.regularizers.items():
        try:
            term.prepare(untrained, classifier.network)
        except ValueError as error:
            raise ConfigError(f"regularizer.{name}.{error}") from error


def _start_from(cfg: DictConfig, classifier: Classifier) -> None:
    """The weights that training begins with: those of a run, if one is named."""
    if cfg.init_from is None:
        return
    try:
        checkpoints.load_weights(classifier, path_of(cfg.init_from, BEST))
    except RunError as error:
        raise RunError(f"init_from: {error}") from error


def _input_size(model: DictConfig, dataset: MemoryDataset, encoder: Any) -> dict[str, Any]:
    """Of the encoder's channels what the model takes: their number, or an image's shape."""
    is_image = dataset.shape is not None and encoder.num_channels == dataset.num_features
    shape = dataset.shape if is_image else (encoder.num_channels,)
    return config.taken(model, num_inputs=encoder.num_channels, input_shape=shape)


def _refuse_misfit(dataset: MemoryDataset, encoder: Any, backend: Any) -> None:
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


def _refuse_values(encoder: Any, backend: Any) -> None:
    if not (encoder.spikes or backend.takes_values):
        raise ConfigError(
            f"encoder: {type(encoder).__name__} gives values, but the chip takes spikes; choose an "
            "encoder that spikes, such as encoder=latency"
        )


def _refuse_delayed_values(encoder: Any, network: Any) -> None:
    first = next(iter(network.layers.values()))
    if first.delay is not None and not encoder.spikes:
        raise ConfigError(
            f"model.delays.inputs: true, but {type(encoder).__name__} gives values, which have no "
            "spikes to delay; set it to false, or choose an encoder that spikes, such as "
            "encoder=latency"
        )


def _refuse_unrecorded(trainer: DictConfig, backend: Any) -> None:
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


def _refuse_unwatchable(cfg: DictConfig) -> None:
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


def _refuse_silent_readout(stage: str, part: Any, network: Any) -> None:
    readout = network.layers["readout"].neuron
    if part.reads == "spikes" and not readout.spiking:
        raise ConfigError(
            f"{stage}: {type(part).__name__} reads output spikes, but the readout "
            f"{type(readout).__name__} does not spike; choose model/readout=lif, "
            f"or another {stage}"
        )


def _refuse_untimed_scores(loss: Any, decoder: Any) -> None:
    if isinstance(loss, TimeToFirstSpike) and not isinstance(decoder, FirstSpike):
        raise ConfigError(
            f"loss: TimeToFirstSpike takes first spike times, but {type(decoder).__name__} gives "
            "other scores; choose decoder=first_spike, or another loss"
        )


def _refuse_endless_price(loss: Any, seconds: float) -> None:
    """What an output costs that does not spike in this time."""
    if isinstance(loss, TimeToFirstSpike) and seconds / loss.tau_late > math.log(3e38):
        raise ConfigError(
            f"loss.tau_late: {loss.tau_late!r} s; an output that does not spike in {seconds:.3g} s "
            "would cost exp(t / tau_late), more than float32 can hold; raise it, for example to "
            f"{seconds / 10:.2g}"
        )


def set_up_torch() -> None:
    """Torch as runs take it; its products on a GPU are all of one precision.

    Left to itself it multiplies matrices of float32 as they are, and images by kernels in TF32, of
    10 bits: here both are as `torch.set_float32_matmul_precision` says. Deterministic runs would
    fill new tensors before anything is written to them, and where there is no GPU, Adam would look
    for one at each step: both are switched off.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.fp32_precision == "tf32"
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if not torch.cuda.is_available():
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


def run(cfg: DictConfig, folder: str | Path, bar: bool | None = None) -> Result:
    """Train, validate, test and save into `folder`; an interrupted run there is continued.

    bar: whether a progress bar is shown, else a line an epoch is logged; None: on a terminal.

    Raises ConfigError before anything is built or written if the configuration cannot be run.
    """
    stopwatch = Stopwatch()
    config.check(cfg)
    folder = Path(folder)
    dataset, classifier, settings = build(cfg)
    _refuse_no_batches(cfg, dataset, settings["devices"])
    data = Data(dataset, cfg.batch_size, cfg.eval_batch_size, cfg.seed)
    last = path_of(folder, LAST)
    resumed = checkpoints.load(last) if last.exists() else None
    if resumed is not None:
        checkpoints.refuse_other_architecture(classifier, resumed, last)
        log.info("continuing after epoch %d of %s", resumed["epoch"] + 1, folder)
    else:
        _start_from(cfg, classifier)
    set_up_torch()
    has_bar = sys.stdout.isatty() if bar is None else bar
    trainer = build_trainer(cfg, folder, settings, resumed, has_bar, stopwatch)
    if resumed is None:
        trainer.validate(classifier, data, verbose=False)
        _refuse_unknown_metrics(cfg, classifier)
    stopwatch.begin_training()
    trainer.fit(classifier, data, ckpt_path=last if resumed else None, weights_only=True)
    trainer.strategy.barrier()  # the first of several processes has written the checkpoints
    seconds = {"seconds/train": stopwatch.seconds("train")}
    best = checkpoints.load(path_of(folder, BEST))
    classifier.load_state_dict(best["state_dict"])
    metrics = score(trainer, classifier, data, test=cfg.test)
    metrics |= {"epoch/best": best["epoch"] + 1, "epoch/last": trainer.current_epoch}
    metrics["batches"] = trainer.global_step
    metrics |= classifier.network.backend.describe(cfg.time.dt * cfg.time.steps)
    metrics |= seconds | {"seconds/total": stopwatch.seconds("total")}
    summary = metrics | about(cfg.seed, classifier.device)
    summary |= {} if dataset.source is None else {"dataset/source": dataset.source}
    if trainer.is_global_zero:
        _record_hyperparameters(trainer, cfg, metrics)
        write_summary(folder, summary)
    return Result(summary, folder, classifier)


def _refuse_no_batches(cfg: DictConfig, dataset: MemoryDataset, devices: int) -> None:
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


def _refuse_unknown_metrics(cfg: DictConfig, classifier: Classifier) -> None:
    """One validation tells the names of all that will be measured."""
    measured = {*classifier.metrics, *classifier.training_metrics()}
    wanted = {"best.metric": cfg.best.metric, "scheduler.monitor": cfg.scheduler.monitor}
    wanted |= {f"callback.{name}.monitor": n.get("monitor") for name, n in cfg.callback.items()}
    for key, name in wanted.items():
        if name is not None and name not in measured:
            meant = config.suggest(name, sorted(measured))
            raise ConfigError(f"{key}: {name!r} is not measured in an epoch of this run{meant}")
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


def score(
    trainer: pl.Trainer, classifier: Classifier, data: Data, test: bool = True
) -> dict[str, Any]:
    """Validation metrics of the present weights; with `test`, the test split's too, read once."""
    before = dict(classifier.metrics)
    loggers, trainer.loggers = trainer.loggers, []
    trainer.validate(classifier, data, verbose=False)
    trainer.loggers = loggers
    if test:
        _test(trainer, classifier, data)
    train = {name: value for name, value in before.items() if name.startswith("train/")}
    return train | classifier.metrics


def _test(trainer: pl.Trainer, classifier: Classifier, data: Data) -> None:
    """In as many trials as the backend asks for: metrics are means, with deviations of accuracy."""
    backend, runs = classifier.network.backend, []
    for trial in range(backend.trials):
        backend.choose(trial)
        trainer.test(classifier, data, verbose=False)
        runs.append({n: v for n, v in classifier.metrics.items() if n.startswith("test/")})
    backend.choose(None)
    if len(runs) > 1:
        classifier.metrics |= {n: statistics.fmean(run[n] for run in runs) for n in runs[0]}
        classifier.metrics |= backend.deviations([run["test/accuracy"] for run in runs])


def build_trainer(
    cfg: DictConfig,
    folder: Path,
    settings: dict[str, Any],
    resumed: dict[str, Any] | None,
    bar: bool,
    stopwatch: Stopwatch,
) -> pl.Trainer:
    """Lightning's Trainer with the backend's settings and what every run needs."""
    keepers = checkpoints.callbacks(folder, cfg.best.metric, cfg.best.mode)
    shown = Bar() if bar else EpochLines()
    own = [instantiate(node) for node in cfg.callback.values()]
    return instantiate(
        cfg.trainer,
        **settings,
        default_root_dir=str(folder),
        logger=build_loggers(cfg, folder, resumed),
        callbacks=[*own, shown, stopwatch, Termination(), *keepers],
        plugins=[checkpoints.AtomicCheckpointIO()],
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
    )


def build_loggers(cfg: DictConfig, folder: Path, resumed: dict[str, Any] | None) -> list[Any]:
    """The configured loggers; TensorBoard forgets what was logged after the resumed checkpoint."""
    loggers = []
    for node in cfg.logger.values():
        logger = instantiate(node, save_dir=str(folder))
        if isinstance(logger, TensorBoardLogger) and resumed is not None:
            logger = instantiate(node, save_dir=str(folder), purge_step=resumed["global_step"] + 1)
        loggers.append(logger)
    return loggers


def _record_hyperparameters(trainer: pl.Trainer, cfg: DictConfig, metrics: dict[str, Any]) -> None:
    """TensorBoard's hparams record, once, with the final metrics.

    `best_val/` is the best epoch's: under `val/` it would end that curve.
    """
    scalars = {name: value for name, value in metrics.items() if name.startswith("test/")}
    scalars |= {f"best_{name}": value for name, value in metrics.items() if name.startswith("val/")}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(config.flatten(cfg), scalars, trainer.global_step)
            logger.save()


def load(folder: str | Path) -> Classifier:
    """The trained classifier of a run's folder (best epoch); called on values it returns scores.

    `.network` is the network, `.encoder` and `.decoder` its neighbours.
    Raises RunError if there is no run, or its checkpoint cannot be used.
    """
    cfg = folders.saved_config(folder)
    config.check(cfg)
    _, classifier, _ = build(cfg)
    checkpoints.load_weights(classifier, path_of(folder, BEST))
    return classifier.eval()
