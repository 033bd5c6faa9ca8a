"""The command line: `train.py`, the console script `snnexp-train`, and their `--help`.

Torch is imported only once a run begins, so that `--help` and faults in a configuration are quick.
"""

import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnexp import allocator, complaints, config, console, folders
from snnexp.config import check
from snnexp.errors import ConfigError, RunError, UserError
from snnexp.sweeper import plugin

if TYPE_CHECKING:
    from snnexp.experiment import Result

log = logging.getLogger(__name__)
FIRST = "SNNEXP_FIRST_PROCESS"
"""The variable that tells the other processes of a run the first one's number."""


class Folders(Callback):
    """Refuses a run's folder that is taken, before Hydra writes into it."""

    sweep: Path | None = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        HydraConfig.instance().set_config(config)  # the folder's name refers to it
        cfg = _without_hydra(config)
        _or_exit(lambda: _refuse_lone_sweep(config))
        _or_exit(lambda: check(cfg))
        _or_exit(lambda: folders.claim(config.hydra.run.dir, cfg))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        HydraConfig.instance().set_config(config)
        if plugin.is_search(config):
            return  # a study goes on in its folder
        folder = Path(config.hydra.sweep.dir)
        _or_exit(lambda: _refuse_taken_sweep(folder))
        Folders.sweep = folder


def _without_hydra(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def _refuse_lone_sweep(config: DictConfig) -> None:
    sweep = config.hydra.runtime.choices.get("sweep")
    if sweep is not None:
        raise ConfigError(
            f"sweep={sweep}: a sweep is many runs; begin it with -m, as in "
            f"python train.py -m sweep={sweep}"
        )


def _refuse_taken_sweep(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder}: the folder exists; choose another with hydra.sweep.dir")


def _or_exit(action: Callable[[], None]) -> None:
    """SystemExit with the message: Hydra turns any other exception in a callback into a warning."""
    try:
        action()
    except UserError as error:
        raise SystemExit(f"error: {error}") from error


def main() -> None:
    """Run what the command line asks for; the last line printed is the message if that fails."""
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        print(console.help_text(arguments))
        return
    if sys.stdout is None:  # closed by whoever began this process
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    if not _is_follower():
        os.environ[FIRST] = str(os.getpid())
    signal.signal(signal.SIGTERM, _interrupt)
    chosen = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra leaves its errors to us
    try:
        complaints.refuse_null(arguments)
        resumed = next((text for text in arguments if text.startswith("resume=")), None)
        if resumed is not None:
            arguments.remove(resumed)
            _resume(resumed.removeprefix("resume="), arguments)
        else:
            _train_by_hydra()
    except KeyboardInterrupt as error:
        raise SystemExit("error: interrupted before the run began") from error
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if chosen == "1":
            raise
        known = isinstance(error, UserError)
        sys.exit(f"error: {error if known else complaints.explain(error, arguments)}")
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if chosen is not None:
            os.environ["HYDRA_FULL_ERROR"] = chosen
        if Folders.sweep is not None:
            _report_sweep(Folders.sweep)


def _interrupt(number: int, _: Any) -> None:
    """Of several processes the first ends the others; these tell it, and it is told once."""
    if _is_child_of_first():
        os.kill(os.getppid(), number)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


def _is_follower() -> bool:
    """Whether this is one of several processes of a run, and not the first."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _is_child_of_first() -> bool:
    """Whether the first of a run's processes began this one; torchrun begins them all itself."""
    return _is_follower() and os.environ.get(FIRST) == str(os.getppid())


def _train_by_hydra() -> None:
    plugin.register()
    decorate = hydra.main(
        config_path=str(config.directory()),
        config_name="train",
        execution_whitelist=config.whitelist(),
    )
    decorate(_task)()


def _task(cfg: DictConfig) -> Any:
    if HydraConfig.get().job.env_set:
        raise ConfigError(
            "hydra.job.env_set: a configuration may not set the environment, which decides what "
            "code may run; set variables in the shell"
        )
    check(cfg)
    from snnexp import experiment

    _set_allocator(cfg)
    console.quieten_lightning()
    folder = Path(HydraConfig.get().runtime.output_dir)
    hydra_config = cast(DictConfig, HydraConfig.instance().cfg)
    if hydra_config.hydra.mode == RunMode.MULTIRUN:
        _refuse_processes(cfg)
    if hydra_config.hydra.mode == RunMode.MULTIRUN and plugin.is_search(hydra_config):
        return _trial(cfg, folder)
    folders.claim(folder, cfg)  # an experiment may have dropped the callback
    result = _guarded(folder, lambda: experiment.run(cfg, folder))
    wanted = OmegaConf.to_container(cfg.objectives)
    return result.objectives(wanted)  # type: ignore[arg-type]


def _refuse_processes(cfg: DictConfig) -> None:
    """Lightning begins its other processes with the same command: each would be the multirun."""
    strategy = OmegaConf.select(cfg, "trainer.strategy")
    devices = OmegaConf.select(cfg, "backend.devices")
    if strategy not in (None, "auto") or devices not in (None, 1):
        raise ConfigError(
            f"trainer.strategy: {strategy!r} with backend.devices: {devices!r}; a run of several "
            "processes cannot be part of a multirun, which each of them would begin anew; start "
            "it by itself, or give the multirun's runs one device each"
        )


def _trial(cfg: DictConfig, folder: Path) -> list[float]:
    """The objectives of a sweep's trial; one that had ended before its worker died is read."""
    from snnexp import experiment

    metrics = folders.summary(folder)
    if metrics is None:
        folders.claim(folder, cfg)
        metrics = experiment.run(cfg, folder, bar=False).metrics
    return [metrics[objective.name] for objective in cfg.objectives]


def _set_allocator(cfg: DictConfig) -> None:
    if OmegaConf.select(cfg, "backend.checkpoint_every") is None:
        allocator.keep_memory()
    else:
        allocator.return_memory()


def _resume(folder: str, rest: list[str]) -> None:
    if rest:
        raise RunError(
            f"resume={folder}: a run is continued as it was configured, without {' '.join(rest)}; "
            f"to start a new run from its weights, use init_from={folder}"
        )
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    from snnexp import session

    _set_allocator(folders.saved_config(folder))
    console.quieten_lightning()
    _guarded(Path(folder), lambda: session.resume(folder))


def _guarded(folder: Path, action: Callable[[], "Result"]) -> "Result":
    """Run `action`; print its results, or how to go on after an interruption."""
    try:
        result = action()
    except KeyboardInterrupt as error:
        if _is_follower():  # the first says it, whom Lightning kills at once if a child fails
            raise SystemExit(0 if _is_child_of_first() else 1) from error
        last = folder / "checkpoints" / "last.ckpt"
        way = f"python train.py {shlex.quote(f'resume={shown(folder)}')}"
        kept = "the last finished epoch is kept" if last.exists() else "no epoch was finished"
        raise SystemExit(f"error: interrupted; {kept}; continue with {way}") from error
    except OSError as error:
        if error.errno in folders.UNWRITABLE:
            raise folders.unwritable(folder, error) from error
        raise
    if _is_follower():
        return result  # the first of several processes prints
    console.print_metrics(result.metrics)
    print(f"saved in {shown(folder)}\ntensorboard --logdir {shlex.quote(str(shown(folder)))}")
    return result


def shown(folder: Path) -> Path:
    """A folder as a user would type it: relative to where they are, if it lies below."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _report_sweep(folder: Path) -> None:
    """A table of a multirun's finished jobs, and what became of the others."""
    from snnexp import results

    try:
        runs, incomplete = results.find_runs([folder])
    except RunError as error:
        print(error)
        return
    if runs:
        table = results.table(results.describe_groups(runs), results.METRICS)
        results.console().print(table)
    for unfinished in incomplete:
        print(f"incomplete: {shown(unfinished.resolve())}")
    print(f"multirun in {shown(folder.resolve())}")
