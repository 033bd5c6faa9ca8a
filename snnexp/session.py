"""Runs from Python and continued runs: what `train.py` does, without Hydra's command line."""

import logging
import sys
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnexp import config, console, folders
from snnexp.complaints import explain, refuse_flags, refuse_null
from snnexp.errors import ConfigError, RunError
from snnexp.experiment import Result
from snnexp.experiment import run as run_experiment


def compose(overrides: list[str], with_hydra: bool = False) -> DictConfig:
    """The composed configuration, as `train.py` gets it with these overrides.

    with_hydra: with its node `hydra`, too, which notes the options that were chosen.
    """
    import hydra
    from hydra.errors import HydraException

    refuse_flags(overrides, "name the folder by hydra.searchpath=[file:///FOLDER]")
    refuse_null(overrides)
    try:
        with hydra.initialize_config_dir(config_dir=str(config.directory())):
            return hydra.compose("train", overrides=overrides, return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, overrides)) from error


def runtime(folder: str | Path) -> DictConfig:
    """What options a run chose, and where they lie: as Hydra noted, or of its overrides again.

    Raises RunError where the run's folder has neither.
    """
    noted, typed = (Path(folder) / ".hydra" / name for name in ("hydra.yaml", "overrides.yaml"))
    if noted.is_file():
        return OmegaConf.load(noted).hydra.runtime
    if not typed.is_file():
        raise RunError(
            f"{folder}: the run has no .hydra/overrides.yaml, which says what options it chose; "
            "set keys instead of choosing options"
        )
    composed = compose([str(text) for text in OmegaConf.load(typed)], with_hydra=True)
    return composed.hydra.runtime


def run_composed(overrides: list[str], folder: str | Path | None) -> Result:
    """See `snnexp.run`."""
    console.quieten_lightning()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    _refuse_of_command_line(overrides)
    cfg = compose(overrides)
    if folder is None:
        folder = Path("outputs") / "notebook" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    folder = Path(folder)
    config.check(cfg)
    folders.claim(folder, cfg)
    saved = folder / folders.CONFIG
    saved.parent.mkdir(exist_ok=True)
    saved.write_text(OmegaConf.to_yaml(cfg))
    saved.with_name("overrides.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(overrides)))
    return run_experiment(cfg, folder)


def _refuse_of_command_line(overrides: list[str]) -> None:
    """What only `train.py` reads; Hydra's search path is read here, too."""
    for text in overrides:
        key = text.lstrip("+~").partition("=")[0]
        if key == "hydra.run.dir":
            folder = text.partition("=")[2]
            raise ConfigError(
                f"{text}: from Python the folder is an argument: snnexp.run([...], {folder!r})"
            )
        if key == "sweep" or (key.startswith("hydra") and key != "hydra.searchpath"):
            raise ConfigError(
                f"{text}: only the command line reads {key}; leave it out, or use python train.py"
            )


def resume(folder: str | Path) -> Result:
    """Continue an interrupted run from its own saved configuration and last checkpoint.

    Raises RunError if the folder holds no run, or a complete one.
    """
    cfg = folders.saved_config(folder)
    folders.claim(folder, cfg)
    handler = logging.FileHandler(Path(folder) / "train.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        return run_experiment(cfg, folder)
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
