"""A gradient that is a product: what it is when looked at, and what a layer makes of it."""

import pytest
import torch

from snnexp import kernels
from snnexp.kernels import NeuronParameters
from snnexp.kernels.product import FAN_OUT, Product, product
from snnexp.kernels.surrogates import SuperSpike

LINES, WEIGHT = torch.rand(4, 3, 2), torch.rand(2, 5)


def test_any_operation_makes_the_product():
    made = product(LINES, WEIGHT)
    assert isinstance(made, Product) and made.shape == (4, 3, 5)
    for outcome in (made + 0, made.clone(), torch.stack([made])[0]):
        assert type(outcome) is torch.Tensor
        torch.testing.assert_close(outcome, LINES @ WEIGHT)


def test_a_step_earlier_is_the_products_own():
    later, first = product(LINES, WEIGHT).earlier()
    torch.testing.assert_close(later.tensor()[:-1], (LINES @ WEIGHT)[1:])
    assert not later.tensor()[-1].any()
    torch.testing.assert_close(first, LINES[0] @ WEIGHT)


def test_wide_layers_get_the_product_at_once():
    wide = FAN_OUT + 1
    assert type(product(torch.rand(4, 3, wide), torch.rand(wide, 5))) is torch.Tensor


@pytest.mark.parametrize("readers", [1, 2], ids=["one reader", "two readers"])
@pytest.mark.parametrize("fan_out", [1, 10, FAN_OUT])
@pytest.mark.parametrize("late", [False, True], ids=["spikes", "spikes a step later"])
def test_layers_behind_get_the_gradients_of_the_plain_loop(late, fan_out, readers):
    """Weights before and behind, at numbers of samples that fill no block."""
    p = NeuronParameters(
        keep_mem=0.9,
        amount=0.0 if late else 1.0,
        late=1.0 if late else 0.0,
        before_reset=late,
        returns_late=late,
        surrogate=SuperSpike(slope=5.0),
    )
    torch.manual_seed(0)
    inputs = torch.rand(12, 7, 6, dtype=torch.double)
    first = torch.rand(33, 6, dtype=torch.double) / 3
    behind = torch.randn(fan_out, 33, dtype=torch.double)
    gradients = []
    for kernel in ("reference", "numba"):
        weights = [weight.clone().requires_grad_() for weight in (first, behind)]
        train = kernels.scan(inputs @ weights[0].t(), p, kernel=kernel).spikes
        total = 0
        for n in range(readers):
            current = (
                train.project(weights[1])
                if kernel == "numba"
                else torch.nn.functional.linear(train, weights[1])
            )
            membrane = kernels.scan(current, NeuronParameters(keep_mem=0.8), kernel=kernel).membrane
            total = total + (membrane**2).sum() * (n + 1)
        gradients.append(torch.autograd.grad(total, weights))
    for plain, fused in zip(*gradients, strict=True):
        assert plain.any()
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10)
