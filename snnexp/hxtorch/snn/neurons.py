"""Neurons that spike and integrators, what feeds them, and what silences them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snnexp.checks import require, require_between, require_choice, require_whole
from snnexp.hxtorch.halco import LogicalNeuronOnDLS
from snnexp.hxtorch.snn import functional
from snnexp.hxtorch.snn.base import Function, HXModule
from snnexp.hxtorch.snn.experiment import Experiment
from snnexp.hxtorch.snn.handles import NeuronHandle, ReadoutNeuronHandle
from snnexp.hxtorch.snn.morphology import SingleCompartmentNeuron


class Population(HXModule):
    """What spiking and reading neurons have in common; see `Neuron`."""

    leaky = True
    spiking = True
    enable_spike_recording = True

    def __init__(
        self,
        size: int,
        experiment: Experiment,
        func: Function,
        params: Any,
        enable_cadc_recording: bool,
        enable_madc_recording: bool,
        record_neuron_id: int | None,
        placement_constraint: Sequence[LogicalNeuronOnDLS] | None,
        trace_offset: float | Tensor | Mapping[Any, float],
        trace_scale: float | Tensor | Mapping[Any, float],
        cadc_time_shift: int,
        shift_cadc_to_first: bool,
        interpolation_mode: str,
        neuron_structure: SingleCompartmentNeuron | None,
    ):
        super().__init__(experiment, func)
        (self.size,) = require_whole(1, size=size)
        require_choice(("linear", "nn"), interpolation_mode=interpolation_mode)
        require(
            placement_constraint is None or len(placement_constraint) == size,
            f"placement_constraint: {len(placement_constraint or ())} places for {size} neurons",
        )
        require(
            not enable_madc_recording or record_neuron_id is not None,
            "record_neuron_id: None; name the neuron that enable_madc_recording records",
        )
        self.params, self.placement_constraint = params, placement_constraint
        self.enable_cadc_recording = enable_cadc_recording
        self.enable_madc_recording = enable_madc_recording
        self.record_neuron_id = record_neuron_id
        self.trace_offset, self.trace_scale = trace_offset, trace_scale
        self.cadc_time_shift, self.shift_cadc_to_first = cadc_time_shift, shift_cadc_to_first
        self.interpolation_mode = interpolation_mode
        self.neuron_structure = neuron_structure or SingleCompartmentNeuron(1)
        self.mask = torch.ones(size, dtype=torch.bool)

    def by_neuron(self, name: str) -> float | Tensor:
        """`trace_offset` or `trace_scale` as a number or [neuron]; of a mapping by placement."""
        value = getattr(self, name)
        if not isinstance(value, Mapping):
            return value
        require(
            self.placement_constraint is not None,
            f"placement_constraint: None; {name} by place needs it",
        )
        places = self.placement_constraint or ()
        missing = [place for place in places if place not in value]
        require(not missing, f"{name}: it has no value for {missing[:1]}; give one for each place")
        return torch.tensor([value[place] for place in places])


class Neuron(Population):
    """`size` neurons that spike; `func` is their update, `params` its parameters.

    On the chip: the recording switches say what is measured; record_neuron_id is accepted;
    placement_constraint: a LogicalNeuronOnDLS for each neuron. trace_offset, in LSB, and
    trace_scale, of a converter's LSB, by neuron if tensors or mappings by place. The trace is moved
    by cadc_time_shift steps to earlier ones, then its first row (`shift_cadc_to_first`) or the
    offset is subtracted. interpolation_mode: `linear` or `nn` between samples.
    `mask` [neuron]: whose spikes are sent.
    Raises ValueError for a placement of another length.
    """

    def __init__(
        self,
        size: int,
        experiment: Experiment,
        func: Function = functional.LIF,
        params: Any = None,
        enable_spike_recording: bool = True,
        enable_cadc_recording: bool = True,
        enable_madc_recording: bool = False,
        record_neuron_id: int | None = None,
        placement_constraint: Sequence[LogicalNeuronOnDLS] | None = None,
        trace_offset: float | Tensor | Mapping[Any, float] = 0.0,
        trace_scale: float | Tensor | Mapping[Any, float] = 1.0,
        cadc_time_shift: int = 1,
        shift_cadc_to_first: bool = False,
        interpolation_mode: str = "linear",
        neuron_structure: SingleCompartmentNeuron | None = None,
    ):
        super().__init__(
            size,
            experiment,
            func,
            params,
            enable_cadc_recording,
            enable_madc_recording,
            record_neuron_id,
            placement_constraint,
            trace_offset,
            trace_scale,
            cadc_time_shift,
            shift_cadc_to_first,
            interpolation_mode,
            neuron_structure,
        )
        self.enable_spike_recording = enable_spike_recording
        self.output_handle = NeuronHandle()

    def recorded(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
        return outputs if self.enable_spike_recording else (None, *outputs[1:])


class IAFNeuron(Neuron):
    """`Neuron` without a leak."""

    leaky = False


class ReadoutNeuron(Population):
    """`size` integrators, see `Neuron`."""

    spiking = False

    def __init__(
        self,
        size: int,
        experiment: Experiment,
        func: Function = functional.LI,
        params: Any = None,
        enable_cadc_recording: bool = True,
        enable_madc_recording: bool = False,
        record_neuron_id: int | None = None,
        placement_constraint: Sequence[LogicalNeuronOnDLS] | None = None,
        trace_offset: float | Tensor | Mapping[Any, float] = 0.0,
        trace_scale: float | Tensor | Mapping[Any, float] = 1.0,
        cadc_time_shift: int = 1,
        shift_cadc_to_first: bool = False,
        interpolation_mode: str = "linear",
        neuron_structure: SingleCompartmentNeuron | None = None,
    ):
        super().__init__(
            size,
            experiment,
            func,
            params,
            enable_cadc_recording,
            enable_madc_recording,
            record_neuron_id,
            placement_constraint,
            trace_offset,
            trace_scale,
            cadc_time_shift,
            shift_cadc_to_first,
            interpolation_mode,
            neuron_structure,
        )
        self.output_handle = ReadoutNeuronHandle()


class InputNeuron(HXModule):
    """Spikes from outside the chip, as they are."""

    def __init__(self, size: int, experiment: Experiment):
        super().__init__(experiment, functional.input_neuron)
        (self.size,) = require_whole(1, size=size)
        self.output_handle = NeuronHandle()


class BatchDropout(HXModule):
    """Silences each neuron with probability `dropout` for a whole run, while training.

    The same for all samples and steps, and without rescaling. Raises TypeError behind anything but
    neurons that spike.
    """

    def __init__(self, size: int, dropout: float, experiment: Experiment):
        super().__init__(experiment, functional.batch_dropout)
        (self.size,) = require_whole(1, size=size)
        (self.dropout,) = require_between(0, 1, dropout=dropout)
        self.output_handle = NeuronHandle()
        self.mask = torch.ones(size)

    def prepare(self, sources: Sequence[HXModule | None]) -> None:
        source = sources[0]
        if len(sources) != 1 or not isinstance(source, Neuron):
            raise TypeError("BatchDropout: it stands behind a Neuron, whose spikes it silences")
        require(
            self.size == source.size,
            f"BatchDropout: size={self.size}, but it stands behind {source.size} neurons",
        )
        device = source.mask.device
        self.mask = torch.ones(self.size, device=device)
        if self.training:
            self.mask = (torch.rand(self.size, device=device) > self.dropout).float()
        source.mask = self.mask.bool()

    def arguments(self, inputs: list[Tensor]) -> tuple[Any, ...]:
        return inputs[0], self.mask.to(inputs[0])
