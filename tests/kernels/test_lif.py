"""LIF: golden traces, thresholds, recurrence and the reset's gradient, each worked out by hand."""

from functools import partial

import pytest
import torch

from snnexp.models import SuperSpike
from tests.models import made
from tests.models.made import scan

SLOPE = 2.0
lif = partial(made.lif, size=1, beta=0.8, surrogate=SuperSpike(slope=SLOPE))

RISE = [0.3, 0.54, 0.732, 0.8856]
DELAYED = [*RISE, 1.0085, 0.1068, 0.3854, 0.6083, 0.7867, 0.9293, 1.0435, 0.1348]
SCALED = [*RISE, 1.0085, 0.3068, 0.5454, 0.7363, 0.8891, 1.0113, 0.3090]


@pytest.mark.parametrize(
    ("settings", "membrane", "spikes"),
    [
        # snnTorch 1.0.0's
        ({"reset": "subtract", "reset_delay": True}, DELAYED, [5, 11]),
        (
            {"reset": "subtract"},
            [*RISE, 0.0085, 0.3068, 0.5454, 0.7363, 0.8891, 0.0113],
            [5, 10, 15],
        ),
        ({"reset": "zero", "reset_delay": True}, [*RISE, 1.0085] * 2, [5, 10, 15]),
        # a spike is returned one step later
        ({"reset": "subtract", "reset_delay": True, "spike_from": "before"}, DELAYED, [6, 12]),
        # snnTorch's tutorial 5: beta threshold off after the decay
        (
            {"reset": "subtract_scaled", "reset_delay": True, "spike_from": "before"},
            SCALED,
            [6, 11, 16],
        ),
        # 1.00848 - 0.8, then 0.8 v + 0.3 up to 1.0768
        (
            {"reset": "subtract_scaled"},
            [*RISE, 0.2085, 0.4668, 0.6734, 0.8387, 0.9710, 0.2768],
            [5, 10, 15],
        ),
        ({"reset": "zero"}, [*RISE, 0.0] * 2, [5, 10, 15]),
        # 1.5 (1 - 0.8^n)
        ({"reset": "none"}, [*RISE, 1.0085, 1.1068, 1.1854], range(5, 17)),
    ],
)
def test_golden_traces_of_a_constant_input(settings, membrane, spikes):
    result = scan(lif(**settings), [0.3] * 16)
    found = result.membrane.flatten()[: len(membrane)]
    torch.testing.assert_close(found, torch.tensor(membrane).double(), atol=6e-5, rtol=0)
    assert (result.spikes.flatten().nonzero().flatten() + 1).tolist() == [
        step for step in spikes if step <= 16
    ]


@pytest.mark.parametrize(("strict", "spikes"), [(True, [0, 0]), (False, [0, 1])])
def test_a_membrane_exactly_at_the_threshold(strict, spikes):
    result = scan(lif(beta=1.0, strict=strict), [0.5, 0.5])
    assert result.margin.flatten().tolist() == [-0.5, 0.0]
    assert result.spikes.flatten().tolist() == spikes


@pytest.mark.parametrize(
    ("spike_from", "spikes"),
    [("after", [[1, 0], [0, 1], [0, 0], [0, 0]]), ("before", [[0, 0], [1, 0], [0, 1], [0, 0]])],
)
def test_recurrent_spikes_arrive_one_step_later(spike_from, spikes):
    """Neuron 0 is driven once; its spike gives neuron 1 a current of 2, and nothing comes back."""
    current = torch.zeros(4, 1, 2)
    current[0, 0, 0] = 1.5
    weight = torch.tensor([[0.0, 0.0], [2.0, 0.0]], dtype=torch.float64)  # [to, from]
    neuron = lif(size=2, recurrent=True, reset="zero", spike_from=spike_from)
    result = scan(neuron, current, weight)
    assert result.spikes[:, 0].tolist() == spikes
    assert result.margin[:, 0].tolist() == [[0.5, -1], [-1, 1], [-1, -1], [-1, -1]]


@pytest.mark.parametrize("x", [1.2, 0.7], ids=["spike", "no spike"])
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("reset_delay", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "subtract_scaled", "zero", "none"])
def test_gradient_of_the_second_margin(reset, reset_delay, detach_reset, x):
    """v(2) = beta v(1) + x(2) less the reset, by hand; z(1) = H(x(1) - 1) with derivative s."""
    beta, z = 0.8, float(x > 1)
    s = 0.0 if detach_reset else 1 / (1 + SLOPE * abs(x - 1)) ** 2
    expected = {
        "none": beta,
        "subtract": beta - s if reset_delay else beta * (1 - s),
        "subtract_scaled": beta - beta * s if reset_delay else beta * (1 - beta * s),
        "zero": beta * ((1 - z) - x * s),
    }[reset]
    current = torch.tensor([x, 0.4], dtype=torch.float64, requires_grad=True)
    neuron = lif(reset=reset, reset_delay=reset_delay, detach_reset=detach_reset)
    scan(neuron, current).margin[1].sum().backward()
    torch.testing.assert_close(current.grad, torch.tensor([expected, 1.0], dtype=torch.float64))


def test_gradient_of_a_spike_is_the_surrogates():
    current = torch.tensor([0.7, 0.4], dtype=torch.float64, requires_grad=True)
    scan(lif(), current).spikes[1].sum().backward()
    s = 1 / (1 + SLOPE * 0.04) ** 2  # v(2) = 0.56 + 0.4
    torch.testing.assert_close(current.grad, torch.tensor([0.8 * s, s], dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"beta": 1.5}, "beta: 1.5;"),
        ({"threshold": 0.0}, "threshold: 0.0;"),
        ({"reset": "soft"}, "reset: 'soft';"),
        ({"spike_from": "now"}, "spike_from: 'now';"),
        ({"size": 0}, "size: 0;"),
    ],
)
def test_refusals_name_the_argument_first(change, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        lif(**change)
