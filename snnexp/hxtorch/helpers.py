"""What BrainScaleS-2's tutorials import beside hxtorch: their figures, and the chip's set-up."""

from typing import Any

from snnexp.figures import plot_data, plot_input_encoding, plot_training

__all__ = [
    "plot_data",
    "plot_input_encoding",
    "plot_training",
    "save_nightly_calibration",
    "setup_hardware_client",
]


def setup_hardware_client() -> None:
    """Accepted for the tutorials' sake: there is no server to ask for a chip."""


def save_nightly_calibration(*names: Any) -> None:
    """Accepted, and nothing is saved: emulated circuits are calibrated to their `params`."""
