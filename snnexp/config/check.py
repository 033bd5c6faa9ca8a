"""All faults of a composed configuration in one message, before anything is built."""

import difflib
import importlib
import inspect
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnexp.config.nodes import allowed
from snnexp.errors import ConfigError

STAGES = (
    *("dataset", "encoder", "model", "backend", "decoder", "loss"),
    *("optimizer", "scheduler", "trainer"),
)
"""The stages that are one node each."""

NAMED = ("regularizer", "callback", "logger", "energy")
"""The stages of several nodes, by name."""

GIVEN = {
    "encoder": ("num_features", "input_shape"),
    "encoder.of": ("num_features",),
    "model": ("num_inputs", "input_shape", "num_outputs", "dt", "backend"),
    "model.hidden.*.*": ("input_shape",),
    "model.deep_neuron": ("size", "dt"),
    "model.neuron": ("size", "dt", "source"),
    "model.readout": ("size", "dt"),
    "model.synapse": ("input_shape", "num_outputs", "dt"),
    "optimizer": ("params",),
    "logger.*": ("save_dir",),
    "trainer": (
        *("accelerator", "precision", "devices", "default_root_dir", "logger", "callbacks"),
        *("plugins", "enable_progress_bar", "enable_model_summary", "num_sanity_val_steps"),
        *("log_every_n_steps", "use_distributed_sampler", "reload_dataloaders_every_n_epochs"),
        *("max_steps", "max_time", "fast_dev_run", "overfit_batches", "num_nodes"),
    ),
}
"""Arguments of nodes, by key, that the code hands over and a configuration cannot set."""

ELSEWHERE = {
    "trainer.accelerator": "backend=cpu or backend=gpu",
    "trainer.precision": "backend.precision",
    "trainer.devices": "backend.devices",
    "trainer.num_nodes": "backend.devices, on one machine",
    "trainer.logger": "logger=[...]",
    "trainer.callbacks": "callback=[...]",
    "trainer.max_steps": "trainer.max_epochs",
    "trainer.fast_dev_run": "trainer.limit_train_batches, limit_val_batches, limit_test_batches",
    "trainer.overfit_batches": "trainer.limit_train_batches",
}
"""What a configuration has in place of some of these."""

KINDS = ("weights", "recurrent", "delays", "time_constants", "neurons", "norm")
"""What of a network may have settings of its own in `optimizer.groups`."""

LEAST = {
    "optimizer.lr": 1e-12,
    "optimizer.weight_decay": 0,
    "optimizer.momentum": 0,
    "optimizer.groups.*.lr": 0,
    "optimizer.groups.*.weight_decay": 0,
    "optimizer.groups.*.momentum": 0,
    "scheduler.schedule.step_size": 1,
    "scheduler.schedule.gamma": 1e-12,
    "scheduler.schedule.patience": 0,
    "callback.*.patience": 0,
    "trainer.gradient_clip_val": 1e-12,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.accumulate_grad_batches": 1,
}
"""The least values of third parties' numbers that these do not check well themselves."""

PLAIN = (
    *("seed", "time", "batch_size", "eval_batch_size", "best", "objectives", "test"),
    "init_from",
)
"""The keys that are no stages."""

TIMES = ("dt", "steps", "early", "late", "bias")
"""Times that data sets and encoders share; besides these there may be what some node refers to."""

OPTIONAL = ("reference",)
"""What an experiment may add: the published value that `scripts/reproduce.py` checks."""

RESERVED = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")


def check(cfg: DictConfig) -> None:
    """Raise ConfigError with all faults of a composed configuration in one message."""
    faults = list(_faults(cfg))
    if faults:
        raise ConfigError("\n".join(faults))


def _faults(cfg: DictConfig) -> Iterator[str]:
    known = [*STAGES, *NAMED, *PLAIN]
    for key in cfg:
        if key not in known and key not in OPTIONAL:
            yield f"{key}: unknown key{suggest(str(key), known)}"
    for key in known:
        if key not in cfg:
            yield f"{key}: missing"
    try:
        values: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        yield f"{getattr(error, 'full_key', '') or 'configuration'}: {str(error).splitlines()[0]}"
        return
    read = re.findall(r"\$\{time\.(\w+)", OmegaConf.to_yaml(cfg))
    for key, names in (("time", {*TIMES, *read}), ("best", {"metric", "mode"})):
        for name in values[key] if isinstance(values.get(key), Mapping) else ():
            if name not in names:
                yield f"{key}.{name}: unknown key{suggest(name, sorted(names))}"
    yield from _plain_faults(values)
    for key, value in values.items():
        if key in STAGES:
            yield from _stage_faults(value, key)
        elif key in NAMED and isinstance(value, Mapping):
            for name, node in value.items():
                yield from _stage_faults(node, f"{key}.{name}")
        else:
            yield from _walk(value, str(key))


def _plain_faults(values: Mapping[str, Any]) -> Iterator[str]:
    time: Any = values.get("time")
    if isinstance(time, Mapping):
        dt: Any = time.get("dt")
        steps: Any = time.get("steps")
        if not _is_number(dt) or not (math.isfinite(dt) and dt > 0):
            yield f"time.dt: {dt!r} s; it must be a finite number above 0"
        if not _is_whole(steps) or steps < 1:
            yield f"time.steps: {steps!r}; it must be a whole number of at least 1"
    for key, least in (("batch_size", 1), ("eval_batch_size", 1), ("seed", 0)):
        if key in values and (not _is_whole(values[key]) or values[key] < least):
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
    if not _is_whole(epochs) or epochs < 0:
        yield (
            f"trainer.max_epochs: {epochs!r}; it must be a whole number of at least 1, or 0 to "
            "measure the network as it is at first"
        )
    every: Any = trainer.get("check_val_every_n_epoch", 1)
    if _is_whole(epochs) and _is_whole(every) and every > max(epochs, 1):
        yield (
            f"trainer.check_val_every_n_epoch: {every!r}; it must be at most trainer.max_epochs = "
            f"{epochs!r}, since validation chooses the best epoch"
        )
    for stage in ("train", "val", "test"):
        limit = trainer.get(f"limit_{stage}_batches", 1.0)
        if not _is_number(limit) or limit <= 0:
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
    for name, node in callbacks.items() if isinstance(callbacks, Mapping) else ():
        target = node.get("_target_") if isinstance(node, Mapping) else None
        if target == "snnexp.callbacks.TestBestLeaky" and values.get("test") is False:
            yield (
                f"callback.{name}: it reads the test split after every epoch, which test: false "
                "leaves unread; leave the callback out, or set test=true"
            )


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


def _stage_faults(node: Any, key: str) -> Iterator[str]:
    if not isinstance(node, Mapping) or "_target_" not in node:
        yield f"{key}: {node!r}; choose an option of this group, or give a _target_"
        return
    yield from _walk(node, key)


def _walk(value: Any, key: str) -> Iterator[str]:
    """Faults of every node below `value`."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield from _node_faults(value, key)
        for name, child in value.items():
            yield from _walk(child, f"{key}.{name}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _walk(child, f"{key}[{index}]")


def _node_faults(node: Mapping[str, Any], key: str) -> Iterator[str]:
    target = node["_target_"]
    if not allowed(str(target)):
        yield (
            f"{key}._target_: {target!r} is not allowed; a package of your own is allowed by the "
            "environment, SNNEXP_ALLOW=my_package, never by a configuration"
        )
        return
    try:
        found = _locate(str(target))
    except (ImportError, AttributeError) as error:
        yield f"{key}._target_: {target!r} cannot be found ({error})"
        return
    canonical = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if not isinstance(found, type) or not allowed(canonical):
        yield f"{key}._target_: {target!r} is not a class that configurations may name"
        return
    yield from _argument_faults(found, node, key)


def _argument_faults(found: type, node: Mapping[str, Any], key: str) -> Iterator[str]:
    given = next((names for at, names in GIVEN.items() if fnmatchcase(key, at)), None)
    parameters = dict(inspect.signature(found).parameters)
    keywords = [p for p in parameters.values() if p.kind is not p.VAR_KEYWORD]
    names = [p.name for p in keywords if p.name not in (given or ())]
    open_ended = len(keywords) < len(parameters)
    try:
        hints = typing.get_type_hints(found.__init__)
    except Exception:  # a third party's annotations need not resolve
        hints = {}
    for name, value in node.items():
        if name in RESERVED:
            continue
        if (key, name) == ("optimizer", "groups"):
            yield from _group_faults(value, node, hints)
        elif name not in names and not open_ended:
            place = ELSEWHERE.get(f"{key}.{name}")
            way = suggest(name, names) if place is None else f"; it is set by {place}"
            yield f"{key}.{name}: unknown key{way}"
        else:
            yield from _value_faults(f"{key}.{name}", value, hints.get(name, Any))
    if node.get("_partial_") and given is None:
        return  # whoever calls the factory may add any
    for parameter in keywords:
        required = parameter.default is parameter.empty and parameter.kind is not (
            parameter.VAR_POSITIONAL
        )
        if required and parameter.name not in node and parameter.name not in (given or ()):
            yield f"{key}.{parameter.name}: missing"


def _group_faults(
    groups: Any, optimizer: Mapping[str, Any], hints: Mapping[str, Any]
) -> Iterator[str]:
    """Faults of `optimizer.groups`: of a kind of parameters what the optimizer states, anew."""
    if not isinstance(groups, Mapping):
        yield f"optimizer.groups: {groups!r}; give settings by kind, as {{delays: {{lr: 0.1}}}}"
        return
    settings = [n for n, v in optimizer.items() if n[0] != "_" and not isinstance(v, bool)]
    settings.remove("groups")
    for kind, own in groups.items():
        key = f"optimizer.groups.{kind}"
        if kind not in KINDS:
            yield f"{key}: unknown kind of parameters{suggest(str(kind), KINDS)}"
        elif not isinstance(own, Mapping) or not own:
            yield f"{key}: {own!r}; give what differs from the optimizer's, such as {{lr: 0.1}}"
        else:
            for name, value in own.items():
                if name not in settings:
                    yield f"{key}.{name}: unknown key{suggest(str(name), settings)}"
                else:
                    yield from _value_faults(f"{key}.{name}", value, hints.get(name, Any))


def _value_faults(key: str, value: Any, hint: Any) -> Iterator[str]:
    """That a value does not suit its annotation, or is below what `LEAST` says of its key."""
    if not _fits(value, hint):
        yield f"{key}: {value!r} is of the wrong type; it must be {_describe(hint)}"
        return
    least = next((least for at, least in LEAST.items() if fnmatchcase(key, at)), None)
    if least is not None and _is_number(value) and not value >= least:
        yield f"{key}: {value!r}; it must be {'above 0' if 0 < least < 1 else f'at least {least}'}"


def taken(node: Mapping[str, Any], **offered: Any) -> dict[str, Any]:
    """Those of the offered arguments that the class of a checked node takes."""
    known = inspect.signature(_locate(node["_target_"])).parameters
    return {name: value for name, value in offered.items() if name in known}


def _locate(target: str) -> Any:
    """Import the longest module prefix of a dotted path, then follow its attributes."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        return found
    raise ImportError(f"no module named {parts[0]!r}")


def suggest(name: str, names: Sequence[str]) -> str:
    """What a message about an unknown name adds: the one that was meant, or all known ones."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(sorted(names))}" if names else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value suits an annotation; what cannot be judged passes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (isinstance(value, Mapping) and "_target_" in value):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if hint is float:
        return _is_number(value)
    if hint is int:
        return _is_whole(value)
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list) or (_length(hint) not in (None, len(value))):
            return False
        return not arguments or all(_fits(item, arguments[0]) for item in value)
    if origin in (dict, Mapping):
        entries = isinstance(value, Mapping)
        return entries and (not arguments or all(_fits(v, arguments[1]) for v in value.values()))
    return not isinstance(hint, type) or isinstance(value, hint)


def _length(hint: Any) -> int | None:
    """Of a tuple with an annotation for each entry."""
    arguments = typing.get_args(hint)
    fixed = typing.get_origin(hint) is tuple and arguments and ... not in arguments
    return len(arguments) if fixed else None


def _describe(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if hint in names:
        return names[hint]
    if hint is type(None):
        return "null"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(option) for option in arguments)
    if origin in (list, tuple, Sequence):
        kind = "a list" if _length(hint) is None else f"a list of {_length(hint)}"
        return f"{kind}, each entry {_describe(arguments[0])}" if arguments else kind
    if origin in (dict, Mapping):
        return f"a mapping to {_describe(arguments[1])}" if arguments else "a mapping"
    return "a node with a _target_"
