"""Modules of an experiment and its synapses: a call notes what they hear of, a run computes."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnexp.checks import require, require_whole
from snnexp.hxtorch.snn import functional
from snnexp.hxtorch.snn.experiment import Experiment
from snnexp.hxtorch.snn.handles import Handle, SynapseHandle
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

    def forward(self, *input: Any) -> Any:
        """Note the call on handles; the module's own is filled by `run`.

        Raises TypeError for anything but handles.
        """
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

    def recorded(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
        """What of the outputs the chip was told to record."""
        return outputs

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
