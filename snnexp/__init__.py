"""snnexp: experiments with spiking neural networks from one composed configuration."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnexp.classifier import Classifier
    from snnexp.experiment import Result

__version__ = "0.1.0"
__all__ = ["__version__", "load", "run"]


def run(overrides: "Sequence[str]" = (), folder: str | Path | None = None) -> "Result":
    """Compose the configuration, train and test; the command line's `train.py` for notebooks.

    overrides: as on the command line, such as ["model=lif", "time.steps=30"].
    folder: where to save; by default a new one in `outputs/`. An interrupted run there goes on.
    Raises snnexp.errors.UserError if the configuration cannot be run or the folder is taken.
    """
    from snnexp.errors import ConfigError
    from snnexp.session import run_composed

    if isinstance(overrides, str):
        raise ConfigError(f"{overrides!r}: overrides are a list, as in run([{overrides!r}])")
    return run_composed(list(overrides), folder)


def load(folder: str | Path) -> "Classifier":
    """The trained classifier of a run's folder; called on values it returns scores.

    `.network` is the trained network. Raises snnexp.errors.RunError if there is none.
    """
    from snnexp.experiment import load as load_run

    return load_run(folder)
