"""Keyed randomness: the same (seed, epoch, purpose) gives the same numbers, anywhere."""

from itertools import product

import pytest
import torch

from snnexp.classifier import Classifier
from snnexp.experiment import build
from snnexp.randomness import generator, key
from snnexp.session import compose as compose_config


def test_keys_differ_and_fit_a_generator():
    numbers = (0, 1, 2, 12, 23, 123)
    keys = [key(*parts) for parts in product(numbers, numbers, ("order", "val/0/1", "val/0/11"))]
    assert len(set(keys)) == len(keys) == 108
    assert all(0 <= number < 2**63 for number in keys)


def test_keys_are_the_same_everywhere():
    """`printf 3/2/train/0/7 | b2sum -l 64` says 55b9896f4fac2a77: little endian, less one bit."""
    assert key(3, 2, "train/0/7") == 0x772AAC4F6F89B955 >> 1


def test_generators_neither_read_nor_disturb_the_global_state():
    torch.manual_seed(0)
    first, follow = torch.rand(3, generator=generator(1, 2, "order")), torch.rand(3)
    torch.manual_seed(5)
    second = torch.rand(3, generator=generator(1, 2, "order"))
    assert torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(follow, torch.rand(3))


@pytest.mark.parametrize(
    "other", [["encoder=constant"], ["dataset.sizes.train=21"], ["dataset.sizes.val=11"]], ids=str
)
def test_first_weights_depend_on_the_seed_alone(compose, other):
    """Not on what the data set and the encoder drew before them."""

    def weights(*overrides):
        return build(compose("encoder=poisson", *overrides))[1].network.weights()["readout"]

    assert torch.equal(weights(), weights(*other))
    assert not torch.equal(weights(), weights("seed=1"))


@pytest.mark.parametrize(
    "overrides",
    [["encoder=poisson"], ["dataset=ones", "encoder=augmented", "model.hidden_sizes=[3]"]],
    ids=["encoder", "augmentation"],
)
def test_training_draws_anew_in_each_epoch_and_evaluation_never(overrides, monkeypatch):
    epoch = 0
    dataset, classifier, _ = build(compose_config([*overrides, "batch_size=8"]))
    monkeypatch.setattr(Classifier, "current_epoch", property(lambda self: epoch))
    values = dataset.splits["train"].values[:8]

    def drawn(stage, index=0):
        return classifier.encode(values, stage, index).dense()

    first = {stage: drawn(stage) for stage in ("train", "val", "test")}
    assert torch.equal(drawn("train"), first["train"])
    assert not torch.equal(drawn("train", 1), first["train"])
    assert not torch.equal(first["train"], first["val"])
    if overrides == ["encoder=poisson"]:
        assert not torch.equal(first["val"], first["test"])
        assert not torch.equal(drawn("val", 1), first["val"])
    epoch = 1
    assert not torch.equal(drawn("train"), first["train"])
    for stage in ("val", "test"):
        assert torch.equal(drawn(stage), first[stage])
