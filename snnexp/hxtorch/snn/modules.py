"""Synapses and neurons of an experiment: a call notes what they hear of, a run computes."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnexp.checks import require, require_between, require_choice, require_whole
from snnexp.hxtorch.halco import LogicalNeuronOnDLS
from snnexp.hxtorch.snn import functional
from snnexp.hxtorch.snn.experiment import Experiment
from snnexp.hxtorch.snn.handles import Handle, NeuronHandle, ReadoutNeuronHandle, SynapseHandle
from snnexp.hxtorch.snn.morphology import SingleCompartmentNeuron
from snnexp.hxtorch.snn.transforms.weight_transforms import linear_saturating

Function = Callable[..., Any]


class HXModule(nn.Module):
    """What `func` makes of the inputs goes into `output_handle`, the same one at each call.

    func: a function or an autograd.Function of the input tensors; it gets `params`, `dt` and
    `hw_data` if it has arguments of those names.
    """

    output_handle: Handle
    params: Any = None

    def __init__(self, experiment: Experiment, func: Function | type[torch.autograd.Function]):
        super().__init__()
        self.experiment, self.func = experiment, func

    def forward(self, *input: Handle) -> Any:
        """Note the call; the handle is filled by `run`."""
        for handle in input:
            if not isinstance(handle, Handle):
                raise TypeError(
                    f"{type(self).__name__}: it takes handles, not {type(handle).__name__}; put "
                    "spikes into a NeuronHandle"
                )
        self.experiment.connect(self, input)
        return self.output_handle

    def prepare(self, sources: Sequence["HXModule | None"]) -> None:
        """What comes before a run; sources: the modules that made the inputs."""

    def arguments(self, inputs: list[Tensor]) -> tuple[Any, ...]:
        """What `func` gets in order; several projections onto a neuron add up."""
        return (sum(inputs[1:], inputs[0]),)

    def apply_function(self, inputs: list[Tensor], hw_data: Any) -> tuple[Tensor, ...]:
        """The outputs of `func`, in the order of the handle."""
        func = self.func
        given = {"params": self.params, "hw_data": hw_data, "dt": self.experiment.dt}
        if isinstance(func, type) and issubclass(func, torch.autograd.Function):
            names = inspect.signature(func.forward).parameters
            outputs = func.apply(*self.arguments(inputs), *[given[n] for n in names if n in given])
        else:
            names = _names(func)
            chosen = {name: value for name, value in given.items() if name in names}
            outputs = func(*self.arguments(inputs), **chosen)
        return outputs if isinstance(outputs, tuple) else (outputs,)


def _names(func: Function) -> Iterable[str]:
    """The names of its arguments; of one that is not written in Python none is known."""
    try:
        return inspect.signature(func).parameters
    except ValueError:
        return ()


class Synapse(HXModule):
    """Dense connections, `weight` [out_features, in_features], without a bias.

    transform: of the weight on its way to the chip, to LSB; the model runs the weight itself.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        experiment: Experiment,
        func: Function = functional.linear,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        transform: Callable[[Tensor], Tensor] = linear_saturating,
    ):
        super().__init__(experiment, func)
        self.in_features, self.out_features = require_whole(
            1, in_features=in_features, out_features=out_features
        )
        self.transform = transform
        empty = torch.empty(out_features, in_features, device=device, dtype=dtype)
        self.weight = nn.Parameter(empty)
        self.output_handle = SynapseHandle()
        self.reset_parameters(1e-3, in_features**-0.5)

    def reset_parameters(self, mean: float, std: float) -> None:
        """Draw the weight from N(mean, std)."""
        nn.init.normal_(self.weight, mean, std)

    def prepare(self, sources: Sequence[HXModule | None]) -> None:
        require(len(sources) == 1, "Synapse: it connects one population; use one for each")

    def arguments(self, inputs: list[Tensor]) -> tuple[Any, ...]:
        return inputs[0], self.weight, None


class _Population(HXModule):
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

    def by_neuron(self, value: float | Tensor | Mapping[Any, float]) -> float | Tensor:
        """A trace's offset or scale as a number or [neuron]; of a mapping by placement."""
        if not isinstance(value, Mapping):
            return value
        require(
            self.placement_constraint is not None,
            "placement_constraint: None; trace_offset and trace_scale by place need it",
        )
        return torch.tensor([value[place] for place in self.placement_constraint or ()])


class Neuron(_Population):
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


class IAFNeuron(Neuron):
    """`Neuron` without a leak."""

    leaky = False


class ReadoutNeuron(_Population):
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
        (source,) = sources
        if not isinstance(source, Neuron):
            raise TypeError("BatchDropout: it stands behind a Neuron, whose spikes it silences")
        device = source.mask.device
        self.mask = torch.ones(self.size, device=device)
        if self.training:
            self.mask = (torch.rand(self.size, device=device) > self.dropout).float()
        source.mask = self.mask.bool()

    def arguments(self, inputs: list[Tensor]) -> tuple[Any, ...]:
        return inputs[0], self.mask.to(inputs[0])
