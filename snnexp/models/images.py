"""Synapses of images: convolution and pooling."""

from collections.abc import Sequence
from functools import reduce
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from snnexp.checks import require, require_whole
from snnexp.models.synapses import Synapse


class Conv2d(Synapse):
    """Convolution of an image, W [out, in / groups, height, width], as `torch.nn.Conv2d`.

    kernel_size, stride, padding (with zeros), dilation: in pixels, the same both ways.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
        dilation: int,
        groups: int,
    ):
        _require_image("Conv2d", input_shape)
        require_whole(
            1,
            channels=channels,
            kernel_size=kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
        )
        require_whole(0, padding=padding)
        incoming, *sides = input_shape
        require(
            incoming % groups == 0 and channels % groups == 0,
            f"groups: {groups}; it must divide the {incoming} channels before and the {channels} "
            "behind",
        )
        reach = dilation * (kernel_size - 1) + 1
        outgoing = [(side + 2 * padding - reach) // stride + 1 for side in sides]
        super().__init__(input_shape, (channels, *outgoing))
        self.kernel_size, self.groups = kernel_size, groups
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = nn.Parameter(
            torch.zeros(channels, incoming // groups, kernel_size, kernel_size)
        )

    def transform(self, values: Tensor, weight: Tensor | None) -> Tensor:
        assert weight is not None
        if weight.shape[1:] == values.shape[1:] and self.padding == 0:  # one pixel behind, of all
            return functional.linear(values.flatten(1), weight.flatten(1))[..., None, None]
        return functional.conv2d(
            values, weight, None, self.stride, self.padding, self.dilation, self.groups
        )

    def absorbs(self, behind: Synapse) -> bool:
        if not isinstance(behind, _Pool2d) or (self.stride, self.dilation) != (1, 1):
            return False
        apart = prod(self.output_shape) * self.kernel_size**2
        return prod(behind.output_shape) * (self.kernel_size + behind.kernel_size - 1) ** 2 < apart

    def transform_both(self, values: Tensor, weight: Tensor, behind: Synapse) -> Tensor:
        """One convolution every `behind.stride` pixels, with the pooled copies of its kernel.

        With kernels of 5 x 5 and pools of 2 x 2 it takes 0.36 of the products, and the current of
        every pixel, a network's largest tensor, is never made.
        """
        assert isinstance(behind, _Pool2d)
        border = behind.kernel_size - 1
        copies = functional.pad(weight, (border, border, border, border))
        kernel = functional.avg_pool2d(
            copies, behind.kernel_size, 1, divisor_override=behind.factor
        )
        return functional.conv2d(
            values, kernel, None, behind.stride, self.padding, groups=self.groups
        )


class _Pool2d(Synapse):
    """Pooling over squares of `kernel_size` pixels every `stride` pixels; what is left over is cut.

    On spikes, before the weights, or on their current, behind them.
    """

    def __init__(self, *, input_shape: Sequence[int], kernel_size: int, stride: int):
        _require_image(type(self).__name__, input_shape)
        require_whole(1, kernel_size=kernel_size, stride=stride)
        outgoing = [(side - kernel_size) // stride + 1 for side in input_shape[1:]]
        super().__init__(input_shape, (input_shape[0], *outgoing))
        self.kernel_size, self.stride, self.weight = kernel_size, stride, None

    def transform(self, values: Tensor, weight: Tensor | None) -> Tensor:
        sums = self.sums(values)
        return sums if self.factor == 1 else sums / self.factor

    def sums(self, values: Tensor) -> Tensor:
        """Of every window, first along rows, then along columns: 8 times as fast as torch's."""
        for axis in (2, 3):
            values = reduce(torch.add, self._parts(values, axis))
        return values

    def _parts(self, values: Tensor, axis: int) -> Sequence[Tensor]:
        """What is first in the windows, what is second, and so on."""
        windows, size, stride = self.output_shape[axis - 1], self.kernel_size, self.stride
        if size == stride and values.shape[axis] == windows * size:
            # backwards one stack, where each slice is a tensor of zeros first
            return values.unflatten(axis, (windows, size)).unbind(axis + 1)
        length = (windows - 1) * stride + 1
        step = [slice(None)] * axis + [slice(None, None, stride)]
        return [values.narrow(axis, start, length)[tuple(step)] for start in range(size)]


class SumPool2d(_Pool2d):
    """The sum: of spikes it is a count, so that every spike keeps its weight."""


class AvgPool2d(_Pool2d):
    """The mean: of spikes it is no longer a whole number."""

    analog = True

    @property
    def factor(self) -> int:  # type: ignore[override]
        return self.kernel_size**2


def _require_image(name: str, shape: Sequence[int]) -> None:
    require(
        len(shape) == 3,
        f"input_shape: {tuple(shape)}, but {name} takes an image (channel, height, width); choose "
        "a data set of images, such as dataset=mnist, without a bias channel or a Flatten before",
    )
