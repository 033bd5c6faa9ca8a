"""BrainScaleS-2: the model as hxtorch's mock runs it, or a chip emulated in the loop."""

import logging
import statistics
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from snnexp import kernels, randomness
from snnexp.activity import LayerActivity
from snnexp.backends.chip import (
    LIMIT,
    Converter,
    Grid,
    Population,
    Preset,
    Spikes,
    nearest,
    psp_ratio,
)
from snnexp.backends.ideal import Ideal
from snnexp.backends.resources import POWER, Plan, plan
from snnexp.checks import require, require_choice, require_positive, require_whole
from snnexp.inputs import Dense, Inputs, Train
from snnexp.kernels import Measured, State
from snnexp.kernels.reference import straight_through
from snnexp.models.layer import Layer
from snnexp.models.neuron import Circuit, Neuron

log = logging.getLogger(__name__)

RANGES = {"tau_mem": (0.5e-6, 60e-6), "tau_syn": (0.3e-6, 30e-6)}
"""Time constants that circuits can be calibrated to, in s on the chip (calix)."""
BIOLOGICAL = 1e-4
"""From this step on, in s, a model's time is biological, which the chip runs 1000 times faster."""

TRAINING = ("float", "quantisation_aware", "noise_aware", "in_the_loop")


def usual_acceleration(dt: float) -> float:
    """The model's time over the chip's, for steps of `dt` s."""
    return 1000.0 if dt >= BIOLOGICAL else 1.0


class Bss2(Ideal):
    """Runs a network as BrainScaleS-2 does; see `docs/bss2.md`.

    level: `reference`, the model in floats, as hxtorch's mock; `chip`, emulated.
    training: at level `chip`, what a training step runs (all else always runs on the chip):
    `float`, the model; `quantisation_aware`, the model with the chip's weights; `noise_aware`, a
    fresh chip for each batch; `in_the_loop`, the chip. In the latter two the chip's spikes and
    membranes go forward, the model's gradient goes back.
    chip_seed: draws the chip's circuits, and nothing else does.
    repeats: how often the test split is measured on a chip. test_chips: a number of chips for
    that, other ones for every chip_seed (N chips have the seeds N chip_seed, N chip_seed + 1, ...);
    None for the chip itself.
    weight_scale: LSB of a weight of 1. rounding: of weights, `nearest` (half away from zero) or
    `truncate`. substeps: emulated steps in one of the model's. acceleration: the model's time
    over the chip's; None: 1000 where a step is at least 0.1 ms, else 1.
    Level `chip` logs where the network lies on the chip, or how many runs it takes, and raises
    ValueError for neurons and synapses that the chip has not, for time constants out of `RANGES`,
    and for neurons of too many inputs (`snnexp.backends.resources`).
    """

    def __init__(
        self,
        *,
        device: str,
        precision: str,
        devices: int,
        kernel: str,
        level: str,
        training: str,
        chip_seed: int,
        repeats: int,
        test_chips: int | None,
        weight_scale: float,
        rounding: str,
        substeps: int,
        acceleration: float | None,
        preset: Preset,
        converter: Converter,
    ):
        plain: dict[str, Any] = {
            "device": device,
            "precision": precision,
            "devices": devices,
            "kernel": kernel,
            "checkpoint_every": None,  # what is run again would draw other noise
        }
        super().__init__(**plain)
        require(
            precision != "64-true",
            "precision: '64-true', but the emulated chip computes in float32; choose 32-true",
        )
        self.ideal = Ideal(**plain)
        require_choice(("reference", "chip"), level=level)
        require_choice(TRAINING, training=training)
        require_choice(("nearest", "truncate"), rounding=rounding)
        require_whole(0, chip_seed=chip_seed)
        require_whole(1, repeats=repeats, substeps=substeps)
        if test_chips is not None:
            require_whole(1, test_chips=test_chips)
        require_positive("LSB", weight_scale=weight_scale)
        if acceleration is not None:
            require_positive(acceleration=acceleration)
        self.level, self.training, self.rounding = level, training, rounding
        self.chip_seed, self.weight_scale, self.substeps = chip_seed, weight_scale, substeps
        self.repeats, self.repetition = repeats, 0
        chips = range(chip_seed * (test_chips or 1), (chip_seed + 1) * (test_chips or 1))
        self.test_chips = chips if level == "chip" else range(1)
        self.trials = len(chips) * repeats if level == "chip" else 1
        self.takes_values = level == "reference"
        # on the chip draws, the converter's samples and spikes under way are those of a whole run
        self.segment: int | None = None if level == "chip" else Ideal.segment
        self.preset, self.converter, self.acceleration = preset, converter, acceleration
        self._chip = chip_seed
        self.plan: Plan | None = None
        self._names: dict[Neuron, str] = {}
        self._circuits: dict[str, Circuit] = {}
        self._populations: dict[tuple[str, torch.device], Population] = {}
        self._noise = torch.Generator().manual_seed(0)

    def prepare(self, layers: Mapping[str, Layer]) -> None:
        dt = layers["readout"].neuron.dt  # of all
        faster = self.acceleration or usual_acceleration(dt)
        self.dt, self.faster = dt / faster, faster
        self._names |= {layer.neuron: name for name, layer in layers.items()}
        if self.level == "chip":
            self.plan = plan(layers)
            for name, layer in layers.items():
                self._circuits[name] = self._circuit(name, layer.neuron, faster)
                _refuse_unlike(layer)
            for line in self.plan.lines():
                log.info(line)

    def _circuit(self, name: str, neuron: Neuron, acceleration: float) -> Circuit:
        """The neuron's circuit, in the chip's time."""
        what = "readout" if name == "readout" else "neuron"
        circuit = neuron.circuit
        if circuit is None:
            raise ValueError(
                f"{what}: {type(neuron).__name__}, but the chip's neurons are current-based, all "
                "alike in a layer and reset to one value; choose model=cuba_lif or "
                "model=cuba_iaf, and model/readout=cuba_li"
            )
        for key, (least, most) in RANGES.items():
            tau = getattr(circuit, key)
            require(
                least <= tau / acceleration <= most,
                f"{what}.{key}: {tau!r} s; it must lie between {least * acceleration:.3g} and "
                f"{most * acceleration:.3g} s on a chip that is {acceleration:g} times faster; "
                "change it, or set backend.acceleration",
            )
        return circuit.faster(acceleration)

    def begin(self, seed: int, epoch: int, purpose: str, device: torch.device) -> None:
        purpose = f"chip/{purpose}/{self.repetition}"
        self._noise = randomness.generator(seed, epoch, purpose, str(device))

    def choose(self, trial: int | None) -> None:
        """Chip by chip, each as often as `repeats`; None: the chip of `chip_seed`."""
        if self.level == "reference":
            return
        chip, self.repetition = divmod(trial or 0, self.repeats)
        self.use_chip(self.chip_seed if trial is None else self.test_chips[chip])

    def use_chip(self, seed: int) -> None:
        """Go on with the chip of this seed."""
        if seed != self._chip:
            self._chip, self._populations = seed, {}

    def deviations(self, accuracies: list[float]) -> dict[str, Any]:
        """Over all trials, and over chips of each one's mean, which are listed too."""
        every = [accuracies[n : n + self.repeats] for n in range(0, self.trials, self.repeats)]
        chips = [statistics.fmean(trials) for trials in every]
        found: dict[str, Any] = {"test/accuracy_sd": statistics.stdev(accuracies)}
        if len(chips) > 1:
            found |= {
                "test/accuracy_chips_sd": statistics.stdev(chips),
                "test/accuracy_chips": chips,
            }
        return found

    def describe(self, seconds: float) -> dict[str, Any]:
        if self.plan is None:
            return {"chip/preset": "reference"}
        emulated = seconds / self.faster * len(self.plan.runs)
        return {
            "chip/preset": self.preset.name,
            "chip/seed": self.chip_seed,
            "chip/tested": len(self.test_chips),
            "chip/circuits": self.plan.circuits,
            "chip/synapses": self.plan.synapses,
            "chip/runs": len(self.plan.runs),
            "chip/seconds_per_inference": emulated,
            "chip/joules_per_inference": POWER * emulated,
        }

    def weight(self, weight: Tensor) -> Tensor:
        """Of `reference` as it stands, else in whole LSB up to 63; all the gradient goes back."""
        if self.level == "reference" or self.preset.weight_bits is None:
            return weight
        scaled = (weight.detach() * self.weight_scale).clamp(-LIMIT, LIMIT)
        whole = scaled.trunc() if self.rounding == "truncate" else nearest(scaled)
        return straight_through(weight, whole / self.weight_scale)

    def layer(
        self,
        layer: Layer,
        inputs: Inputs | Train,
        state: State | None,
        membrane: bool,
        margin: bool,
    ) -> tuple[LayerActivity, State]:
        if self.level == "reference" or (layer.training and self.training == "quantisation_aware"):
            return super().layer(layer, inputs, state, membrane, margin)
        if layer.training and self.training == "float":
            return self.ideal.layer(layer, inputs, state, membrane, margin)
        return self._emulated(layer, inputs, state, membrane, margin)

    def _emulated(
        self,
        layer: Layer,
        inputs: Inputs | Train,
        state: State | None,
        membrane: bool,
        margin: bool,
    ) -> tuple[LayerActivity, State]:
        """The chip's measurement forward, the model's gradient back."""
        neuron = layer.neuron
        grid, constants = self._grid(inputs), neuron.constants
        assert constants is not None
        arriving = inputs if isinstance(inputs, Spikes) else Spikes.of_grid(inputs, grid)
        weight = self.weight(layer.weight)
        recurrent = None if neuron.recurrent is None else self.weight(neuron.recurrent)
        before, chip_before = (None, None) if state is None else (state[0], state[1])
        population = self._population(layer, grid)
        with torch.no_grad():
            recording = population.run(
                layer.synapse(arriving.sent, weight.detach()),
                None if recurrent is None else recurrent.detach(),
                chip_before,
                grid,
                self._noise,
                self.kernel,
            )
            assert recording.membrane is not None
            trace = self.converter.read(recording.membrane, population, grid, self._noise)
            seen = None
            if recording.spikes is not None:
                seen = Spikes.measured(recording.spikes, grid, self.preset.jitter, self._noise)
        scan = kernels.scan(
            layer.synapse(arriving, weight),
            constants,
            recurrent,
            before,
            steps=grid.steps,
            membrane=membrane,
            margin=margin,
            measured=Measured(torch.zeros_like(trace) if seen is None else seen.spikes, trace),
            kernel=self.kernel,
        )
        train = None
        if seen is not None:
            assert isinstance(scan.spikes, Tensor)
            train = Spikes(scan.spikes, seen.sent)
        assert isinstance(scan.state, Tensor) and isinstance(recording.state, Tensor)
        return LayerActivity(train, scan.membrane, scan.margin), (scan.state, recording.state)

    def delayed(self, sent: Inputs | Train, arrived: Dense, seconds: Tensor) -> Dense:
        """On the emulation's grid, which is finer than the model's."""
        if self.level == "reference":
            return arrived
        grid = self._grid(sent)
        source = sent if isinstance(sent, Spikes) else Spikes.of_grid(sent, grid)
        return source.later(arrived.spikes, seconds / self.faster, grid)

    def _grid(self, inputs: Inputs | Train) -> Grid:
        return Grid(inputs.num_steps, self.dt, self.substeps)

    def _population(self, layer: Layer, grid: Grid) -> Population:
        """The layer's circuits: of this chip, or in noise-aware training of a fresh one."""
        name = self._names[layer.neuron]
        circuit, constants = self._circuits[name], layer.neuron.constants
        assert constants is not None
        device = layer.weight.device

        def drawn(draw: torch.Generator) -> Population:
            gain = psp_ratio(constants, circuit, Grid(1, grid.dt, grid.substeps))
            return Population(circuit, layer.neuron.size, self.preset, gain, draw, device)

        if layer.training and self.training == "noise_aware":
            return drawn(self._noise)
        if (name, device) not in self._populations:
            draw = randomness.generator(self._chip, 0, f"circuits/{name}")  # a GPU's are others
            self._populations[name, device] = drawn(draw)
        return self._populations[name, device]


def _refuse_unlike(layer: Layer) -> None:
    """What acts on a current, and spikes that count for more than one, have no circuit."""
    if layer.norm is not None:
        raise ValueError(
            "norm: the chip normalizes no current; set model.norm=null, or choose backend=auto"
        )
    if layer.dropout > 0:
        raise ValueError(
            f"dropout: {layer.dropout!r}, but a measured spike counts for one; set it to 0, or "
            "choose backend=auto"
        )
