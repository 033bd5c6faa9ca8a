"""Synapses: what turns a layer's input into its neurons' current.

A synapse is linear and knows the shapes of a step of a sample, (channel,) or (channel, height,
width), on both sides; between layers everything is flat, [time, batch, channel], in that order.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from snnexp.checks import require, require_whole
from snnexp.inputs import Current, Inputs, Static, Train


class Synapse(nn.Module):
    """A linear map from `input_shape` to `output_shape`, without a bias.

    weight: its only parameter; None for pooling and `Flatten`.
    factor: by how much `fanout` multiplies what passed this part, see `docs/synops.md`.
    """

    weight: nn.Parameter | None
    factor = 1
    analog = False
    """Whether spikes that passed are no longer whole numbers."""
    direct = True
    """Whether what comes in reaches the weights as it is."""
    reach = 0
    """Steps of the past that it hears; they precede what it is given."""
    seconds: Tensor | None = None
    """Delays of its connections in s, [neuron, channel], if it has any."""
    _copied: Tensor | None = None

    def __init__(self, input_shape: Sequence[int], output_shape: Sequence[int]):
        super().__init__()
        self.input_shape, self.output_shape = tuple(input_shape), tuple(output_shape)
        require(
            all(size >= 1 for size in self.output_shape),
            f"kernel_size: of an input of shape {self.input_shape} {type(self).__name__} leaves "
            f"{self.output_shape}; lower it, or raise padding or the input's size",
        )

    @property
    def core(self) -> "Synapse":
        """The part that has the weights."""
        return self

    def transform(self, values: Tensor, weight: Tensor | None) -> Tensor:
        """[sample, *input_shape] to [sample, *output_shape]; samples may be of any step."""
        raise NotImplementedError

    def absorbs(self, behind: "Synapse") -> bool:
        """Whether `transform_both` does the work of this part and the one behind it, in less."""
        return False

    def transform_both(self, values: Tensor, weight: Tensor, behind: "Synapse") -> Tensor:
        """Both transforms, this part's first."""
        raise NotImplementedError

    def arriving(self, values: Tensor) -> Tensor:
        """Of flat values [sample, channel], what reaches the weights, flat too."""
        return values

    def proceed(self, done: float) -> None:
        """Called before each epoch of training, with the share of the run that is done."""

    def forward(self, inputs: Inputs | Train, weight: Tensor) -> Current:
        """The current that `inputs` causes through `weight`, the one that the backend holds.

        Time and batch are merged; static values pass once, and their one step stands for all.
        """
        flow = inputs.values[None] if isinstance(inputs, Static) else inputs.dense()
        merged = flow.reshape(-1, *self.input_shape)
        return self.transform(merged, weight).reshape(*flow.shape[:2], -1)

    def connections(self, weight: Tensor) -> Float[Tensor, " channel"]:
        """To how many neurons each flat input of this part leads, through weights of 0 and 1."""
        with torch.inference_mode(False), torch.enable_grad():
            ones = torch.ones(1, *self.input_shape, dtype=torch.double, requires_grad=True)
            total = self.transform(ones, weight.detach().cpu().double().clone()).sum()
            return torch.autograd.grad(total, ones)[0].flatten()

    @cached_property
    def fanout(self) -> Float[Tensor, " channel"]:
        """Connections that leave each flat input, whatever their weights (sinabs).

        Through pooling of spikes, whose average counts as their sum; not through pooling of
        currents, which is no connection.
        """
        assert self.core.weight is not None
        return self.connections(torch.ones_like(self.core.weight))

    def fanout_like(self, counts: Tensor) -> Float[Tensor, " channel"]:
        """`fanout` in the memory and precision of `counts`, copied there once."""
        known = self._copied
        if known is None or (known.device, known.dtype) != (counts.device, counts.dtype):
            with torch.inference_mode(False):  # it outlives an evaluation that asks first
                self._copied = known = self.fanout.to(counts)
        return known

    @cached_property
    def even_fanout(self) -> float | None:
        """The `fanout` of each input, where all have the same."""
        low, high = self.fanout.aminmax()
        return float(low) if low == high else None


class Linear(Synapse):
    """Dense connections: x(t) = W z(t), W [neuron, channel]."""

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int):
        require(
            len(input_shape) == 1,
            f"input_shape: {tuple(input_shape)}, but Linear takes channels; put a Flatten before",
        )
        require_whole(1, num_outputs=num_outputs)
        super().__init__(input_shape, (num_outputs,))
        self.weight = nn.Parameter(torch.zeros(num_outputs, input_shape[0]))

    def transform(self, values: Tensor, weight: Tensor | None) -> Tensor:
        assert weight is not None
        return functional.linear(values, weight)

    def forward(self, inputs: Inputs | Train, weight: Float[Tensor, "neuron channel"]) -> Current:
        return inputs.project(weight)


class Flatten(Synapse):
    """An image [channel, height, width] as channels."""

    def __init__(self, *, input_shape: Sequence[int]):
        super().__init__(input_shape, (prod(input_shape),))
        self.weight = None

    def transform(self, values: Tensor, weight: Tensor | None) -> Tensor:
        return values.flatten(1)


class Chain(Synapse):
    """Parts in the order of the flow, of which one has weights.

    parts: factories by name that take `input_shape`. Parts before the weights act on spikes, those
    behind on the current.
    """

    def __init__(self, *, input_shape: Sequence[int], parts: Mapping[str, Callable[..., Synapse]]):
        made: dict[str, Synapse] = {}
        shape = tuple(input_shape)
        for name, part in parts.items():
            require_free(name)
            made[name] = part(input_shape=shape)
            shape = made[name].output_shape
        weighted = [index for index, part in enumerate(made.values()) if part.weight is not None]
        require(
            len(weighted) == 1,
            f"hidden: a layer of {', '.join(made) or 'no part'} has {len(weighted)} parts with "
            "weights; give it one, such as Conv2d or Linear",
        )
        require(
            not any(part.reach for part in made.values()),
            f"hidden: {', '.join(made)}: a synapse with delays stands alone; use model/delays",
        )
        super().__init__(input_shape, shape)
        self.parts = cast(Mapping[str, Synapse], nn.ModuleDict(made))
        (self.place,) = weighted

    @property
    def core(self) -> Synapse:
        return list(self.parts.values())[self.place]

    @property
    def before(self) -> list[Synapse]:
        """The parts that act on spikes."""
        return list(self.parts.values())[: self.place]

    @property
    def weight(self) -> nn.Parameter:  # type: ignore[override]
        weight = self.core.weight
        assert weight is not None
        return weight

    @property
    def factor(self) -> int:  # type: ignore[override]
        return prod(part.factor for part in self.before)

    @property
    def analog(self) -> bool:  # type: ignore[override]
        return any(part.analog for part in self.before)

    @property
    def direct(self) -> bool:  # type: ignore[override]
        return all(isinstance(part, Flatten) for part in self.before)

    def transform(self, values: Tensor, weight: Tensor | None) -> Tensor:
        assert weight is not None
        for part in self.before:
            values = part.transform(values, None)
        core, behind = self.core, list(self.parts.values())[self.place + 1 :]
        if behind and core.absorbs(behind[0]):
            values = core.transform_both(values, weight, behind.pop(0))
        else:
            values = core.transform(values, weight)
        for part in behind:
            values = part.transform(values, None)
        return values

    def arriving(self, values: Tensor) -> Tensor:
        values = values.reshape(-1, *self.input_shape)
        for part in self.before:
            values = part.transform(values, None)
        return values.flatten(1)

    def forward(self, inputs: Inputs | Train, weight: Tensor) -> Current:
        if isinstance(self.core, Linear) and self.direct and self.place == len(self.parts) - 1:
            return self.core(inputs, weight)  # flat already; packed spikes need not be unpacked
        return super().forward(inputs, weight)

    @cached_property
    def fanout(self) -> Float[Tensor, " channel"]:
        reached = self.core.fanout.view(1, *self.core.input_shape)
        with torch.inference_mode(False), torch.enable_grad():
            flow = ones = torch.ones(1, *self.input_shape, dtype=torch.double, requires_grad=True)
            for part in self.before:
                flow = part.transform(flow, None)
            total = (flow * reached).sum() * self.factor
            exact = torch.autograd.grad(total, ones)[0].flatten()
        return exact.round()  # a third of three need not be one


def is_free(name: str) -> bool:
    """Whether torch's containers can take this name."""
    return not hasattr(nn.ModuleDict, name) and "." not in name and bool(name)


def require_free(name: str) -> None:
    """Refuse names that torch's containers cannot take."""
    require(is_free(name), f"{name}: a layer or part cannot have this name; choose another")
