"""BrainScaleS-2: the model as hxtorch's mock runs it, or a chip emulated in the loop."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from snnexp import kernels, randomness
from snnexp.activity import LayerActivity
from snnexp.backends.chip import LIMIT, Converter, Grid, Population, Preset, Spikes, psp_ratio
from snnexp.backends.ideal import Ideal
from snnexp.checks import require, require_choice, require_positive, require_whole
from snnexp.inputs import Dense, Inputs, Train
from snnexp.kernels import Measured, State
from snnexp.kernels.reference import straight_through
from snnexp.models.network import Layer
from snnexp.models.neurons import Neuron

TRAINING = ("float", "quantisation_aware", "noise_aware", "in_the_loop")


class Bss2(Ideal):
    """Runs a network as BrainScaleS-2 does; see `docs/bss2.md`.

    level: `reference`, the model in floats, as hxtorch's mock; `chip`, emulated.
    training: at level `chip`, what a training step runs (all else always runs on the chip):
    `float`, the model; `quantisation_aware`, the model with the chip's weights; `noise_aware`, a
    fresh chip for each batch; `in_the_loop`, the chip. In the latter two the chip's spikes and
    membranes go forward, the model's gradient goes back.
    chip_seed: draws the chip's circuits, and nothing else does. repeats: how often the test split
    is measured. weight_scale: LSB of a weight of 1. rounding: of weights, `nearest` (half away
    from zero) or `truncate`. substeps: emulated steps in one of the model's.
    Raises ValueError for neurons that the chip has not.
    """

    takes_values = False

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
        weight_scale: float,
        rounding: str,
        substeps: int,
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
        self._float = Ideal(**plain)
        require_choice(("reference", "chip"), level=level)
        require_choice(TRAINING, training=training)
        require_choice(("nearest", "truncate"), rounding=rounding)
        require_whole(0, chip_seed=chip_seed)
        require_whole(1, repeats=repeats, substeps=substeps)
        require_positive("LSB", weight_scale=weight_scale)
        self.level, self.training, self.rounding = level, training, rounding
        self.chip_seed, self.weight_scale, self.substeps = chip_seed, weight_scale, substeps
        self.repeats = repeats if level == "chip" else 1
        self.takes_values = level == "reference"
        self.preset, self.converter = preset, converter
        self._names: dict[Neuron, str] = {}
        self._populations: dict[str, Population] = {}
        self._noise = torch.Generator().manual_seed(0)

    def prepare(self, layers: Mapping[str, Layer]) -> None:
        for name, layer in layers.items():
            what = "readout" if name == "readout" else "neuron"
            require(
                self.level == "reference" or layer.neuron.circuit is not None,
                f"{what}: {type(layer.neuron).__name__}, but the chip's neurons are current-based; "
                "choose model=cuba_lif or model=cuba_iaf, and model/readout=cuba_li",
            )
        self._names |= {layer.neuron: name for name, layer in layers.items()}
        self.dt = layers["readout"].neuron.dt

    def begin(self, seed: int, epoch: int, purpose: str, device: torch.device) -> None:
        purpose = f"chip/{purpose}/{self.repetition}"
        self._noise = randomness.generator(seed, epoch, purpose, str(device))

    def use_chip(self, seed: int) -> None:
        """Go on with the chip of another seed."""
        self.chip_seed, self._populations = seed, {}

    def describe(self) -> dict[str, Any]:
        if self.level == "reference":
            return {"chip/preset": "reference"}
        return {"chip/preset": self.preset.name, "chip/seed": self.chip_seed}

    def weight(self, weight: Tensor) -> Tensor:
        """Of `reference` as it stands, else in whole LSB up to 63; all of the gradient goes back."""
        if self.level == "reference" or self.preset.weight_bits is None:
            return weight
        scaled = (weight.detach() * self.weight_scale).clamp(-LIMIT, LIMIT)
        whole = scaled.trunc() if self.rounding == "truncate" else _nearest(scaled)
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
            return self._float.layer(layer, inputs, state, membrane, margin)
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
        before, chip_before = (None, None) if state is None else state
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
            if isinstance(recording.spikes, Tensor):
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
        return LayerActivity(train, scan.membrane, scan.margin), (scan.state, recording.state)

    def delayed(self, sent: Inputs | Train, arrived: Dense, seconds: Tensor) -> Dense:
        """On the emulation's grid, which is finer than the model's."""
        if self.level == "reference":
            return arrived
        grid = self._grid(sent)
        source = sent if isinstance(sent, Spikes) else Spikes.of_grid(sent, grid)
        return source.later(arrived.spikes, seconds, grid)

    def _grid(self, inputs: Inputs | Train) -> Grid:
        return Grid(inputs.num_steps, self.dt, self.substeps)

    def _population(self, layer: Layer, grid: Grid) -> Population:
        """The layer's circuits: of this chip, or of a fresh one for a batch of noise-aware training."""
        name = self._names[layer.neuron]
        if layer.training and self.training == "noise_aware":
            return self._drawn(layer.neuron, grid, self._noise)
        if name not in self._populations:
            device = str(layer.weight.device)
            draw = randomness.generator(self.chip_seed, 0, f"circuits/{name}", device)
            self._populations[name] = self._drawn(layer.neuron, grid, draw)
        return self._populations[name]

    def _drawn(self, neuron: Neuron, grid: Grid, draw: torch.Generator) -> Population:
        circuit, constants = neuron.circuit, neuron.constants
        assert circuit is not None and constants is not None
        gain = psp_ratio(constants, circuit, Grid(1, grid.dt, grid.substeps))
        return Population(circuit, neuron.size, self.preset, gain, draw)


def _nearest(values: Tensor) -> Tensor:
    """Whole numbers, half away from zero."""
    return (values.abs() + 0.5).floor() * values.sign()

