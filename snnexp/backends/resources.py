"""What a network takes of BrainScaleS-2: circuits, inputs and drivers, in one run or in several.

Each half of the chip is a row of 256 neuron circuits of 256 synapses, and 128 drivers that have
two rows of synapses each: one excites, one inhibits, so that a circuit has 128 signed inputs.
Merged, c circuits are a neuron of 128 c. A driver serves all layers of its half, since each synapse
listens to one of the labels that the driver sends. Sizes after halco and brainscales2-demos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from snnexp.checks import require
from snnexp.models.layer import Layer
from snnexp.models.synapses import Chain, Flatten, Linear, Synapse

ROWS, COLUMNS = 2, 256
CIRCUITS = ROWS * COLUMNS
INPUTS = 128
"""Signed inputs of a circuit, and drivers of a half."""

POWER = 0.2
"""Of the chip, in W: below 200 mW (Cramer et al., PNAS 119 (2022) e2109194119)."""

Places = tuple[tuple[tuple[int, int], ...], ...]
"""Of each neuron its circuits' rows and columns."""


@dataclass(frozen=True)
class Demand:
    """A layer's `neurons`, each with `inputs` signed inputs, recurrent ones among them."""

    name: str
    neurons: int
    inputs: int

    @property
    def merged(self) -> int:
        """Circuits of a neuron."""
        return -(-self.inputs // INPUTS)

    @property
    def most(self) -> int:
        """Neurons of a run, at most."""
        return CIRCUITS // self.merged

    @property
    def parts(self) -> int:
        """Runs that it takes."""
        return -(-self.neurons // self.most)


@dataclass(frozen=True)
class Part:
    """Neurons of a layer in one run, and where they lie."""

    demand: Demand
    places: Places

    @property
    def circuits(self) -> int:
        return len(self.places) * self.demand.merged

    @property
    def drivers(self) -> tuple[int, int]:
        """Of the upper and the lower half; a neuron's inputs are dealt to its circuits evenly."""
        rows = {row for neuron in self.places for row, _ in neuron}
        each = -(-self.demand.inputs // self.demand.merged)
        return (each if 0 in rows else 0, each if 1 in rows else 0)

    def __str__(self) -> str:
        circuits = [circuit for neuron in self.places for circuit in neuron]
        rows, columns = (sorted({place[axis] for place in circuits}) for axis in (0, 1))
        where = "rows 0 and 1" if len(rows) > 1 else f"row {rows[0]}"
        each = f"{_of(self.demand.merged, 'circuit')} and {_of(self.demand.inputs, 'input')}"
        neurons = _of(len(self.places), "neuron")
        span = f"columns {columns[0]} to {columns[-1]}"
        return f"{self.demand.name}: {neurons} of {each} each, {where}, {span}"


@dataclass(frozen=True)
class Plan:
    """The runs of a network, each of parts of one layer or more."""

    runs: tuple[tuple[Part, ...], ...]

    @property
    def circuits(self) -> int:
        """Of all runs together."""
        return sum(part.circuits for run in self.runs for part in run)

    @property
    def synapses(self) -> int:
        """Of all runs together; a signed weight takes two."""
        parts = (part for run in self.runs for part in run)
        return sum(2 * len(part.places) * part.demand.inputs for part in parts)

    def lines(self) -> list[str]:
        """Where it lies, or how many runs it takes."""
        if len(self.runs) == 1:
            upper, lower = drivers(self.runs[0])
            used = f"{self.circuits} of {CIRCUITS} circuits"
            head = f"chip: {used}, {upper} and {lower} of {INPUTS} drivers in its halves"
            return [head, *(f"  {part}" for part in self.runs[0])]
        lines = [f"chip: {self.circuits} circuits in {len(self.runs)} runs of at most {CIRCUITS}"]
        first = 1
        for text, same in groupby("; ".join(map(str, run)) for run in self.runs):
            last = first + len(list(same)) - 1
            number = f"run {first}" if first == last else f"runs {first} to {last}"
            lines.append(f"  {number}: {text}")
            first = last + 1
        return lines


def drivers(run: Sequence[Part]) -> tuple[int, int]:
    """Those that a run takes of the upper and of the lower half."""
    upper, lower = zip(*(part.drivers for part in run), strict=True)
    return max(upper), max(lower)


def plan(layers: Mapping[str, Layer]) -> Plan:
    """The runs of a network.

    Raises ValueError for synapses that the chip has not, for neurons of more inputs than all of its
    circuits have, and for recurrent layers that do not fit one run.
    """
    demands = []
    for index, (name, layer) in enumerate(layers.items()):
        _refuse_foreign(name, layer.synapse)
        recurrent = layer.neuron.recurrent is not None
        inputs = layer.weight.shape[1] + recurrent * layer.neuron.size
        before = f"hidden_sizes[{index - 1}]" if index else "num_inputs"
        require(
            inputs <= CIRCUITS * INPUTS,
            f"{before}: a neuron of {name} has {inputs} inputs, but all of the chip's {CIRCUITS} "
            f"circuits merged have {CIRCUITS * INPUTS}; lower model.hidden_sizes, or encode fewer "
            "channels",
        )
        demands.append(demand := Demand(name, layer.neuron.size, inputs))
        require(
            not recurrent or demand.parts == 1,
            f"neuron.recurrent: true, but one run has {demand.most} neurons of {inputs} inputs, "
            f"not {demand.neurons} as {name}; lower model.hidden_sizes, or set it to false",
        )
    return partition(demands)


def _refuse_foreign(name: str, synapse: Synapse) -> None:
    parts = synapse.parts if isinstance(synapse, Chain) else {"synapse": synapse}
    require(
        synapse.reach == 0,
        f"synapse: {type(synapse).__name__}, but the chip delays no single connection; choose "
        "model/delays=learnt",
    )
    for part, one in parts.items():
        require(
            isinstance(one, Linear | Flatten),
            f"hidden.{name}.{part}: {type(one).__name__}, but the chip has dense synapses alone; "
            "write it as a Linear, or choose model=cuba_lif",
        )


def partition(demands: Sequence[Demand]) -> Plan:
    """Layers in the order of the flow: in one run while they fit, each of several runs apart.

    A layer of p runs is dealt to them evenly.
    """
    runs: list[list[tuple[Demand, int]]] = []
    free = 0
    for demand in demands:
        if demand.parts > 1:
            bounds = [demand.neurons * part // demand.parts for part in range(demand.parts + 1)]
            sizes = [high - low for low, high in pairwise(bounds)]
            runs += [[(demand, size)] for size in sizes]
            free = 0
            continue
        needed = demand.neurons * demand.merged
        if needed > free:
            runs.append([])
            free = CIRCUITS
        runs[-1].append((demand, demand.neurons))
        free -= needed
    return Plan(tuple(tuple(_placed(run)) for run in runs))


def _placed(run: Sequence[tuple[Demand, int]]) -> list[Part]:
    """Layers in turn in the upper and the lower row, the last in the lower; else column by column.

    In their own rows they take drivers of their own, as hxtorch's Yin-Yang tutorial has it.
    """
    taken, starts = [0] * ROWS, []
    for index, (demand, neurons) in enumerate(run):
        row = (len(run) - index) % 2
        starts.append((row, taken[row]))
        taken[row] += neurons * demand.merged
    if max(taken) <= COLUMNS:
        return [
            _part(demand, neurons, [(row, start + place) for place in range(COLUMNS - start)])
            for (demand, neurons), (row, start) in zip(run, starts, strict=True)
        ]
    parts, start = [], 0
    for demand, neurons in run:
        parts.append(
            _part(demand, neurons, [(at % ROWS, at // ROWS) for at in range(start, CIRCUITS)])
        )
        start += neurons * demand.merged
    return parts


def _part(demand: Demand, neurons: int, order: list[tuple[int, int]]) -> Part:
    """Its neurons in the first of the circuits."""
    size = demand.merged
    return Part(demand, tuple(tuple(order[n * size : (n + 1) * size]) for n in range(neurons)))


def _of(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
