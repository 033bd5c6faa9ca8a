"""Faults of plain keys: time, sizes, epochs, the best one, objectives, reading the test split."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from snnexp.checks import is_number, is_whole
from snnexp.config.nodes import allowed, canonical, locate

LEAKY = "snnexp.callbacks.leaky.TestBestLeaky"
"""It reads the test split in training. By name: callbacks are imported only if one is chosen."""


def plain_faults(values: Mapping[str, Any]) -> Iterator[str]:
    """Faults of a configuration that show without any class's constructor."""
    time: Any = values.get("time")
    if isinstance(time, Mapping):
        dt: Any = time.get("dt")
        steps: Any = time.get("steps")
        if not is_number(dt) or not (math.isfinite(dt) and dt > 0):
            yield f"time.dt: {dt!r} s; it must be a finite number above 0"
        if not is_whole(steps) or steps < 1:
            yield f"time.steps: {steps!r}; it must be a whole number of at least 1"
    for key, least in (("batch_size", 1), ("eval_batch_size", 1), ("seed", 0)):
        if key in values and (not is_whole(values[key]) or values[key] < least):
            yield f"{key}: {values[key]!r}; it must be a whole number of at least {least}"
    if not isinstance(values.get("test"), bool) and "test" in values:
        yield f"test: {values['test']!r}; it must be true or false"
    start = values.get("init_from")
    if start is not None and not isinstance(start, str):
        yield f"init_from: {start!r}; it must be the folder of a run, or null"
    trainer = values.get("trainer")
    if isinstance(trainer, Mapping):
        yield from _trainer_faults(trainer)
    if "best" in values:
        yield from _best_faults(values["best"])
    yield from _objective_faults(values.get("objectives", []))
    yield from _leak_faults(values)
    yield from _unread_faults(values)


def _trainer_faults(trainer: Mapping[str, Any]) -> Iterator[str]:
    epochs: Any = trainer.get("max_epochs")
    if not is_whole(epochs) or epochs < 0:
        yield (
            f"trainer.max_epochs: {epochs!r}; it must be a whole number of at least 1, or 0 to "
            "measure the network as it is at first"
        )
    every: Any = trainer.get("check_val_every_n_epoch", 1)
    if is_whole(epochs) and is_whole(every) and every > max(epochs, 1):
        yield (
            f"trainer.check_val_every_n_epoch: {every!r}; it must be at most trainer.max_epochs = "
            f"{epochs!r}, since validation chooses the best epoch"
        )
    for stage in ("train", "val", "test"):
        limit = trainer.get(f"limit_{stage}_batches", 1.0)
        if not is_number(limit) or limit <= 0:
            yield f"trainer.limit_{stage}_batches: {limit!r}; it must be a number above 0"


def _best_faults(best: Any) -> Iterator[str]:
    if not isinstance(best, Mapping):
        yield f"best: {best!r}; give metric and mode"
        return
    metric = str(best.get("metric", ""))
    if metric != "epoch/trained" and not metric.startswith("val/"):
        yield (
            f"best.metric: {best.get('metric')!r}; a model is selected by a metric under val/, or "
            "is the last one with epoch/trained"
        )
    if best.get("mode") not in ("max", "min"):
        yield f"best.mode: {best.get('mode')!r}; choose max or min"


def _leak_faults(values: Mapping[str, Any]) -> Iterator[str]:
    callbacks: Any = values.get("callback")
    if values.get("test") is not False or not isinstance(callbacks, Mapping):
        return
    for name, node in callbacks.items():
        if isinstance(node, Mapping) and _origin(str(node.get("_target_"))) == LEAKY:
            yield (
                f"callback.{name}: it reads the test split after every epoch, which test: false "
                "leaves unread; leave the callback out, or set test=true"
            )


def _origin(target: str) -> str | None:
    """Where a target was defined; None where it may not be named or is not there: others say so."""
    if not allowed(target):
        return None
    try:
        return canonical(locate(target))
    except (ImportError, AttributeError):
        return None


def _unread_faults(values: Mapping[str, Any]) -> Iterator[str]:
    """Of metrics of the test split, which is read after training, or not at all."""
    objectives, callbacks = values.get("objectives"), values.get("callback")
    for index, objective in enumerate(objectives if isinstance(objectives, list) else ()):
        name = str(objective.get("name")) if isinstance(objective, Mapping) else ""
        if name.startswith("test/") and values.get("test") is False:
            yield (
                f"objectives[{index}].name: {name!r}, but test: false leaves the test split "
                f"unread; choose {_in_validation(name)!r}, or set test=true"
            )
    nodes = {"scheduler": values.get("scheduler")}
    if isinstance(callbacks, Mapping):
        nodes |= {f"callback.{name}": node for name, node in callbacks.items()}
    for key, node in nodes.items():
        name = str(node.get("monitor")) if isinstance(node, Mapping) else ""
        if name.startswith("test/"):
            yield (
                f"{key}.monitor: {name!r}, but the test split is read once, after training; "
                f"choose {_in_validation(name)!r}"
            )


def _in_validation(name: str) -> str:
    return name.replace("test/", "val/", 1)


def _objective_faults(objectives: Any) -> Iterator[str]:
    if not isinstance(objectives, list) or not objectives:
        yield f"objectives: {objectives!r}; give a list of at least one name and direction"
        return
    for index, objective in enumerate(objectives):
        if not isinstance(objective, Mapping) or set(objective) != {"name", "direction"}:
            yield f"objectives[{index}]: {objective!r}; give name and direction"
        elif not isinstance(objective["name"], str):
            yield f"objectives[{index}].name: {objective['name']!r}; it must be a metric's name"
        elif objective["direction"] not in ("maximize", "minimize"):
            yield (
                f"objectives[{index}].direction: {objective['direction']!r}; "
                "choose maximize or minimize"
            )
