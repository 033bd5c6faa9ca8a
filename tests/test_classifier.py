"""The loaded classifier is called on values: those of another width are refused."""

import pytest
import torch

from snnexp.experiment import build
from snnexp.inputs import Static
from snnexp.recordings import Recordings

NONE = torch.zeros(0)
LOST = Recordings(NONE, NONE.int(), NONE.int(), 5, 700, False)


@pytest.mark.parametrize("encoder", ["latency", "latency_repeated", "poisson", "constant"])
def test_values_of_another_width_are_refused_by_every_encoder(encoder, compose):
    _, classifier, _ = build(compose(f"encoder={encoder}"))
    assert classifier(torch.rand(5, 4)).shape == (5, 3)
    for shape in ((5, 3), (5, 5), (4,), (5, 1, 4)):
        with pytest.raises(ValueError, match=r"^values: their shape is .*; it must be \[batch, 4"):
            classifier(torch.rand(shape))


@pytest.mark.parametrize(("values", "channels"), [(Static(torch.ones(5, 3), 2), 3), (LOST, 700)])
def test_inputs_and_recordings_of_other_channels_are_refused(values, channels, compose):
    _, classifier, _ = build(compose())
    with pytest.raises(ValueError, match=f"^values: they have {channels} channels; it must be 4"):
        classifier(values)
