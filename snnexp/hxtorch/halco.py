"""The coordinates that place a neuron on the chip: two rows of 256 circuits."""

from dataclasses import dataclass

from snnexp.backends.resources import COLUMNS, ROWS


class _Bounded(int):
    """A whole number from 0 to below `size`."""

    size: int

    def __new__(cls, value: int = 0):
        if not 0 <= value < cls.size:
            raise ValueError(f"{cls.__name__}: {value!r}; it must lie in 0 to {cls.size - 1}")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self)})"


class NeuronRowOnDLS(_Bounded):
    """The upper (0) or the lower (1) row."""

    size = ROWS


class NeuronColumnOnDLS(_Bounded):
    """A column of circuits."""

    size = COLUMNS


class AtomicNeuronOnDLS:
    """One circuit, from its row and its column, in either order."""

    def __init__(
        self,
        first: NeuronRowOnDLS | NeuronColumnOnDLS,
        second: NeuronRowOnDLS | NeuronColumnOnDLS,
    ):
        places = {type(place): place for place in (first, second)}
        if places.keys() != {NeuronRowOnDLS, NeuronColumnOnDLS}:
            raise TypeError("AtomicNeuronOnDLS: it takes a NeuronRowOnDLS and a NeuronColumnOnDLS")
        self.row, self.column = places[NeuronRowOnDLS], places[NeuronColumnOnDLS]

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, AtomicNeuronOnDLS)
        return same and (self.row, self.column) == (other.row, other.column)

    def __hash__(self) -> int:
        return hash((self.row, self.column))

    def __repr__(self) -> str:
        return f"AtomicNeuronOnDLS({self.row!r}, {self.column!r})"


@dataclass(frozen=True)
class LogicalNeuronCompartments:
    """The circuits of a neuron, (row, column) from its first."""

    circuits: tuple[tuple[int, int], ...]


class LogicalNeuronOnDLS:
    """A neuron of one or more circuits, of which `anchor` is the first.

    Raises ValueError where one of them would lie off the chip.
    """

    def __init__(self, compartments: LogicalNeuronCompartments, anchor: AtomicNeuronOnDLS):
        self.compartments, self.anchor = compartments, anchor
        self.atomic_neurons = tuple(
            AtomicNeuronOnDLS(
                NeuronRowOnDLS(anchor.row + row), NeuronColumnOnDLS(anchor.column + column)
            )
            for row, column in compartments.circuits
        )

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, LogicalNeuronOnDLS)
        return same and self.atomic_neurons == other.atomic_neurons

    def __hash__(self) -> int:
        return hash(self.atomic_neurons)

    def __repr__(self) -> str:
        return f"LogicalNeuronOnDLS({list(self.atomic_neurons)!r})"
