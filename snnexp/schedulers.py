"""Learning-rate schedules: torch's, with what the run must tell them."""

from collections.abc import Callable
from typing import Any

from snnexp.checks import require_choice


class Schedule:
    """When and how a schedule of torch's is stepped.

    schedule: factory that takes the optimizer. interval: `step` (after each batch) or `epoch`.
    total: the factory's argument that is to receive the run's number of intervals, or None.
    monitor: the metric that a plateau schedule watches, or None.
    """

    def __init__(
        self, *, schedule: Callable[..., Any], interval: str, total: str | None, monitor: str | None
    ):
        (self.interval,) = require_choice(("step", "epoch"), interval=interval)
        self.schedule, self.total, self.monitor = schedule, total, monitor

    def configure(self, optimizer: Any, *, steps: int, epochs: int) -> dict[str, Any]:
        """Lightning's record of a scheduler for a run of `steps` batches in `epochs` epochs."""
        count = max(1, steps if self.interval == "step" else epochs)  # also of no epoch
        arguments: dict[str, Any] = {} if self.total is None else {self.total: count}
        peak = getattr(self.schedule, "keywords", {}).get("max_lr")
        if peak is not None:  # of the optimizer's rate; groups keep their ratio to it
            ratios = [group["lr"] / optimizer.defaults["lr"] for group in optimizer.param_groups]
            arguments["max_lr"] = [peak * ratio for ratio in ratios]
        record = {"scheduler": self.schedule(optimizer, **arguments), "interval": self.interval}
        return record | ({} if self.monitor is None else {"monitor": self.monitor})
