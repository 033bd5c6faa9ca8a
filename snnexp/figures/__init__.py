"""Pictures, one function each: takes tensors on the CPU, gives a matplotlib figure.

They are drawn with matplotlib's objects, without pyplot: no global state, nothing to close.
"""

from snnexp.figures.activity import activity, input_encoding
from snnexp.figures.bss2 import plot_data, plot_input_encoding, plot_training
from snnexp.figures.chip import accuracy_over_chips, chip_traces, placement, weight_histograms
from snnexp.figures.plane import decision_map, plane_data, score_maps
from snnexp.figures.training import (
    accuracy_by_group,
    accuracy_over_time,
    accuracy_overlay,
    confusion_matrix,
    learning_curves,
    rate_histogram,
    rate_range,
)

__all__ = [
    "accuracy_by_group",
    "accuracy_over_chips",
    "accuracy_over_time",
    "accuracy_overlay",
    "activity",
    "chip_traces",
    "confusion_matrix",
    "decision_map",
    "input_encoding",
    "learning_curves",
    "placement",
    "plane_data",
    "plot_data",
    "plot_input_encoding",
    "plot_training",
    "rate_histogram",
    "rate_range",
    "score_maps",
    "weight_histograms",
]
