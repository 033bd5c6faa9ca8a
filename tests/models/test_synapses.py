"""Synapses of images against torch's own layers, and what is refused."""

import re
from functools import partial

import pytest
import torch
from torch import nn

from snnexp.inputs import Dense, Static
from snnexp.models import AvgPool2d, Chain, Flatten, Linear, SumPool2d
from tests.models.made import conv, conv_network, iaf, lif, network

SHAPE = (4, 9, 8)


def spikes(steps=3, batch=2):
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(steps, batch, 4 * 9 * 8, generator=generator) < 0.2).float()


@pytest.mark.parametrize(
    "settings",
    [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2}, {"groups": 2}],
    ids=["plain", "strided", "dilated", "grouped"],
)
def test_a_convolution_is_torchs_in_every_step(settings):
    theirs = nn.Conv2d(4, 6, 3, bias=False, **settings)
    ours = conv(**settings)(input_shape=SHAPE)
    current = ours(Dense(spikes()), theirs.weight)
    for step, row in enumerate(spikes()):
        torch.testing.assert_close(current[step], theirs(row.view(2, *SHAPE)).flatten(1))
    assert ours.output_shape == theirs(torch.zeros(1, *SHAPE)).shape[1:]
    assert ours.weight.shape == theirs.weight.shape


def test_a_kernel_as_large_as_the_image_is_torchs():
    """It has one pixel to go to, for which a product of matrices is taken."""
    theirs = nn.Conv2d(4, 6, 3, bias=False)
    images = torch.rand(5, 4, 3, 3)
    ours = conv()(input_shape=(4, 3, 3))
    torch.testing.assert_close(ours.transform(images, theirs.weight), theirs(images))
    assert ours.output_shape == (6, 1, 1)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 1), (3, 3), (4, 2)])
def test_pooling_is_torchs(size, stride):
    images = spikes().view(6, *SHAPE)
    expected = nn.AvgPool2d(size, stride)(images)
    mean = AvgPool2d(input_shape=SHAPE, kernel_size=size, stride=stride)
    total = SumPool2d(input_shape=SHAPE, kernel_size=size, stride=stride)
    torch.testing.assert_close(mean.transform(images, None), expected)
    torch.testing.assert_close(total.transform(images, None), expected * size**2)
    assert mean.output_shape == expected.shape[1:]


def test_a_chain_runs_its_parts_in_turn():
    """Pooling of spikes, convolution, pooling of the current."""
    pool = partial(SumPool2d, kernel_size=2, stride=2)
    chain = Chain(input_shape=SHAPE, parts={"a": pool, "b": conv(), "c": pool})
    weight = torch.rand(chain.weight.shape)
    images = spikes().view(6, *SHAPE)
    pooled = 4 * nn.functional.avg_pool2d(images, 2)
    expected = 4 * nn.functional.avg_pool2d(nn.functional.conv2d(pooled, weight), 2)
    current = chain(Dense(spikes()), weight)
    torch.testing.assert_close(current, expected.reshape(3, 2, -1))
    assert chain.output_shape == (6, 1, 1)


@pytest.mark.parametrize("pool", [SumPool2d, AvgPool2d])
@pytest.mark.parametrize(
    ("settings", "size", "stride", "at_once"),
    [
        ({}, 2, 2, True),
        ({"padding": 1, "groups": 2}, 2, 2, True),
        ({"kernel_size": 2, "padding": 1}, 3, 2, True),  # pools that overlap, and cut the last row
        ({}, 2, 1, False),
        ({"kernel_size": 1}, 3, 2, False),
        ({"stride": 2, "padding": 2}, 2, 2, False),
        ({"dilation": 2}, 2, 2, False),
    ],
)
def test_a_pooled_convolution_is_both_in_turn(pool, settings, size, stride, at_once):
    """The current and the gradients, by one convolution where that takes fewer products."""
    parts = {"conv": conv(**settings), "pool": partial(pool, kernel_size=size, stride=stride)}
    chain = Chain(input_shape=SHAPE, parts=parts)
    first, second = chain.parts.values()
    assert first.absorbs(second) == at_once
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, *SHAPE, generator=generator, dtype=torch.double, requires_grad=True)
    shape = chain.weight.shape
    weight = torch.rand(shape, generator=generator, dtype=torch.double, requires_grad=True)
    current = chain.transform(images, weight)
    expected = second.transform(first.transform(images, weight), None)
    torch.testing.assert_close(current, expected)
    assert current.shape[1:] == chain.output_shape
    cotangent = torch.rand(current.shape, generator=generator, dtype=torch.double)
    found = torch.autograd.grad(current, (images, weight), cotangent)
    for ours, theirs in zip(
        found, torch.autograd.grad(expected, (images, weight), cotangent), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_static_image_is_convolved_once():
    synapse = conv()(input_shape=SHAPE)
    weight = torch.rand(synapse.weight.shape)
    values = torch.rand(2, 288)
    once = synapse(Static(values, 5), weight)
    assert once.shape[0] == 1
    torch.testing.assert_close(once[0], synapse(Dense(values[None]), weight)[0])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"conv": conv(kernel_size=10)}, "kernel_size: of an input of shape (4, 9, 8)"),
        ({"conv": conv(groups=3)}, "groups: 3; it must divide the 4 channels before"),
        ({"full": partial(Linear, num_outputs=2)}, "input_shape: (4, 9, 8), but Linear takes"),
        ({"flat": Flatten, "conv": conv()}, "input_shape: (288,), but Conv2d takes an image"),
        ({"flat": Flatten}, "hidden: a layer of flat has 0 parts with weights"),
        ({"a": conv(), "b": conv()}, "hidden: a layer of a, b has 2 parts with weights"),
        ({"to": conv()}, "to: a layer or part cannot have this name"),
    ],
)
def test_what_does_not_fit_is_refused(parts, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        conv_network(SHAPE, {"first": parts})


@pytest.mark.parametrize("neuron", [lif, iaf, partial(iaf, multiple=True)])
@pytest.mark.parametrize("kernel", ["torch", "auto"])
def test_kernels_agree_on_networks_of_images(kernel, neuron):
    """Values and gradients, with packed spikes between the layers or without."""
    pool = partial(SumPool2d, kernel_size=2, stride=2)
    hidden = {"a": {"conv": conv()}, "b": {"pool": pool, "conv": conv(4, 2)}}
    found = []
    for name in ("reference", kernel):
        net = conv_network(SHAPE, hidden, neuron, kernel=name)
        membrane = net(Dense(spikes(8)))[0].readout.membrane
        membrane.square().sum().backward()
        found.append([membrane, *(weight.grad for weight in net.weights().values())])
    assert found[0][1].any()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_1x1_image_is_a_dense_layer():
    """Of 5 channels to 6: the same membranes as of the dense network with the same weights."""
    net = conv_network((5, 1, 1), {"a": {"conv": conv(kernel_size=1)}})
    same = network((5, 6, 3))
    for one, other in zip(net.weights().values(), same.weights().values(), strict=True):
        other.data.copy_(one.data.view(other.shape))
    inputs = Dense((torch.rand(9, 2, 5) < 0.4).float())
    membranes = [one(inputs)[0].readout.membrane for one in (net, same)]
    assert membranes[0].any()
    torch.testing.assert_close(*membranes)


def test_fanouts_are_even_where_every_input_leads_to_as_many_neurons():
    """A convolution without padding reaches inputs at the edge less often."""
    assert Linear(input_shape=(5,), num_outputs=7).even_fanout == 7
    assert conv()(input_shape=SHAPE).even_fanout is None
