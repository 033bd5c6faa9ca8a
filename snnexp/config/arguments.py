"""Faults of nodes: what their classes' constructors do not take, and what they need."""

import inspect
import typing
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from snnexp.checks import is_number
from snnexp.config.annotations import describe, fits
from snnexp.config.keys import suggest
from snnexp.config.nodes import allowed, canonical, locate

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

RESERVED = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")


def stage_faults(node: Any, key: str) -> Iterator[str]:
    """Faults of a stage, which is a node, and of every node below it."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        yield f"{key}: {node!r}; choose an option of this group, or give a _target_"
        return
    yield from faults_below(node, key)


def faults_below(value: Any, key: str) -> Iterator[str]:
    """Faults of every node below `value`."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield from _node_faults(value, key)
        for name, child in value.items():
            yield from faults_below(child, f"{key}.{name}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from faults_below(child, f"{key}[{index}]")


def _node_faults(node: Mapping[str, Any], key: str) -> Iterator[str]:
    target = node["_target_"]
    if not allowed(str(target)):
        yield (
            f"{key}._target_: {target!r} is not allowed; a package of your own is allowed by the "
            "environment, SNNEXP_ALLOW=my_package, never by a configuration"
        )
        return
    try:
        found = locate(str(target))
    except (ImportError, AttributeError) as error:
        yield f"{key}._target_: {target!r} cannot be found ({error})"
        return
    if not isinstance(found, type) or not allowed(canonical(found)):
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
    if not fits(value, hint):
        yield f"{key}: {value!r} is of the wrong type; it must be {describe(hint)}"
        return
    least = next((least for at, least in LEAST.items() if fnmatchcase(key, at)), None)
    if least is not None and is_number(value) and not value >= least:
        yield f"{key}: {value!r}; it must be {'above 0' if 0 < least < 1 else f'at least {least}'}"
