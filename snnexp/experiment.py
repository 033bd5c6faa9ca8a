"""One run: a configuration becomes objects in the order of the flow, which train, test and save."""

import logging
import os
import statistics
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch.optim.lr_scheduler import ReduceLROnPlateau

from snnexp import checkpoints, config, folders, randomness, refusals
from snnexp.activity import Activity
from snnexp.callbacks import Bar, EpochLines, Termination
from snnexp.checkpoints import BEST, LAST, path_of
from snnexp.classifier import Classifier
from snnexp.config import instantiate
from snnexp.datasets import Data, MemoryDataset
from snnexp.errors import ConfigError, RunError, interruption
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


def build(
    cfg: DictConfig, checkpoint: dict[str, Any] | None = None
) -> tuple[MemoryDataset, Classifier, dict[str, Any]]:
    """The data set, the untrained classifier and the trainer's settings of a checked configuration.

    Weights depend on the seed alone. What regularizers measured when training began is that of
    the run's `checkpoint`, if there is one: it may have been measured on what is gone.
    """
    backend = instantiate(cfg.backend)
    dataset = instantiate(cfg.dataset)
    refusals.unsound(dataset)
    sizes = {"num_features": dataset.num_features, "input_shape": dataset.shape}
    encoder = instantiate(cfg.encoder, **config.taken(cfg.encoder, **sizes))
    refusals.misfit(dataset, encoder, backend)
    torch.manual_seed(randomness.key(cfg.seed, 0, "weights"))
    network = instantiate(
        cfg.model,
        **_input_size(cfg.model, dataset, encoder),
        num_outputs=dataset.num_classes,
        dt=cfg.time.dt,
        backend=backend,
    )
    refusals.values(encoder, backend)
    refusals.delayed_values(encoder, network)
    refusals.unrecorded(cfg.trainer, backend)
    stated, groups = config.split(cfg, "optimizer", "groups")
    optimizer, schedule = instantiate(stated), instantiate(cfg.scheduler)
    with config.naming_keys():  # their values are checked by torch, which sees them only here
        batches, epochs = -(-len(dataset.splits["train"]) // cfg.batch_size), cfg.trainer.max_epochs
        parameters = _grouped(network, groups)
        record = schedule.configure(optimizer(parameters), steps=batches * epochs, epochs=epochs)
    if isinstance(record["scheduler"], ReduceLROnPlateau):
        refusals.unwatchable(cfg)
    decoder, loss = instantiate(cfg.decoder), instantiate(cfg.loss)
    for stage, part in (("decoder", decoder), ("loss", loss)):
        refusals.silent_readout(stage, part, network)
    refusals.untimed_scores(loss, decoder)
    refusals.endless_price(loss, cfg.time.dt * cfg.time.steps)
    refusals.nothing_learnt(loss, cfg.regularizer)
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
        num_features=dataset.num_features,
        num_classes=dataset.num_classes,
        seed=cfg.seed,
    )
    _prepare_regularizers(cfg, classifier, dataset, (checkpoint or {}).get("regularizers", {}))
    return dataset, classifier, backend.trainer_settings()


def build_trained(
    cfg: DictConfig, folder: str | Path
) -> tuple[MemoryDataset, Classifier, dict[str, Any]]:
    """The same, with the best weights of the run in `folder`; RunError if it has none that fit."""
    path = path_of(folder, BEST)
    best = checkpoints.load(path)
    dataset, classifier, settings = build(folders.with_kept_file(folder, cfg), best)
    checkpoints.load_weights(classifier, best, path)
    return dataset, classifier, settings


def _grouped(network: Network, groups: dict[str, Any]) -> Any:
    try:
        return grouped(network, groups)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _prepare_regularizers(
    cfg: DictConfig,
    classifier: Classifier,
    dataset: MemoryDataset,
    measured: Mapping[str, Mapping[str, Any]],
) -> None:
    """Some measure the network as training finds it, on the first batch of the first epoch.

    measured: by name, what they found when training began, of a run that is there already.
    """

    def untrained() -> Activity:
        _start_from(cfg, classifier)
        loader = dataset.loader("train", cfg.batch_size, seed=classifier.seed)
        buffers = list(classifier.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        activity = classifier.run(next(iter(loader))[0], "train", 0)[1]
        for buffer, kept in zip(buffers, before, strict=True):
            buffer.copy_(kept)  # a batch of training moves the averages of a normalization
        return activity

    for name, term in classifier.regularizers.items():
        if name in measured:
            term.restore(measured[name])
        try:
            term.prepare(untrained, classifier.network)
        except ValueError as error:
            raise ConfigError(f"regularizer.{name}.{error}") from error


def _start_from(cfg: DictConfig, classifier: Classifier) -> None:
    """The weights that training begins with: those of a run, if one is named."""
    if cfg.init_from is None:
        return
    refusals.no_start(cfg.init_from)
    path = path_of(cfg.init_from, BEST)
    try:
        checkpoints.load_weights(classifier, checkpoints.load(path), path)
    except RunError as error:
        raise RunError(f"init_from: {error}") from error


def _input_size(model: DictConfig, dataset: MemoryDataset, encoder: Any) -> dict[str, Any]:
    """Of the encoder's channels what the model takes: their number, or an image's shape."""
    is_image = dataset.shape is not None and encoder.num_channels == dataset.num_features
    shape = dataset.shape if is_image else (encoder.num_channels,)
    return config.taken(model, num_inputs=encoder.num_channels, input_shape=shape)


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

    Without an epoch of training the network is measured as it is at first.
    bar: whether a progress bar is shown, else a line an epoch is logged; None: on a terminal.

    Raises ConfigError before anything is built or written if the configuration cannot be run, and
    RunError if another process runs in the folder. An interruption is raised as KeyboardInterrupt.
    """
    stopwatch = Stopwatch()
    config.check(cfg)
    with folders.held(folder) if _is_first() else nullcontext():
        try:
            return _run(cfg, Path(folder), bar, stopwatch)
        except (Exception, SystemExit) as error:
            if (interrupted := interruption(error)) is not None:
                raise interrupted from error
            raise


def _is_first() -> bool:
    """Whether this is the first of several processes that are one run, or the only one."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _run(cfg: DictConfig, folder: Path, bar: bool | None, stopwatch: Stopwatch) -> Result:
    last = path_of(folder, LAST)
    resumed = checkpoints.load(last) if last.exists() else None
    known = cfg if resumed is None else folders.with_kept_file(folder, cfg)
    dataset, classifier, settings = build(known, resumed)
    refusals.no_batches(cfg, dataset, settings["devices"])
    data = Data(dataset, cfg.batch_size, cfg.eval_batch_size, cfg.seed)
    if resumed is not None:
        checkpoints.refuse_other_architecture(classifier, resumed, last)
        log.info("continuing after epoch %d of %s", resumed["epoch"] + 1, folder)
    else:
        _start_from(cfg, classifier)
        if _is_first():
            folders.keep_model_file(folder, cfg)
    set_up_torch()
    has_bar = sys.stdout.isatty() if bar is None else bar
    trainer = build_trainer(cfg, folder, settings, resumed, has_bar, stopwatch)
    if resumed is None:
        trainer.validate(classifier, data, verbose=False)
        refusals.unknown_metrics(cfg, classifier)
    stopwatch.begin_training()
    trainer.fit(classifier, data, ckpt_path=last if resumed else None, weights_only=True)
    if cfg.trainer.max_epochs == 0:
        for name in (BEST, LAST):
            trainer.save_checkpoint(path_of(folder, name))
    trainer.strategy.barrier()  # the first of several processes has written the checkpoints
    seconds = {"seconds/train": stopwatch.seconds("train")}
    best = checkpoints.load(path_of(folder, BEST))
    classifier.load_state_dict(best["state_dict"])
    metrics = score(trainer, classifier, data, test=cfg.test)
    last_epoch = trainer.current_epoch  # 0 without training
    metrics |= {"epoch/best": min(best["epoch"] + 1, last_epoch), "epoch/last": last_epoch}
    metrics["batches"] = trainer.global_step
    metrics |= classifier.network.backend.describe(cfg.time.dt * cfg.time.steps)
    metrics |= seconds | {"seconds/total": stopwatch.seconds("total")}
    summary = metrics | about(cfg.seed, trainer.strategy.root_device)  # which the model has left
    summary |= {} if dataset.source is None else {"dataset/source": dataset.source}
    if trainer.is_global_zero:
        _record_hyperparameters(trainer, cfg, metrics)
        write_summary(folder, summary)
    return Result(summary, folder, classifier)


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
    _, classifier, _ = build_trained(cfg, folder)
    return classifier.eval()
