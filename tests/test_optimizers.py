"""Lion: two steps worked out by hand."""

import pytest
import torch

from snnexp.optimizers import Lion


def test_two_steps():
    """lr 0.1, betas (0.5, 0.75), decay 0.2, from w = 1 with gradients 4 and -1.

    c = 2: w = 1 (1 - 0.02) - 0.1 = 0.88, m = 1; then c = 0.5 - 0.5 = 0, sign 0: w = 0.88 0.98,
    m = 0.75 - 0.25 = 0.5. The other weight gets -4 and 2: c = -2, w = 1.08, m = -1; c = 0.5:
    w = 1.08 0.98 - 0.1.
    """
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.double))
    optimizer = Lion([weight], lr=0.1, betas=(0.5, 0.75), weight_decay=0.2)
    for gradient in ([4.0, -4.0], [-1.0, 2.0]):
        weight.grad = torch.tensor(gradient, dtype=torch.double)
        optimizer.step()
    expected = torch.tensor([0.88 * 0.98, 1.08 * 0.98 - 0.1], dtype=torch.double)
    torch.testing.assert_close(weight.data, expected)
    momentum = optimizer.state[weight]["momentum"]
    torch.testing.assert_close(momentum, torch.tensor([0.5, -0.25], dtype=torch.double))


def test_weights_without_gradient_stay():
    weight = torch.nn.Parameter(torch.ones(2))
    Lion([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.1).step()
    assert weight.tolist() == [1, 1]


def test_bad_betas_are_refused():
    with pytest.raises(ValueError, match=r"^betas\[1\]: 1\.5"):
        Lion([torch.nn.Parameter(torch.ones(1))], lr=0.1, betas=(0.9, 1.5), weight_decay=0.0)
