"""Energy of an inference, estimated from what was counted; `docs/synops.md` says what is left out.

`device(cost)` gives nJ per sample. The numbers are of a device's table in `conf/energy/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from snnexp.backends import bss2
from snnexp.checks import require, require_positive


@dataclass(frozen=True)
class Cost:
    """What an inference takes: effective ACs and MACs, updates of neurons, and time in s.

    dt: of a step, in s.
    """

    ac: float
    mac: float
    updates: float
    seconds: float
    dt: float

    @classmethod
    def of(cls, metrics: Mapping[str, float], steps: int, dt: float) -> "Cost":
        """From what `SynapticOperations` and `size_of` measured, over `steps` steps of `dt` s."""
        return cls(
            ac=metrics["synops_ac_per_sample"],
            mac=metrics["synops_mac_per_sample"],
            updates=steps * metrics["neurons"],
            seconds=steps * dt,
            dt=dt,
        )


class ByOperation:
    """Energy for each operation: ac, mac and update (of a neuron in a step), in J."""

    def __init__(self, *, source: str, ac: float, mac: float, update: float):
        for name, value in {"ac": ac, "mac": mac, "update": update}.items():
            require(value >= 0, f"{name}: {value!r} J; it must not be negative")
        self.source, self.ac, self.mac, self.update = source, ac, mac, update

    def __call__(self, cost: Cost) -> float:
        joules = self.ac * cost.ac + self.mac * cost.mac + self.update * cost.updates
        return joules * 1e9


class ByTime:
    """Power (W) times the time on the chip, whatever the network does.

    acceleration: seconds of `time.dt` in a second of the chip; None: as BrainScaleS-2 has it, see
    `snnexp.backends.bss2.usual_acceleration`.
    """

    def __init__(self, *, source: str, power: float, acceleration: float | None):
        require_positive("W", power=power)
        if acceleration is not None:
            require_positive(acceleration=acceleration)
        self.source, self.power, self.acceleration = source, power, acceleration

    def __call__(self, cost: Cost) -> float:
        faster = self.acceleration or bss2.usual_acceleration(cost.dt)
        return self.power * cost.seconds / faster * 1e9
