"""Loggers beside those of Lightning."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from snnexp.errors import RunError


class EpochTable(Logger):
    """`metrics.csv`: one row an epoch, a column a metric; epoch 0 is the untrained network.

    A run that is continued keeps its rows; an epoch that is run again replaces its row.
    save_dir: the run's folder.
    """

    def __init__(self, *, save_dir: str):
        super().__init__()
        self.path = Path(save_dir) / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}
        if self.path.exists():
            self.rows = self._read()

    def _read(self) -> dict[int, dict[str, Any]]:
        rows = {}
        try:
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    known = {name: _number(text) for name, text in row.items() if text}
                    rows[int(row["epoch"])] = known
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            raise RunError(
                f"{self.path}: this is no table of epochs ({error}); remove it, and the run goes "
                "on without the rows of earlier epochs"
            ) from error
        return dict(sorted(rows.items()))

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of the epoch that `metrics` names; without one there is no row."""
        if "epoch" in metrics and not any(name.startswith("test/") for name in metrics):
            epoch = int(metrics["epoch"])
            self.rows.setdefault(epoch, {"epoch": epoch}).update({"step": step, **metrics})
            self._write()

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: `.hydra/config.yaml` holds them."""

    def _write(self) -> None:
        """Atomically, and at once: a killed run must not lack the row of a checkpoint it has."""
        columns = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        partial = self.path.with_suffix(".tmp")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows.values())
        partial.replace(self.path)


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)
