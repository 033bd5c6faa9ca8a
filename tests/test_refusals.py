"""What cannot be run though each part of it can."""

from types import SimpleNamespace

import pytest
import torch

from snnexp import refusals
from snnexp.datasets import MemoryDataset
from snnexp.errors import ConfigError


class Own(MemoryDataset):
    """Six samples of two classes; the splits are no `Split`, which the tests check at once."""

    num_features, num_classes, class_names = 4, 2, ("a", "b")

    def __init__(self, **changed):
        sound = {"values": torch.rand(6, 4), "labels": torch.arange(6) % 2}
        self.splits = dict.fromkeys(("train", "test"), SimpleNamespace(**sound))
        self.splits["val"] = SimpleNamespace(**sound | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"values": torch.zeros(6, 4, dtype=torch.uint8)},
        {"values": torch.zeros(6, 4).double()},
        {"labels": torch.zeros(6, dtype=torch.int32)},
        {"labels": torch.ones(6, dtype=torch.uint8)},
        {"labels": torch.ones(6, dtype=torch.bool)},
        {"values": torch.zeros(0, 4), "labels": torch.zeros(0).long()},
    ],
)
def test_a_sound_data_set_passes_and_with_labels_of_no_class_does_not(changed):
    refusals.unsound(Own(**changed))
    with pytest.raises(ConfigError, match="labels go from 2 to 2"):
        refusals.unsound(
            Own(**changed | {"values": torch.rand(6, 4), "labels": torch.tensor(6 * [2])})
        )


def test_values_that_are_no_tensor_pass_where_the_data_set_does_not_yield_values():
    events = Own(values=[()] * 6)
    with pytest.raises(ConfigError, match="values are of list; make them a tensor"):
        refusals.unsound(events)
    events.yields = "recordings"
    events.splits = dict.fromkeys(events.splits, events.splits["val"])
    refusals.unsound(events)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"values": torch.rand(6, 5)},
            r"values have the shape \(6, 5\); it must be \[sample, num_features\], \(6, 4\)",
        ),
        ({"values": torch.rand(6, 1, 2, 2)}, r"values have the shape \(6, 1, 2, 2\)"),
        ({"values": torch.rand(7, 4)}, "there are 7 values, but 6 labels"),
        ({"values": torch.rand(6, 4).numpy()}, "values are of ndarray; make them a tensor"),
        ({"values": torch.full((6, 4), torch.nan)}, "values are not all finite"),
        ({"labels": torch.ones(6)}, "labels are of torch.float32; make them a tensor of whole"),
        ({"labels": [0] * 6}, "labels are of list"),
        ({"labels": torch.zeros(6, 2).long()}, r"labels have the shape \(6, 2\)"),
        (
            {"labels": torch.arange(6) % 2 + 1},
            "labels go from 1 to 2; with num_classes = 2 they must lie in 0 to 1",
        ),
        ({"labels": torch.arange(6) % 2 - 1}, "labels go from -1 to 0"),
    ],
)
def test_a_split_that_is_not_what_its_data_set_says_is_refused(changed, message):
    with pytest.raises(ConfigError, match=f"^dataset: in the val split of Own, {message}"):
        refusals.unsound(Own(**changed))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("class_names", ("a",), "Own has num_classes = 2, but class_names names 1; name each"),
        ("shape", (1, 3, 3), r"Own has shape = \(1, 3, 3\), but num_features = 4; it must be 9"),
        ("splits", {"train": Own().splits["train"]}, "Own has no split 'val'; fill train, val, te"),
    ],
)
def test_a_data_set_that_contradicts_itself_is_refused(attribute, value, message):
    own = Own()
    setattr(own, attribute, value)
    with pytest.raises(ConfigError, match=f"^dataset: {message}"):
        refusals.unsound(own)
