"""Decoders on a trace made by hand."""

import math

import pytest
import torch

from snnexp import decoders
from snnexp.activity import Activity, LayerActivity
from snnexp.inputs import Dense, Static

TRACE = [[1.0, 4.0], [3.0, 0.0], [2.0, -1.0]]
SPIKES = [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
SURE = 1 / (1 + math.exp(-3))  # softmax of a lead of 3, which each step has

EXPECTED = {
    "MaxOverTime": [3, 4],
    "SmoothMax": [math.log2(14 / 3), math.log2(17.5 / 3)],  # means of 2^v
    "Last": [2, -1],
    "Mean": [2, 1],
    "SumOverTime": [6, 3],
    "SumOfSoftmax": [1 - SURE + 2 * SURE, SURE + 2 * (1 - SURE)],
    "SpikeCount": [2, 0],
}
OWN = {"SmoothMax": {"sharpness": math.log(2)}}
GRADIENT_OF_FIRST = {  # of the first class' score with respect to its trace
    "MaxOverTime": [0, 1, 0],
    "SmoothMax": [2 / 14, 8 / 14, 4 / 14],
    "Last": [0, 0, 1],
    "Mean": [1 / 3] * 3,
    "SumOverTime": [1] * 3,
    "SumOfSoftmax": [SURE * (1 - SURE)] * 3,
    "SpikeCount": [1] * 3,
}


def activity(trace, spikes):
    train = None if spikes is None else Dense(spikes)
    layers = {"hidden1": LayerActivity(), "readout": LayerActivity(train, trace)}
    return Activity(Static(torch.ones(1, 1), 3), layers)


@pytest.mark.parametrize("scale_gradient", [True, False])
@pytest.mark.parametrize("scale", [1.0, 10.0])
@pytest.mark.parametrize("name", EXPECTED)
def test_scores_and_gradients(name, scale, scale_gradient):
    """scale_gradient false: the value ten times, the gradient once."""
    trace, spikes = (torch.tensor(rows)[:, None].requires_grad_() for rows in (TRACE, SPIKES))
    decoder = getattr(decoders, name)(
        scale=scale, scale_gradient=scale_gradient, **OWN.get(name, {})
    )
    scores = decoder(activity(trace, spikes))
    torch.testing.assert_close(scores, scale * torch.tensor([EXPECTED[name]]).float())
    scores[0, 0].backward()
    read = (spikes if name == "SpikeCount" else trace).grad[:, 0, 0]
    factor = scale if scale_gradient else 1
    torch.testing.assert_close(read, factor * torch.tensor(GRADIENT_OF_FIRST[name]).float())


def test_the_first_spike_is_read_in_seconds_and_silence_as_the_runs_end():
    """Of 4 steps of 2 ms: outputs spike first in step 0, first in step 2, and never."""
    spikes = torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]])[:, None].requires_grad_()
    scores = decoders.FirstSpike(scale=1.0, scale_gradient=True, dt=2e-3)(activity(None, spikes))
    torch.testing.assert_close(scores, torch.tensor([[0.0, -4e-3, -8e-3]]))
    scores.backward(torch.tensor([[1.0, 2.0, 3.0]]))
    expected = torch.zeros(4, 1, 3)  # the time falls by dt as the spike that is read grows
    expected[0, 0, 0], expected[2, 0, 1] = 2e-3, 2 * 2e-3
    torch.testing.assert_close(spikes.grad, expected)


def test_the_highest_of_membranes_below_zero_is_the_one_next_to_it():
    trace = torch.tensor([[-3.0, 1.0], [-1.0, -2.0]])[:, None]
    decoder = decoders.MaxOverTime(scale=1.0, scale_gradient=True)
    assert decoder(activity(trace, None)).tolist() == [[-1.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_first_spikes_are_told_apart_in_half_precision_too(dtype):
    """As a GPU's spikes have it under mixed precision; bfloat16 has no numbers from 513 to 515."""
    spikes = torch.zeros(600, 1, 3, dtype=dtype)
    spikes[[513, 512, 515], 0, [0, 1, 2]] = 1
    spikes.requires_grad_()
    decoder = decoders.FirstSpike(scale=1.0, scale_gradient=True, dt=1e-3)
    scores = decoder(activity(None, spikes))
    torch.testing.assert_close(scores, -torch.tensor([[0.513, 0.512, 0.515]]))
    scores[0, 1].backward()
    assert spikes.grad.dtype == dtype
    assert spikes.grad.nonzero().tolist() == [[512, 0, 1]]


def test_a_readout_without_spikes_has_no_count():
    decoder = decoders.SpikeCount(scale=1.0, scale_gradient=True)
    with pytest.raises(ValueError, match=r"^decoder: .*spikes"):
        decoder(activity(torch.tensor(TRACE)[:, None], None))


def test_scale_must_be_positive():
    with pytest.raises(ValueError, match=r"^scale: -1\.0"):
        decoders.Mean(scale=-1.0, scale_gradient=True)


def test_a_silent_output_learns_from_a_smooth_maximum():
    """A membrane at 0, then below: the maximum has no gradient but that of the start."""
    trace = torch.tensor([[0.0], [-1.0], [-2.0]])[:, None].requires_grad_()
    decoder = decoders.SmoothMax(scale=1.0, scale_gradient=True, sharpness=1.0)
    decoder(activity(trace, None)).sum().backward()
    assert (trace.grad > 0).all()


def test_sharpness_must_be_positive():
    with pytest.raises(ValueError, match=r"^sharpness: 0\.0"):
        decoders.SmoothMax(scale=1.0, scale_gradient=True, sharpness=0.0)
