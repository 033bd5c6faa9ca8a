"""Initial weights: their moments and bounds."""

import pytest
import torch

from snnexp.models import Kaiming, Normal


def draw(initializer, layer=0, num_layers=2, recurrent=False):
    torch.manual_seed(0)
    weight = torch.empty(400, 250)
    initializer.fill(weight, layer, num_layers, recurrent)
    return weight.double()


@pytest.mark.parametrize(
    ("settings", "layer", "mean", "std"),
    [
        ({"mean": 0.5, "std": 0.2, "fan_in_scaled": False}, 1, 0.5, 0.2),
        # 250 inputs: mean / 250, std / sqrt(250)
        ({"mean": 1.0, "std": 2.0, "fan_in_scaled": True}, 0, 0.004, 0.126491),
        ({"mean": [1.0, 0.0], "std": [0.1, 0.3], "fan_in_scaled": False}, 0, 1.0, 0.1),
        ({"mean": [1.0, 0.0], "std": [0.1, 0.3], "fan_in_scaled": False}, 1, 0.0, 0.3),
    ],
)
def test_normal_has_the_stated_moments(settings, layer, mean, std):
    """Within 5 standard errors: std / sqrt(n) of the mean, std / sqrt(2 n) of the deviation."""
    weight = draw(Normal(**settings), layer)
    root = weight.numel() ** 0.5
    assert weight.mean().item() == pytest.approx(mean, abs=5 * std / root)
    assert weight.std().item() == pytest.approx(std, abs=5 * std / (2**0.5 * root))


def test_normal_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match=r"^std: -1\.0;"):
        Normal(mean=0.0, std=[1.0, -1.0], fan_in_scaled=True)
    with pytest.raises(ValueError, match=r"^init\.mean: 2 entries for 4 layers; give one number"):
        draw(Normal(mean=[0.0, 0.0], std=1.0, fan_in_scaled=True), num_layers=4)


@pytest.mark.parametrize(
    ("entries", "means"),
    [
        ([1.0, 2.0, 3.0], [1, 3]),
        ([1.0, 2.0, 3.0], [1, 2, 3]),
        ([1.0, 2.0, 3.0], [1, 2, 2, 2, 3]),
        ([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4]),
    ],
)
def test_three_entries_are_those_of_first_other_and_last_layer(entries, means):
    normal = Normal(mean=entries, std=0.0, fan_in_scaled=False)
    found = [draw(normal, layer, len(means)).unique().item() for layer in range(len(means))]
    assert found == means


def test_recurrent_weights_have_mean_zero():
    assert draw(Normal(mean=1.0, std=0.0, fan_in_scaled=False), recurrent=True).unique() == 0


def test_kaiming_is_uniform_up_to_its_bound():
    """b = gain sqrt(3 / 250), variance b^2 / 3 = gain^2 / 250."""
    weight = draw(Kaiming(gain=2.0))
    bound = 2 * (3 / 250) ** 0.5
    assert bound * 0.999 < weight.abs().max().item() <= bound * (1 + 1e-6)
    assert weight.var().item() == pytest.approx(4 / 250, rel=0.02)
    with pytest.raises(ValueError, match=r"^gain: 0\.0;"):
        Kaiming(gain=0.0)


def test_the_inputs_of_a_convolution_are_all_of_its_kernel():
    """8 channels of 5 x 5 pixels: 200 inputs."""
    weight = torch.empty(400, 8, 5, 5)
    Normal(mean=1.0, std=0.0, fan_in_scaled=True).fill(weight, 0, 2)
    torch.testing.assert_close(weight, torch.full_like(weight, 1 / 200))
