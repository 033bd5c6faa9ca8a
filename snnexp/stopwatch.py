"""The seconds of a run, also of one that several processes continued."""

import time

import pytorch_lightning as pl


class Stopwatch(pl.Callback):
    """Counts from its making, and training from `begin_training`.

    What is spent is kept in each checkpoint; from there a process that continues it counts on.
    """

    def __init__(self) -> None:
        self._began = {"total": time.perf_counter()}
        self._before: dict[str, float] = {}

    def begin_training(self) -> None:
        self._began["train"] = time.perf_counter()

    def seconds(self, part: str) -> float:
        """Of `total` or `train`, up to now."""
        return self._before.get(part, 0.0) + time.perf_counter() - self._began[part]

    def state_dict(self) -> dict[str, float]:
        return {part: self.seconds(part) for part in self._began}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Not called for a checkpoint that holds none: the seconds before it are not known."""
        self._before = dict(state_dict)
