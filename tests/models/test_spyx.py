"""Spyx' neurons against their published update, and the range of their draws."""

import pytest
import torch

from snnexp import kernels
from snnexp.models import RLIF, ArcTan, Haiku, LearntLI


def rlif(size=4, recurrent=True, feedback_std=None):
    torch.manual_seed(0)
    surrogate = ArcTan(slope=6.283185307179586, peak=0.3183098861837907)
    neuron = RLIF(
        size=size,
        dt=1e-3,
        beta_mean=0.5,
        beta_std=0.25,
        threshold=1.0,
        recurrent=recurrent,
        feedback_std=feedback_std,
        surrogate=surrogate,
    ).double()
    if recurrent:
        torch.nn.init.normal_(neuron.recurrent)
    return neuron


@pytest.mark.parametrize("feedback_std", [None, 1.0], ids=["without", "with feedback"])
@pytest.mark.parametrize("recurrent", [False, True], ids=["feed-forward", "recurrent"])
@pytest.mark.parametrize("kernel", ["reference", "torch", "numba"])
def test_rlif_is_the_published_loop(kernel, recurrent, feedback_std):
    """Spikes of the membrane before its update, which they reset and feed; gradients with it."""
    neuron = rlif(recurrent=recurrent, feedback_std=feedback_std)
    current = torch.randn(30, 3, 4, dtype=torch.double).add_(0.3).requires_grad_()
    v, expected = torch.zeros(3, 4, dtype=torch.double), []
    for x in current:
        z = neuron.surrogate.spike(v - 1)
        feedback = z @ neuron.recurrent.t() if recurrent else 0
        feedback = feedback if feedback_std is None else feedback + neuron.feedback * z
        v = neuron.beta.clamp(0, 1) * v + x + feedback - z
        expected.append(z)
    weight = torch.randn(30, 3, 4, dtype=torch.double)
    of = [current, *neuron.parameters()]
    wanted = torch.autograd.grad((torch.stack(expected) * weight).sum(), of)
    scan = kernels.scan(current, neuron.constants, neuron.recurrent, kernel=kernel).dense()
    assert torch.equal(scan.spikes, torch.stack(expected)) and scan.spikes.any()
    found = torch.autograd.grad((scan.spikes * weight).sum(), of)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_the_integrator_learns_its_decay():
    torch.manual_seed(0)
    neuron = LearntLI(size=2, dt=1e-3, beta_mean=0.5, beta_std=0.25).double()
    trace = kernels.scan(torch.ones(3, 1, 2, dtype=torch.double), neuron.constants).membrane
    beta = neuron.beta
    torch.testing.assert_close(trace[2, 0], 1 + beta + beta**2)


def test_draws_keep_within_two_standard_deviations():
    torch.manual_seed(0)
    beta = rlif(size=5000, recurrent=False).beta
    assert beta.min() >= 0 and beta.max() <= 1
    assert beta.mean().item() == pytest.approx(0.5, abs=0.02)
    assert beta.std().item() == pytest.approx(0.25 * 0.8796, rel=0.05)  # of a normal cut at 2
    feedback = rlif(size=5000, recurrent=False, feedback_std=2.0).feedback
    assert feedback.abs().max() <= 4
    assert feedback.std().item() == pytest.approx(2 * 0.8796, rel=0.05)
    weight = torch.empty(200, 100)
    for recurrent, std in ((False, 0.1), (True, 1.0)):
        Haiku(gain=1.0, recurrent_std=1.0).fill(weight, 0, 3, recurrent)
        assert weight.abs().max() <= 2 * std
        assert weight.std().item() == pytest.approx(std * 0.8796, rel=0.05)
