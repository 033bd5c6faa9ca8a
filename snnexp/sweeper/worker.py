"""One process of a sweep: takes trials, runs them through Hydra, tells how they ended."""

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from hydra.core.utils import run_job
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from optuna.trial import FrozenTrial, Trial, TrialState

from snnexp.errors import RunError, UserError, interruption
from snnexp.folders import SUMMARY
from snnexp.sweeper import processes, pruning, terminal
from snnexp.sweeper.expressions import evaluate
from snnexp.sweeper.options import GRID, Options, stop_rule
from snnexp.sweeper.space import Parameter, Value, as_override, look_up, suggest
from snnexp.sweeper.study import Held, Study


@dataclass(frozen=True)
class Jobs:
    """Runs the task of a trial: composes its configuration and calls what Hydra calls."""

    context: HydraContext
    task: Callable[[Any], Any]
    base: DictConfig
    shared: Sequence[str]

    def compose(self, words: Sequence[str]) -> DictConfig:
        """The configuration of a trial with these overrides."""
        return self.context.config_loader.load_sweep_config(self.base, [*self.shared, *words])

    def run(self, config: DictConfig, number: int, subfolder: str) -> Any:
        """What the task returns; its exception is raised. The console is left to the sweep."""
        with open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, str(number)
            config.hydra.sweep.subdir = subfolder
            handlers = config.hydra.job_logging.get("root", {}).get("handlers")
            if handlers:
                config.hydra.job_logging.root.handlers = [h for h in handlers if h != "console"]
        returned = run_job(
            hydra_context=self.context,
            task_function=self.task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return returned.return_value


@dataclass
class Ending:
    """How a trial ended; `attributes` are kept with it, each seed's objectives among them."""

    state: TrialState
    reason: str = ""
    values: list[float] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


class Worker:
    """Runs trials of `study` until no more is wanted; raises RunError where too many failed."""

    def __init__(self, study: Study, jobs: Jobs, parameters: list[Parameter], options: Options):
        self.study, self.jobs = study, jobs
        self.parameters, self.options = parameters, options
        self.must_stop = stop_rule(options, study.trials())

    def run(self) -> None:
        """Take trials and run them, one after another."""
        while (held := self._next()) is not None:
            started = time.perf_counter()
            try:
                ending = self._run_trial(held)
            except KeyboardInterrupt:
                self.study.give_back(held)
                raise
            if held.attempts > 1 and ending.state == TrialState.COMPLETE:
                ending.reason = f"begun again after {held.attempts - 1} kill(s)"
            seconds = time.perf_counter() - started
            known = ending.attributes | {"seconds": round(seconds, 3)}
            self.study.tell(held, ending.state, ending.values, ending.reason, known)
            trials = self.study.trials()
            terminal.print_trial(trials[held.number], trials, self.study.objectives, self._total())
            if why := self.must_stop(trials):
                raise RunError(f"the sweep stops: {why}")

    def _total(self) -> int:
        trials = self.study.trials()
        return len(trials) if self.options.sampler == GRID else self.options.n_trials

    def _next(self) -> Held | None:
        if processes.is_orphan():
            raise RunError("the process that began this worker is gone")
        return self.study.next(
            self._wanted, self._suggest, self.options.make_sampler, self.options.sampler == GRID
        )

    def _wanted(self, trials: list[FrozenTrial]) -> bool:
        if why := self.must_stop(trials):
            raise RunError(f"the sweep stops: {why}")
        ended = (TrialState.PRUNED, TrialState.FAIL)
        return sum(trial.state not in ended for trial in trials) < self.options.n_trials

    def _suggest(self, trial: Trial) -> dict[str, Value]:
        return suggest(self.parameters, trial, self.jobs.base)

    def _run_trial(self, held: Held) -> Ending:
        try:
            with pruning.reporting(held.trial):
                return self._objectives(held)
        except optuna.TrialPruned as pruned:
            return Ending(TrialState.PRUNED, str(pruned))
        except (Exception, SystemExit) as error:  # a trial's own failure must not end the sweep
            if (interrupted := interruption(error)) is not None:
                raise interrupted from error
            return Ending(TrialState.FAIL, _told(error))

    def _objectives(self, held: Held) -> Ending:
        words = [as_override(key, value) for key, value in held.values.items()]
        seeds = self.options.seeds
        results: dict[str, list[float]] = {}
        totals = {"seconds_train": 0.0, "epochs": 0, "batches": 0}
        for seed in [None] if seeds is None else seeds:
            config = self.jobs.compose(words if seed is None else [*words, f"seed={seed}"])
            self._refuse_costly(config)
            subfolder = f"{held.number}" if seed is None else f"{held.number}/seed_{seed}"
            values = _as_list(self.jobs.run(config, held.number, subfolder))
            if fault := self._fault(values):
                return Ending(TrialState.FAIL, fault if seed is None else f"seed {seed}: {fault}")
            results[str(config.seed if seed is None else seed)] = values
            _add_totals(totals, self.study.folder / subfolder / SUMMARY)
        means = [statistics.fmean(column) for column in zip(*results.values(), strict=True)]
        known = {name: value for name, value in totals.items() if value}
        return Ending(TrialState.COMPLETE, "", means, {"by_seed": results, **known})

    def _refuse_costly(self, config: DictConfig) -> None:
        rule = self.options.prune_if
        if rule and evaluate(rule, lambda key: look_up(key, {}, config)):
            raise optuna.TrialPruned(f"before the run: {rule}")

    def _fault(self, values: list[Any]) -> str | None:
        objectives = self.study.objectives
        if len(values) != len(objectives):
            return f"{len(values)} values were returned for {len(objectives)} objectives"
        for objective, value in zip(objectives, values, strict=True):
            if value is None:
                return f"{objective.name} is missing"
            if not isinstance(value, int | float) or not math.isfinite(value):
                return f"{objective.name} is {value}"
        return None


def _as_list(returned: Any) -> list[Any]:
    return list(returned) if isinstance(returned, list | tuple) else [returned]


def _told(error: BaseException) -> str:
    text = str(error).strip()
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def _add_totals(totals: dict[str, Any], summary: Path) -> None:
    """Add what a run's summary says of its cost."""
    if summary.exists():
        found = json.loads(summary.read_text())
        names = {"seconds_train": "seconds/train", "epochs": "epoch/last", "batches": "batches"}
        for name, key in names.items():
            totals[name] += found.get(key, 0)
