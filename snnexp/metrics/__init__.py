"""What a run measures: streaming counters that stay on the device until an epoch's end."""

from snnexp.metrics.activity import ActivityMetrics
from snnexp.metrics.outcome import Outcome, wilson_interval

__all__ = ["ActivityMetrics", "Outcome", "wilson_interval"]
