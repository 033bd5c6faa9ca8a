"""A learnt beta is the beta of `LIF`, within its bounds."""

import pytest
import torch

from snnexp.models import LearntLIF
from tests.models import made

SIZE, DT = 4, 1e-3


@pytest.mark.parametrize("kernel", ["reference", "torch", "auto"])
@pytest.mark.parametrize("reset", ["subtract", "subtract_scaled", "zero"])
@pytest.mark.parametrize("delay", [False, True])
def test_a_learnt_beta_is_lifs_beta_and_learns(kernel, reset, delay):
    """Neuron by neuron as a LIF of that beta; its gradient is the difference quotient."""
    settings = {
        key: value
        for key, value in made.lif.keywords.items()
        if key not in ("beta", "dt", "reset", "reset_delay")
    }
    torch.manual_seed(0)
    learnt = LearntLIF(
        size=SIZE, dt=DT, beta_low=0.2, beta_high=0.9, reset=reset, reset_delay=delay, **settings
    ).double()
    current = torch.rand(9, 2, SIZE, dtype=torch.double) * 0.8
    backend = made.ideal(kernel)

    def run(neuron, current):
        return backend.scan(neuron, current, len(current), None, True, False)

    membrane = run(learnt, current).membrane
    assert run(learnt, current).dense().spikes.any()
    for index, beta in enumerate(learnt.beta.tolist()):
        single = made.lif(size=1, beta=beta, reset=reset, reset_delay=delay)
        alone = run(single, current[..., index : index + 1]).membrane
        torch.testing.assert_close(membrane[..., index : index + 1], alone)
    subthreshold = run(learnt, current * 0.01).membrane  # no spikes, so that it is smooth
    (gradient,) = torch.autograd.grad(subthreshold.sum(), learnt.beta)
    with torch.no_grad():
        learnt.beta += 1e-6
    change = (run(learnt, current * 0.01).membrane - subthreshold).sum((0, 1)) / 1e-6
    torch.testing.assert_close(gradient, change, rtol=1e-4, atol=1e-6)


def test_a_learnt_beta_is_used_clamped():
    settings = {k: v for k, v in made.lif.keywords.items() if k not in ("beta", "dt")}
    neuron = LearntLIF(size=3, dt=DT, beta_low=0.0, beta_high=1.0, **settings)
    assert ((neuron.beta >= 0) & (neuron.beta <= 1)).all()
    with torch.no_grad():
        neuron.beta.copy_(torch.tensor([-0.5, 0.5, 1.5]))
    assert neuron.constants.keep_mem.tolist() == [0, 0.5, 1]


def test_a_range_of_betas_the_wrong_way_round_is_refused():
    settings = {k: v for k, v in made.lif.keywords.items() if k not in ("beta", "dt")}
    with pytest.raises(ValueError, match=r"^beta_low: 0\.9; .*beta_high = 0\.1"):
        LearntLIF(size=3, dt=DT, beta_low=0.9, beta_high=0.1, **settings)
