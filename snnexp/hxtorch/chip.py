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
from snnexp.checks import require, require_whole
from snnexp.hxtorch.placement import refuse_misfit
from snnexp.inputs import Current, Dense, Events
from snnexp.kernels import NeuronParameters, whole
from snnexp.models.neuron import Circuit

if TYPE_CHECKING:
    from snnexp.hxtorch.snn.base import HXModule, Synapse
    from snnexp.hxtorch.snn.handles import Handle
    from snnexp.hxtorch.snn.neurons import Population as Neurons


class CalibrationPath:
    """A calibration's file; accepted, since emulated circuits are calibrated to their `params`."""

    def __init__(self, path: str):
        self.path = path


def init_hardware(hwdb_path: Any = None, ann: bool = False) -> None:
    """Accepted for hxtorch's sake, as its arguments are."""


def init_hardware_minimal() -> None:
    """Accepted for hxtorch's sake."""


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
    """Circuits that `seed` draws, and their measurements of one run after another.

    Populations have the names that they have in a run's network, `hidden1`, `hidden2`, ... in the
    order of the flow and `readout` (`readout2`, ...): the same seed draws the same circuits.
    """

    def __init__(self) -> None:
        self.seed, self.runs = _chosen.seed, 0
        self.preset, self.settings = _settings(_chosen.preset)
        self.names: dict[HXModule, str] = {}
        self.populations: dict[HXModule, Population] = {}

    def begin(
        self, modules: Mapping[HXModule, list[Handle]], runtime: int, dt: float
    ) -> Callable[[HXModule, list[Handle]], Any]:
        """A run of `runtime` steps: what measures one module after another, as `func` gets it.

        Raises ValueError for what does not fit the chip.
        """
        refuse_misfit(modules)
        self.runs += 1
        for module in modules:
            self._name(module)
        made = {module.output_handle: module for module in modules}
        return _Run(self, modules, made, Grid(runtime, dt, self.settings.substeps)).measure

    def _name(self, module: HXModule) -> None:
        from snnexp.hxtorch.snn.neurons import Population as Neurons

        if isinstance(module, Neurons) and module not in self.names:
            named = [other for other in self.names if other.spiking == module.spiking]
            place = len(named) + 1
            plain = "readout" if place == 1 else f"readout{place}"
            self.names[module] = f"hidden{place}" if module.spiking else plain


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
        from snnexp.hxtorch.snn.neurons import BatchDropout, InputNeuron
        from snnexp.hxtorch.snn.neurons import Population as Neurons

        if isinstance(module, BatchDropout | InputNeuron):  # the neurons' mask silenced them
            self.sent[module.output_handle] = self._arriving(handles[0])
        if not isinstance(module, Neurons):
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

    def _population(self, module: Neurons, device: str) -> Population:
        drawn = self.chip.populations
        if module not in drawn:
            name = self.chip.names[module]
            draw = randomness.generator(self.chip.seed, 0, f"circuits/{name}", device)
            circuit, constants = calibrated(module, self.grid.dt)
            gain = psp_ratio(constants, circuit, Grid(1, self.grid.dt, self.grid.substeps))
            drawn[module] = Population(circuit, module.size, self.chip.preset, gain, draw)
        return drawn[module]

    def _trace(
        self, module: Neurons, membrane: Tensor, population: Population, noise: torch.Generator
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
            for part in (module.by_neuron("trace_offset"), module.by_neuron("trace_scale"))
        )
        return (raw - (raw[:1] if module.shift_cadc_to_first else offset)) * scale


def calibrated(module: Neurons, dt: float) -> tuple[Circuit, NeuronParameters]:
    """The circuit that a population's `params` ask for, and the model's update with them."""
    from snnexp.hxtorch.snn import parameters as P

    p = module.params
    kind = P.CUBALIParams if not module.spiking else P.CUBALIFParams
    kind = kind if module.leaky else P.CUBAIAFParams
    if not isinstance(p, kind):
        raise TypeError(
            f"{type(module).__name__}: its params are {type(p).__name__}; the emulated chip is "
            f"calibrated to {kind.__name__}"
        )
    plain = Circuit(1 / float(p.tau_mem_inv), 1 / float(p.tau_syn_inv))
    if isinstance(p, P.CUBALIParams):
        return replace(plain, leak=float(p.v_leak)), P.li_parameters(p, dt)
    tau_ref = float(p.tau_ref)
    spiking = replace(plain, threshold=float(p.v_th), reset=float(p.v_reset), tau_ref=tau_ref)
    if isinstance(p, P.CUBAIAFParams):
        return replace(spiking, leaky=False), P.iaf_parameters(p, dt, tau_ref)
    return replace(spiking, leak=float(p.v_leak)), P.lif_parameters(p, dt)


def _silenced(spikes: Spikes, mask: Tensor) -> Spikes:
    """Those of the neurons in `mask` [neuron]."""
    if bool(mask.all()):
        return spikes
    sent = spikes.sent
    stays = mask[sent.channel.long()]
    step, sample, channel = (part[stays] for part in (sent.step, sent.sample, sent.channel))
    events = Events(step, sample, channel, sent.num_steps, sent.batch_size, sent.num_channels)
    return Spikes(spikes.spikes * mask, events)
