"""A whole sweep: checks what is asked, runs the workers, reports."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnexp.complaints import explain
from snnexp.config import check, flatten
from snnexp.errors import ConfigError, RunError, UserError
from snnexp.sweeper import commands, processes, space, storages
from snnexp.sweeper.options import GRID, Options
from snnexp.sweeper.space import as_override
from snnexp.sweeper.study import Objective, Study
from snnexp.sweeper.worker import Jobs, Worker

NO_TEST = "test=false"  # the test split is read by a command of its own


def run(
    context: HydraContext,
    task: Callable[[Any], Any],
    config: DictConfig,
    arguments: list[str],
    given: Mapping[str, Any],
) -> None:
    """Search as Hydra's configuration says; at its end, whatever it is, the report is written.

    Raises ConfigError or RunError before anything runs for what cannot be searched, and RunError
    where too many trials fail.
    """
    options = Options(**given)
    objectives = [Objective(**node) for node in OmegaConf.to_container(config.objectives)]  # type: ignore
    options.check(objectives)
    loader = context.config_loader
    parameters, shared = space.read(options.params, arguments, options.conditions, loader)
    if not parameters:
        raise ConfigError(
            "hydra.sweeper.params: there is nothing to search; give keys and what they may be, "
            "such as optimizer.lr=tag(log,interval(1e-4,1e-2))"
        )
    points = list(space.grid(parameters, config)) if options.sampler == GRID else []
    jobs = Jobs(context, task, config, [*shared, NO_TEST, *_prune_callback(options, objectives)])
    words: list[str] = []
    if not processes.is_worker():
        _check_first(jobs, parameters)
        words = commands.base_words(config, shared)
    study = Study(
        Path(config.hydra.sweep.dir),
        str(options.study),
        options.storage,
        objectives,
        _definition(config, parameters, options, objectives),
        options.retries,
    )
    study.optuna.pruner = options.make_pruner()
    study.enqueue(points)
    worker = Worker(study, jobs, parameters, options)
    if processes.is_worker():
        _run_quietly(worker)
        return
    _describe(study, options, words)
    try:
        with storages.naming_storage(options.storage):
            processes.run(worker.run, options.workers)
    except KeyboardInterrupt as error:
        raise RunError("interrupted; nothing is lost, the same command goes on") from error
    finally:
        _report(study, options.figures)


def _run_quietly(worker: Worker) -> None:
    """A worker that is interrupted leaves the message to the process that began it."""
    try:
        with storages.naming_storage(worker.options.storage):
            worker.run()
    except KeyboardInterrupt:
        sys.exit(1)


def _prune_callback(options: Options, objectives: list[Objective]) -> list[str]:
    if options.pruner is None:
        return []
    node = f"{{_target_: snnexp.callbacks.Prune, monitor: {objectives[0].name}}}"
    return [f"+callback.prune={node}"]


def _check_first(jobs: Jobs, parameters: list[space.Parameter]) -> None:
    """A key that is none, or a value that no run takes, is seen before the first trial."""
    points = space.tried(parameters, jobs.base)
    composed = [_compose(jobs, point, fixed) for fixed, point in points]
    first = composed[0]
    check(OmegaConf.masked_copy(first, [str(key) for key in first if key != "hydra"]))


def _compose(
    jobs: Jobs, values: Mapping[str, space.Value], fixed: Mapping[str, space.Value]
) -> DictConfig:
    """A trial's configuration; ConfigError where there is none with what is `fixed`."""
    words = [as_override(key, value) for key, value in values.items()]
    try:
        return jobs.compose(words)
    except (HydraException, OmegaConfBaseException) as error:
        text = explain(error, words)
        key = text.partition(":")[0]
        if fixed and key in values and key not in fixed:
            which = " ".join(as_override(*pair) for pair in fixed.items())
            text += (
                f"; this is with {which}: search a key that not every choice has under a condition,"
                f" +hydra.sweeper.conditions={{{key}: {{when: EXPRESSION}}}}"
            )
        raise ConfigError(f"hydra.sweeper.params: {text}") from error


def _definition(
    config: DictConfig,
    parameters: list[space.Parameter],
    options: Options,
    objectives: list[Objective],
) -> dict[str, Any]:
    """What trials must share to be compared: the search space and all that is not searched."""
    rest = OmegaConf.masked_copy(
        config, [str(k) for k in config if k not in ("hydra", "objectives")]
    )
    return {
        "objectives": [f"{o.direction} {o.name}" for o in objectives],
        "params": {p.key: p.text for p in parameters},
        "conditions": dict(options.conditions),
        "prune_if": options.prune_if,
        "seeds": None if options.seeds is None else list(options.seeds),
        "is_grid": options.sampler == GRID,
        **flatten(rest),
    }


def _describe(study: Study, options: Options, words: list[str]) -> None:
    """What the report needs beside the trials."""
    facts = {
        "command": words,
        "reference_point": None if not options.reference_point else list(options.reference_point),
        "sampler": options.sampler,
        "n_trials": options.n_trials,
    }
    for key, value in facts.items():
        if study.optuna.user_attrs.get(key) != value:
            study.optuna.set_user_attr(key, value)


def _report(study: Study, figures: bool) -> None:
    if not any(trial.state.is_finished() for trial in study.trials()):
        return
    from snnexp.sweeper import report

    try:
        report.write(study.optuna, study.folder, figures=figures)
    except UserError as error:
        print(f"no report: {error}", file=sys.stderr)
