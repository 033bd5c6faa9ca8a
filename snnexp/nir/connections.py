"""What leads to neurons in a graph of NIR, as a synapse with its weights."""

from collections.abc import Sequence
from functools import partial

import nir
import numpy as np
import torch
from torch import Tensor

from snnexp.checks import require
from snnexp.models.images import AvgPool2d, Conv2d, SumPool2d
from snnexp.models.synapses import Chain, Flatten, Linear, Synapse
from snnexp.nir.chains import MATRICES, Named, Shape

WEIGHTS = (*MATRICES, nir.Conv2d)


def connections(path: Sequence[Named], shape: Shape) -> tuple[Synapse, np.ndarray]:
    """A synapse with its weights, and what its bias adds to each neuron's current."""
    parts: dict[str, Synapse] = {}
    added: Tensor | None = None
    flow = shape
    for name, node in path:
        try:
            part = _part(node, flow)
            bias = bias_of(node, part.output_shape)
        except ValueError as error:
            raise ValueError(f"file: {name}: {error}") from error
        if isinstance(node, WEIGHTS):
            assert part.weight is not None
            part.weight.data.copy_(torch.tensor(node.weight, dtype=torch.float32))
            rows = bias.reshape(-1, *[1] * (len(part.output_shape) - 1))
            added = rows.expand(part.output_shape)[None]
        elif added is not None:
            added = part.transform(added, None)
        parts[f"{type(node).__name__.lower()}{len(parts) or ''}"] = part
        flow = part.output_shape
    assert added is not None
    synapse = next(iter(parts.values()))
    if len(parts) > 1 or not isinstance(synapse, Linear):
        made = {name: partial(_given, part) for name, part in parts.items()}
        synapse = Chain(input_shape=shape, parts=made)
    return synapse, added.flatten().numpy()


def bias_of(node: nir.NIRNode, output_shape: Shape) -> Tensor:
    """That of a node of weights, by output or channel, 0 if it has none; all must be finite."""
    bias = np.ravel(getattr(node, "bias", 0.0))
    for what, values in (("weights", getattr(node, "weight", 0.0)), ("bias", bias)):
        require(bool(np.isfinite(values).all()), f"its {what} must be finite numbers")
    fits = bias.size in (1, output_shape[0])
    require(fits, f"a bias of {bias.size} values for {output_shape[0]} outputs")
    return torch.tensor(bias, dtype=torch.float64)


def _given(part: Synapse, input_shape: Sequence[int]) -> Synapse:
    return part


def _part(node: nir.NIRNode, shape: Shape) -> Synapse:
    """Raises ValueError for nodes of other kinds and for other shapes."""
    if isinstance(node, MATRICES):
        fits = node.weight.ndim == 2 and shape == node.weight.shape[1:]
        require(fits, f"weights of {node.weight.shape} for an input of {shape}")
        return Linear(input_shape=shape, num_outputs=node.weight.shape[0])
    if isinstance(node, nir.Flatten):
        whole = node.end_dim in (-1, len(shape) - 1) and node.start_dim in (0, 1)
        require(whole, f"flattens axes {node.start_dim} to {node.end_dim} of {shape}, not all")
        return Flatten(input_shape=shape)
    if isinstance(node, nir.AvgPool2d | nir.SumPool2d):
        require(not np.any(node.padding), f"padding {node.padding}; pooling has none here")
        size, stride = _square(kernel_size=node.kernel_size), _square(stride=node.stride)
        kind = AvgPool2d if isinstance(node, nir.AvgPool2d) else SumPool2d
        return kind(input_shape=shape, kernel_size=size, stride=stride)
    if isinstance(node, nir.Conv2d):
        return _convolution(node, shape)
    raise ValueError(
        f"nodes of {type(node).__name__} are not read here; there may be weights (Linear, Affine, "
        "Conv2d), Flatten, SumPool2d and AvgPool2d, with a Delay before them all"
    )


def _convolution(node: nir.Conv2d, shape: Shape) -> Conv2d:
    size = _square(kernel_size=node.weight.shape[2:])
    stride, dilation = _square(stride=node.stride), _square(dilation=node.dilation)
    if isinstance(node.padding, str | bytes):
        is_same = node.padding in ("same", b"same")
        reach = dilation * (size - 1)
        require(not is_same or reach % 2 == 0, f"padding 'same' of a kernel of {size} is lopsided")
        padding = reach // 2 if is_same else 0
    else:
        padding = _square(padding=node.padding)
    made = Conv2d(
        input_shape=shape,
        channels=node.weight.shape[0],
        kernel_size=size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=int(node.groups),
    )
    assert made.weight is not None
    fits = made.weight.shape == node.weight.shape
    require(fits, f"weights of {node.weight.shape} for an input of {shape}")
    return made


def _square(**sizes: object) -> int:
    """The size that is the same both ways."""
    ((name, size),) = sizes.items()
    both = {int(one) for one in np.ravel(size)}  # type: ignore[arg-type]
    require(len(both) == 1, f"{name} {size}; it must be the same both ways")
    return both.pop()
