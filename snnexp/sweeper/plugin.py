"""Hydra's plugin: `hydra/sweeper=snnexp` hands the command line to a search.

Imported with the command line, so that it imports neither torch nor Optuna.
"""

from collections.abc import Callable
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from snnexp.errors import ConfigError

INSTALL = "a sweep needs Optuna 5: pip install 'optuna>=5,<6'"


class OptunaSweeper(Sweeper):
    """Searches with Optuna; `conf/hydra/sweeper/snnexp.yaml` states the options."""

    def __init__(self, folder: str, **options: Any) -> None:
        self.given = options  # `folder` names hydra.sweep.dir, in conf/hydra/run.yaml
        self.hydra_context: HydraContext | None = None
        self.task_function: Callable[[Any], Any] | None = None
        self.config: DictConfig | None = None
        self.launcher = None

    def setup(
        self,
        *,
        hydra_context: HydraContext,
        task_function: Callable[[Any], Any],
        config: DictConfig,
    ) -> None:
        self.hydra_context, self.task_function = hydra_context, task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> None:
        assert self.config is not None and self.hydra_context is not None
        assert self.task_function is not None
        if not _is_basic(self.config):
            raise ConfigError(
                "hydra/launcher: a search runs its trials in workers; choose how many with "
                "hydra.sweeper.workers, and leave hydra/launcher to plain grids"
            )
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise ConfigError(INSTALL) from error
        from snnexp.sweeper import search

        options = {name: _plain(value) for name, value in self.given.items()}
        search.run(self.hydra_context, self.task_function, self.config, arguments, options)


def register() -> None:
    """Make the sweeper known to Hydra, from a checkout as from a wheel."""
    Plugins.instance().register(OptunaSweeper)


def is_search(config: DictConfig) -> bool:
    """Whether a composed configuration, with its node `hydra`, is swept by this sweeper."""
    target = OmegaConf.select(config, "hydra.sweeper._target_")
    return target == f"{OptunaSweeper.__module__}.{OptunaSweeper.__name__}"


def _is_basic(config: DictConfig) -> bool:
    return str(OmegaConf.select(config, "hydra.launcher._target_")).endswith(".BasicLauncher")


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
