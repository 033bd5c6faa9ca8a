"""Numbers of a neuron that are drawn from ranges, and learnt within them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snnexp.checks import require, require_positive
from snnexp.models.neuron import Neuron

Range = Sequence[float]
"""The lowest and the highest value."""


def drawn(size: int, bounds: Range) -> nn.Parameter:
    """One number a neuron, uniform between the bounds."""
    return nn.Parameter(torch.empty(size).uniform_(*bounds))


def require_ranges(**ranges: Range) -> None:
    """Raise ValueError for what has not the lowest value first and the highest second."""
    for name, bounds in ranges.items():
        require(
            len(bounds) == 2 and bounds[0] <= bounds[1] and all(map(math.isfinite, bounds)),
            f"{name}: {list(bounds)!r}; give the lowest value and the highest, both finite",
        )


class InRanges(Neuron):
    """A neuron with numbers that learn within ranges, each neuron drawing its own.

    Of those that are `placed`, as tau_mem in s, the parameter is `place_mem`, the place between the
    lowest value, 0, and the highest, 1. All are kept in their ranges after each step of the
    optimizer; a range of one value fixes what is placed.
    """

    def learn(self, placed: dict[str, Range], **numbers: Range) -> None:
        """Draw the parameters, uniformly."""
        require_ranges(**placed, **numbers)
        for name, bounds in placed.items():
            unit = "Hz" if name == "frequency" else "s"
            require_positive(unit, **{f"{name}[{i}]": bound for i, bound in enumerate(bounds)})
        self.placed = placed
        self.time_constants = tuple(map(_place, placed))
        self.bounds = dict.fromkeys(self.time_constants, (0, 1)) | numbers
        for name, bounds in self.bounds.items():
            setattr(self, name, drawn(self.size, bounds))

    def constrain(self) -> None:
        with torch.no_grad():
            for name, bounds in self.bounds.items():
                getattr(self, name).clamp_(*bounds)

    def value(self, name: str) -> Tensor:
        """What is placed, [neuron]: a time constant in s, a frequency in Hz."""
        low, high = self.placed[name]
        return low + getattr(self, _place(name)) * (high - low)

    def decay(self, name: str) -> Tensor:
        """exp(-dt / tau), [neuron]."""
        return torch.exp(-self.dt / self.value(name))


def _place(name: str) -> str:
    return f"place_{name.removeprefix('tau_')}"
