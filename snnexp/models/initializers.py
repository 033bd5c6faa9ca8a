"""Initial weights, one draw a layer; `layer` counts from 0 at the input, to the readout."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from snnexp.checks import require, require_positive
from snnexp.models.layer import Layer


@runtime_checkable
class Initializer(Protocol):
    """Draws a layer's weights in place; `layer` counts from 0 at the input."""

    def fill(
        self, weight: Tensor, layer: int, num_layers: int, recurrent: bool = False
    ) -> None: ...


@runtime_checkable
class LayerInitializer(Protocol):
    """Draws all of a layer's weights, with its neurons in view; `index` counts from the input."""

    def fill_layer(self, layer: Layer, index: int) -> None: ...


def draw(layer: Layer, init: Initializer | LayerInitializer, index: int, layers: int) -> None:
    """The initial weights of layer number `index` of so many."""
    recurrent = layer.neuron.recurrent
    if isinstance(init, LayerInitializer):
        init.fill_layer(layer, index)
    else:
        init.fill(layer.weight, index, layers)
        if recurrent is not None:
            init.fill(recurrent, index, layers, recurrent=True)
    if recurrent is not None and not layer.neuron.autapses:
        recurrent.data.fill_diagonal_(0)


class Normal:
    """w ~ N(mean, std); `mean` and `std` are numbers, or lists.

    A list has an entry a layer, or three: of the first layer, of the other hidden layers, of the
    readout. Recurrent weights have their layer's std and mean 0.
    fan_in_scaled: the mean is divided by the number of inputs and the standard deviation by its
    root, so that the summed input keeps its size whatever the width.
    """

    def __init__(
        self, *, mean: float | Sequence[float], std: float | Sequence[float], fan_in_scaled: bool
    ):
        self.mean, self.std, self.fan_in_scaled = mean, std, fan_in_scaled
        for value in std if isinstance(std, Sequence) else [std]:
            require(value >= 0, f"std: {value!r}; it must not be negative")

    def fill(self, weight: Tensor, layer: int, num_layers: int, recurrent: bool = False) -> None:
        """Draw `weight` [neuron, input, ...] of the given layer in place."""
        mean, std = (self._of_layer(name, layer, num_layers) for name in ("mean", "std"))
        mean = 0.0 if recurrent else mean
        if self.fan_in_scaled:
            inputs = weight[0].numel()
            mean, std = mean / inputs, std / inputs**0.5
        with torch.no_grad():
            weight.normal_(mean, std)

    def _of_layer(self, name: str, layer: int, num_layers: int) -> float:
        value = getattr(self, name)
        if not isinstance(value, Sequence):
            return float(value)
        require(
            len(value) in (3, num_layers),
            f"init.{name}: {len(value)} entries for {num_layers} layers; give one number, an entry "
            "a layer, or three: of the first, of the other hidden layers, of the readout",
        )
        if len(value) == num_layers:
            return float(value[layer])
        return float(value[0 if layer == 0 else 2 if layer == num_layers - 1 else 1])


class Orthogonal:
    """w ~ U(-b, b) with b = gain / sqrt(inputs); recurrent weights are an orthogonal matrix.

    That times `recurrent_gain` (Saxe, McClelland & Ganguli 2014).
    """

    def __init__(self, *, gain: float, recurrent_gain: float):
        self.gain, self.recurrent_gain = require_positive(gain=gain, recurrent_gain=recurrent_gain)

    def fill(self, weight: Tensor, layer: int, num_layers: int, recurrent: bool = False) -> None:
        """Draw `weight` [neuron, input, ...] in place, alike in all layers."""
        if recurrent:
            nn.init.orthogonal_(weight, self.recurrent_gain)
        else:
            bound = self.gain / weight[0].numel() ** 0.5
            nn.init.uniform_(weight, -bound, bound)


class Kaiming:
    """w ~ U(-b, b) with b = gain sqrt(3 / inputs), after He et al. 2015.

    gain 1 / sqrt(3) is the default of torch's Linear layer.
    """

    def __init__(self, *, gain: float):
        (self.gain,) = require_positive(gain=gain)

    def fill(self, weight: Tensor, layer: int, num_layers: int, recurrent: bool = False) -> None:
        """Draw `weight` [neuron, input, ...] in place, alike in all layers."""
        bound = self.gain * (3 / weight[0].numel()) ** 0.5
        nn.init.uniform_(weight, -bound, bound)
