"""What a run measures: streaming counters that stay on the device until an epoch's end."""

from snnexp.metrics.activity import ActivityMetrics
from snnexp.metrics.energy import ByOperation, ByTime, Cost
from snnexp.metrics.outcome import Outcome, wilson_interval
from snnexp.metrics.synops import SynapticOperations, size_of

__all__ = [
    "ActivityMetrics",
    "ByOperation",
    "ByTime",
    "Cost",
    "Outcome",
    "SynapticOperations",
    "size_of",
    "wilson_interval",
]
