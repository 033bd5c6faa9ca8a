"""hxtorch's interface of 2023 on this project's dynamics and its emulated BrainScaleS-2 chip.

`mock=True` runs the model in floats, `mock=False` the emulated chip; `docs/hxtorch.md` has both.
`install` lets code find all of it under hxtorch's own names. Written from a description of the
interface: names, signatures and defaults are hxtorch's, the code is not.
"""

from snnexp.hxtorch import logger, snn
from snnexp.hxtorch.chip import (
    CalibrationPath,
    emulate,
    init_hardware,
    init_hardware_minimal,
    release_hardware,
)
from snnexp.hxtorch.installed import install

spiking = snn

__all__ = [
    "CalibrationPath",
    "emulate",
    "init_hardware",
    "init_hardware_minimal",
    "install",
    "logger",
    "release_hardware",
    "snn",
    "spiking",
]
