"""Neurons and networks for tests: keyword arguments that a test does not name, stated once."""

from functools import partial

import torch

from snnexp.backends import Ideal
from snnexp.models import (
    IAF,
    LI,
    LIF,
    Conv2d,
    ConvNetwork,
    CubaLI,
    CubaLIF,
    Network,
    Normal,
    SuperSpike,
)

lif = partial(
    LIF,
    dt=1e-3,
    beta=0.9,
    threshold=1.0,
    reset="subtract",
    reset_delay=False,
    detach_reset=True,
    spike_from="after",
    strict=True,
    recurrent=False,
    surrogate=SuperSpike(slope=5.0),
)
iaf = partial(
    IAF,
    dt=1e-3,
    threshold=0.6,
    multiple=False,
    detach_reset=False,
    recurrent=False,
    surrogate=SuperSpike(slope=5.0),
)
li = partial(LI, dt=1e-3, beta=0.9, normalized=False)
cuba_li = partial(
    CubaLI, dt=2e-6, tau_mem=6e-6, tau_syn=6e-6, leak=0.0, normalized=True, method="exponential"
)
cuba_lif = partial(
    CubaLIF,
    **cuba_li.keywords,
    tau_ref=0.0,
    threshold=1.0,
    reset=0.0,
    gradient="surrogate",
    detach_reset=True,
    recurrent=False,
    surrogate=SuperSpike(slope=5.0),
)


def ideal(kernel="reference"):
    return Ideal(device="cpu", precision="32-true", devices=1, kernel=kernel, checkpoint_every=None)


def network(sizes, neuron=lif, readout=li, std=3.0, kernel="reference"):
    """A network of `sizes`, input and output with them, whose weights are always the same."""
    torch.manual_seed(0)
    return Network(
        num_inputs=sizes[0],
        num_outputs=sizes[-1],
        dt=neuron.keywords["dt"],
        backend=ideal(kernel),
        hidden_sizes=list(sizes[1:-1]),
        neuron=neuron,
        readout=readout,
        init=Normal(mean=2.0, std=std, fan_in_scaled=True),
    )


def conv_network(shape, hidden, neuron=lif, readout=li, num_outputs=3, kernel="reference"):
    """A convolutional network of images of `shape`, whose weights are always the same."""
    torch.manual_seed(0)
    return ConvNetwork(
        input_shape=shape,
        num_outputs=num_outputs,
        dt=neuron.keywords["dt"],
        backend=ideal(kernel),
        hidden=hidden,
        neuron=neuron,
        readout=readout,
        init=Normal(mean=2.0, std=3.0, fan_in_scaled=True),
    )


def scan(neuron, current, recurrent=None, state=None):
    """Every record of a neuron under a current [time] or [time, batch, neuron], in float64."""
    current = torch.as_tensor(current, dtype=torch.float64)
    if current.ndim == 1:
        current = current[:, None, None]
    return neuron.scan(current, recurrent, state, True, True)


def conv(channels=6, kernel_size=3, stride=1, padding=0, dilation=1, groups=1):
    return partial(
        Conv2d,
        channels=channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
