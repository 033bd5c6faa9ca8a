"""The emulated chip behind `mock=False`: the populations of one run, in the order of the flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnexp import randomness
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
from snnexp.backends.resources import CIRCUITS, INPUTS
from snnexp.checks import require, require_whole
from snnexp.inputs import Current, Dense, Events
from snnexp.kernels import NeuronParameters, whole
from snnexp.models.neurons import Circuit

if TYPE_CHECKING:
    from snnexp.hxtorch.snn.handles import Handle
    from snnexp.hxtorch.snn.modules import HXModule, Synapse, _Population


class CalibrationPath:
    """A calibration's file; accepted, since emulated circuits are calibrated to their `params`."""

    def __init__(self, path: str):
        self.path = path


def init_hardware(hwdb_path: Any = None, ann: bool = False) -> None:
    """Accepted for hxtorch's sake, as its arguments are."""


def release_hardware() -> None:
    """Accepted for hxtorch's sake."""


@dataclass
class _Choice:
    preset: str = "delgrad"
    seed: int = 0


_chosen = _Choice()


def emulate(preset: str = "delgrad", seed: int = 0) -> None:
    """Choose the chip of experiments that have not run yet: `conf/backend/preset`, and its seed.

    Raises ValueError for a preset that is not there.
    """
    _settings(preset)
    require_whole(0, seed=seed)
    _chosen.preset, _chosen.seed = preset, seed


@cache
def _settings(preset: str) -> tuple[Preset, Any]:
    """The preset, and what `conf/backend/bss2_mock.yaml` says of every chip."""
    from omegaconf import OmegaConf

    from snnexp.config import instantiate
    from snnexp.config.nodes import directory

    folder = directory() / "backend"
    names = sorted(path.stem for path in (folder / "preset").glob("*.yaml"))
    require(preset in names, f"preset: {preset!r}; choose one of {', '.join(names)}")
    made = instantiate(OmegaConf.load(folder / "preset" / f"{preset}.yaml"))
    return made, OmegaConf.load(folder / "bss2_mock.yaml")


class Chip:
    """Circuits that `seed` draws, and their measurements of one run after another."""

    def __init__(self) -> None:
        self.seed, self.runs = _chosen.seed, 0
        self.preset, self.settings = _settings(_chosen.preset)
        self.populations: dict[HXModule, Population] = {}

    def begin(
        self, modules: Mapping[HXModule, list[Handle]], runtime: int, dt: float
    ) -> Callable[[HXModule, list[Handle]], Any]:
        """A run of `runtime` steps: what measures one module after another, as `func` gets it.

        Raises ValueError for what does not fit the chip.
        """
        refuse_misfit(modules)
        self.runs += 1
        made = {module.output_handle: module for module in modules}
        return _Run(self, modules, made, Grid(runtime, dt, self.settings.substeps)).measure


class _Run:
    def __init__(
        self,
        chip: Chip,
        modules: Mapping[HXModule, list[Handle]],
        made: dict[Handle, HXModule],
        grid: Grid,
    ):
        self.chip, self.modules, self.made, self.grid = chip, modules, made, grid
        self.sent: dict[Handle, Spikes] = {}
        self.noise: torch.Generator | None = None

    @torch.no_grad()
    def measure(self, module: HXModule, handles: list[Handle]) -> Any:
        """(spikes, trace) or (trace,) of neurons, None of other modules."""
        from snnexp.hxtorch.snn.modules import BatchDropout, InputNeuron, _Population

        if isinstance(module, BatchDropout | InputNeuron):  # the neurons' mask silenced them
            self.sent[module.output_handle] = self._arriving(handles[0])
        if not isinstance(module, _Population):
            return None
        current = self._current(handles)
        device = (current if isinstance(current, Tensor) else current.weight).device
        noise = self._noise(str(device))
        population = self._population(module, str(device))
        recording = population.run(current, None, None, self.grid, noise)
        assert recording.membrane is not None
        trace = None
        if module.enable_cadc_recording:
            trace = self._trace(module, recording.membrane, population, noise)
        if recording.spikes is None:
            return (trace,)
        seen = Spikes.measured(recording.spikes, self.grid, self.chip.preset.jitter, noise)
        seen = _silenced(seen, module.mask.to(device))
        self.sent[module.output_handle] = seen
        return seen.spikes, trace

    def _arriving(self, handle: Handle) -> Spikes:
        if handle not in self.sent:
            tensor = handle.observable_state
            assert tensor is not None
            steps = self.grid.steps
            fitting = tensor.new_zeros(steps, *tensor.shape[1:])
            fitting[: len(tensor)] = tensor[:steps]
            self.sent[handle] = Spikes.of_grid(Dense(fitting), self.grid)
        return self.sent[handle]

    def _current(self, handles: list[Handle]) -> Current:
        """What all synapses of a population cause on the emulation's grid."""
        currents: list[Current] = []
        for handle in handles:
            synapse: Any = self.made[handle]
            (source,) = self.modules[synapse]
            weight = self._weight(synapse)
            currents.append(self._arriving(source).sent.project(weight))
        if len(currents) == 1:
            return currents[0]
        return sum((whole(part) for part in currents[1:]), whole(currents[0]))

    def _weight(self, synapse: Synapse) -> Tensor:
        """In whole LSB, as an emulated circuit takes it: of 1 for `weight_scale` LSB."""
        lsb = synapse.transform(synapse.weight.detach().clone()).clamp(-LIMIT, LIMIT)
        if self.chip.preset.weight_bits is not None:
            lsb = nearest(lsb)
        return lsb / self.chip.settings.weight_scale

    def _noise(self, device: str) -> torch.Generator:
        if self.noise is None:
            self.noise = randomness.generator(self.chip.seed, self.chip.runs, "hxtorch/run", device)
        return self.noise

    def _population(self, module: _Population, device: str) -> Population:
        drawn = self.chip.populations
        if module not in drawn:
            place = module.experiment.ids[module]
            draw = randomness.generator(self.chip.seed, 0, f"circuits/{place}", device)
            circuit, constants = calibrated(module, self.grid.dt)
            gain = psp_ratio(constants, circuit, Grid(1, self.grid.dt, self.grid.substeps))
            drawn[module] = Population(circuit, module.size, self.chip.preset, gain, draw)
        return drawn[module]

    def _trace(
        self, module: _Population, membrane: Tensor, population: Population, noise: torch.Generator
    ) -> Tensor:
        """What the converter reads, offset and scaled as the module says."""
        adc = self.chip.settings.converter
        converter = Converter(
            period=adc.period,
            leak=adc.leak,
            trace_scale=adc.trace_scale,
            interpolation={"linear": "linear", "nn": "nearest"}[module.interpolation_mode],
            time_shift=module.cadc_time_shift,
            shift_to_first=False,
        )
        trace = converter.read(membrane, population, self.grid, noise)
        raw = (trace - population.circuit.leak) / adc.trace_scale + adc.leak - 128
        offset, scale = (
            part.to(raw) if isinstance(part, Tensor) else part
            for part in map(module.by_neuron, (module.trace_offset, module.trace_scale))
        )
        return (raw - (raw[:1] if module.shift_cadc_to_first else offset)) * scale


def calibrated(module: _Population, dt: float) -> tuple[Circuit, NeuronParameters]:
    """The circuit that a population's `params` ask for, and the model's update with them."""
    from snnexp.hxtorch.snn import functional as F

    p = module.params
    kind = F.CUBALIParams if not module.spiking else F.CUBALIFParams
    kind = kind if module.leaky else F.CUBAIAFParams
    if not isinstance(p, kind):
        raise TypeError(
            f"{type(module).__name__}: its params are {type(p).__name__}; the emulated chip is "
            f"calibrated to {kind.__name__}"
        )
    plain = Circuit(1 / float(p.tau_mem_inv), 1 / float(p.tau_syn_inv))
    if isinstance(p, F.CUBALIParams):
        return replace(plain, leak=float(p.v_leak)), F.li_parameters(p, dt)
    tau_ref = float(p.tau_ref)
    spiking = replace(plain, threshold=float(p.v_th), reset=float(p.v_reset), tau_ref=tau_ref)
    if isinstance(p, F.CUBAIAFParams):
        return replace(spiking, leaky=False), F.iaf_parameters(p, dt, tau_ref)
    return replace(spiking, leak=float(p.v_leak)), F.lif_parameters(p, dt)


def refuse_misfit(modules: Mapping[HXModule, list[Handle]]) -> None:
    """Raise for populations that find no place on the chip, and inputs that are no spikes."""
    from snnexp.hxtorch.snn.modules import Synapse, _Population

    made = {module.output_handle: module for module in modules}
    neurons = [module for module in modules if isinstance(module, _Population)]
    if sum(neuron.enable_madc_recording for neuron in neurons) > 1:
        raise RuntimeError("enable_madc_recording: the chip has one such converter; record once")
    if any(neuron.enable_madc_recording for neuron in neurons):
        raise NotImplementedError("enable_madc_recording: it is not emulated; read v_cadc")
    for neuron in neurons:
        synapses = [made.get(handle) for handle in modules[neuron]]
        for synapse in synapses:
            if not isinstance(synapse, Synapse):
                raise TypeError(f"{type(neuron).__name__}: on the chip a Synapse drives it")
            (source,) = modules[synapse]
            require(
                source.observable == "spikes",
                "Synapse: its input does not spike; on the chip nothing but spikes is sent",
            )
        circuits = neuron.neuron_structure.size
        inputs = sum(synapse.in_features for synapse in synapses if isinstance(synapse, Synapse))
        require(
            inputs <= INPUTS * circuits,
            f"{type(neuron).__name__}: {inputs} signed inputs, but its {circuits} circuits have "
            f"{INPUTS * circuits}; give it a larger neuron_structure, or fewer inputs",
        )
    _place(neurons)


def _place(neurons: list[_Population]) -> None:
    taken = set()
    free = CIRCUITS
    for neuron in neurons:
        free -= neuron.size * neuron.neuron_structure.size
        for place in neuron.placement_constraint or ():
            for circuit in place.atomic_neurons:
                require(circuit not in taken, f"placement_constraint: {circuit} is taken already")
                taken.add(circuit)
    require(free >= 0, f"size: no free circuit; the chip has {CIRCUITS}, {-free} too few")


def _silenced(spikes: Spikes, mask: Tensor) -> Spikes:
    """Those of the neurons in `mask` [neuron]."""
    if bool(mask.all()):
        return spikes
    sent = spikes.sent
    stays = mask[sent.channel.long()]
    step, sample, channel = (part[stays] for part in (sent.step, sent.sample, sent.channel))
    events = Events(step, sample, channel, sent.num_steps, sent.batch_size, sent.num_channels)
    return Spikes(spikes.spikes * mask, events)
