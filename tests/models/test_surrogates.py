"""Surrogates against their published derivatives; every option of conf/ against the contract."""

import math

import pytest
import torch
from omegaconf import OmegaConf

from snnexp import models
from snnexp.config import directory

X = torch.tensor([-2.0, -0.7, -0.3, -0.04, 0.0, 1e-3, 0.1, 0.45, 0.8, 3.0], dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


PUBLISHED = {
    "superspike": lambda x: 1 / (1 + 20 * abs(x)) ** 2,  # Zenke & Ganguli 2018; stork's slope
    "fast_sigmoid": lambda x: 1 / (1 + 25 * abs(x)) ** 2,  # snnTorch's slope
    "arctan": lambda x: 1 / (1 + (math.pi * x) ** 2),  # SpikingJelly's with alpha 2
    "arctan_spyx": lambda x: 1 / (math.pi * (1 + (2 * math.pi * x) ** 2)),
    "sigmoid": lambda x: 10 * sigmoid(10 * x) * sigmoid(-10 * x),
    "gaussian": lambda x: math.exp(-(x**2) / 0.18) / math.sqrt(math.pi * 0.18),  # 2 sigma^2 = 0.18
    "triangle": lambda x: 0.3 * max(0, 1 - abs(x)),  # Bellec et al. 2018
    "boxcar": lambda x: float(abs(x) <= 0.5),  # Bittar & Garner 2022
    "exponential_sinabs": lambda x: math.exp(-abs(x) / 0.5),
    "exponential": lambda x: 0.4 * 5 / 2 * math.exp(-5 * abs(x)),  # SLAYER's
}
OPTIONS = {
    path.stem: OmegaConf.to_container(OmegaConf.load(path))
    for path in sorted((directory() / "model/neuron/surrogate").glob("*.yaml"))
}


def build(option):
    settings = dict(OPTIONS[option])
    module, _, name = settings.pop("_target_").rpartition(".")
    assert module == "snnexp.models"
    return getattr(models, name)(**settings)


@pytest.mark.parametrize("option", PUBLISHED)
def test_derivative_is_the_published_one(option):
    expected = torch.tensor([PUBLISHED[option](x) for x in X.tolist()], dtype=torch.float64)
    torch.testing.assert_close(build(option).derivative(X), expected)


@pytest.mark.parametrize("option", OPTIONS)
def test_autograd_uses_the_derivative_and_spikes_are_binary(option):
    surrogate, x = build(option), X.clone().requires_grad_()
    spikes = surrogate.spike(x)
    assert spikes.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert surrogate.spike(x, strict=False).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    (3 * spikes).sum().backward()
    torch.testing.assert_close(x.grad, 3 * surrogate.derivative(X))
    assert (x.grad >= 0).all()


@pytest.mark.parametrize("option", OPTIONS)
def test_half_width_is_where_half_the_peak_is_left(option):
    surrogate = build(option)
    inner, outer = surrogate.half_width * (1 - 1e-9), surrogate.half_width * (1 + 1e-9)
    x = torch.tensor([0.0, inner, -inner, outer, -outer], dtype=torch.float64)
    share = surrogate.derivative(x) / surrogate.derivative(x)[0]
    assert (share[:3] >= 0.5 - 1e-8).all()
    assert (share[3:] <= 0.5 + 1e-8).all()


@pytest.mark.parametrize("option", OPTIONS)
def test_numbers_must_be_positive(option):
    for name in OPTIONS[option]:
        if name != "_target_":
            target = getattr(models, OPTIONS[option]["_target_"].rpartition(".")[2])
            rest = {key: value for key, value in OPTIONS[option].items() if key != "_target_"}
            with pytest.raises(ValueError, match=rf"^{name}: 0\.0;"):
                target(**{**rest, name: 0.0})
