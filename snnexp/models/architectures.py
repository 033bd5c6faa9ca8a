"""Networks whose layers differ: deep ones of one width, and convolutional ones."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import nn

from snnexp.checks import require, require_whole
from snnexp.models.delays import Delay
from snnexp.models.initializers import Initializer, LayerInitializer
from snnexp.models.layer import Backend
from snnexp.models.network import Network
from snnexp.models.neuron import Neuron
from snnexp.models.synapses import Chain, Flatten, Linear, Synapse, require_free


class DeepNetwork(Network):
    """`depth` hidden layers of `width` neurons; the first may have neurons of another kind."""

    def __init__(
        self,
        *,
        num_inputs: int,
        num_outputs: int,
        dt: float,
        backend: Backend,
        depth: int,
        width: int,
        neuron: Callable[..., Neuron],
        deep_neuron: Callable[..., Neuron],
        readout: Callable[..., Neuron],
        init: Initializer | LayerInitializer,
        delays: Callable[..., Delay] | None = None,
        norm: Callable[..., nn.Module] | None = None,
        dropout: float = 0.0,
        synapse: Callable[..., Synapse] | None = None,
    ):
        require_whole(1, depth=depth, width=width)
        connect = partial(synapse, dt=dt) if synapse is not None else Linear
        hidden = {
            f"hidden{index}": (
                partial(connect, num_outputs=width),
                neuron if index == 1 else deep_neuron,
            )
            for index in range(1, depth + 1)
        }
        out = (partial(connect, num_outputs=num_outputs), readout)
        self._build((num_inputs,), hidden, out, dt, backend, init, delays, norm, dropout)


class ConvNetwork(Network):
    """Convolutional layers and a readout that is connected to all of the last one's neurons.

    input_shape: of an image, (channel, height, width). hidden: of each hidden layer its synapse's
    parts by name, factories in the order of the flow: pooling before the weights acts on spikes,
    pooling behind them on the current. All hidden neurons are of one kind. norm: None, since
    currents of images are not normalized yet.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        dt: float,
        backend: Backend,
        hidden: Mapping[str, Mapping[str, Callable[..., Synapse]]],
        neuron: Callable[..., Neuron],
        readout: Callable[..., Neuron],
        init: Initializer | LayerInitializer,
        delays: Callable[..., Delay] | None = None,
        norm: Callable[..., nn.Module] | None = None,
        dropout: float = 0.0,
    ):
        require(
            norm is None,
            "norm: each neuron's own, where images want one of each channel; set model.norm=null",
        )
        require(len(hidden) > 0, "hidden: {}; give at least one layer")
        require("readout" not in hidden, "hidden.readout: the readout is always there; rename it")
        for name in hidden:
            require_free(name)
        layers = {name: (partial(Chain, parts=parts), neuron) for name, parts in hidden.items()}
        out = (partial(_dense, num_outputs=num_outputs), readout)
        self._build(input_shape, layers, out, dt, backend, init, delays, None, dropout)


def _dense(*, input_shape: Sequence[int], num_outputs: int) -> Synapse:
    """All to all, from an image or from channels."""
    linear = partial(Linear, num_outputs=num_outputs)
    if len(input_shape) == 1:
        return linear(input_shape=input_shape)
    return Chain(input_shape=input_shape, parts={"flatten": Flatten, "linear": linear})
