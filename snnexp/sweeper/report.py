"""What became of a sweep."""

from pathlib import Path

import optuna


def write(study: optuna.Study, folder: Path, figures: bool) -> None:
    """Later."""
