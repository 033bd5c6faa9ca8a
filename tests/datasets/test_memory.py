"""Batches of indices: order, ranks and lengths; the loader that takes them."""

from itertools import product
from types import SimpleNamespace

import pytest
import torch

from snnexp.datasets import Data, IndexSampler, MemoryDataset, Ones, Split, as_floats


def indices(*args, **settings):
    batches = list(IndexSampler(*args, **settings))
    return torch.cat(batches).tolist() if batches else []


def shuffled(size=50, **settings):
    return indices(size, 8, shuffle=True, **settings)


def test_the_order_depends_on_seed_and_epoch_only():
    torch.manual_seed(1)
    first = shuffled(seed=3, epoch=2)
    torch.manual_seed(2)
    assert shuffled(seed=3, epoch=2) == first
    assert indices(50, 50, shuffle=True, seed=3, epoch=2) == first  # not on the batch size
    others = (shuffled(seed=3, epoch=1), shuffled(seed=2, epoch=2), shuffled(seed=2, epoch=3))
    assert first not in others
    sampler = IndexSampler(50, 8, shuffle=True, seed=3, epoch=0)
    sampler.set_epoch(2)
    assert torch.cat(list(sampler)).tolist() == first
    for order in (first, *others):
        assert sorted(order) == list(range(50))
    assert first != sorted(first)


def test_an_unshuffled_order_counts_up():
    sampler = IndexSampler(7, 3, shuffle=False, seed=5, epoch=4)
    assert [batch.tolist() for batch in sampler] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize(("size", "ranks"), [(12, 3), (13, 3), (14, 3), (5, 4), (2, 5), (1, 4)])
def test_ranks_part_a_shuffled_order_in_equal_steps(size, ranks):
    """13 samples for 3 ranks are 5 for each: the order's own start fills up the last two."""
    whole = shuffled(size, seed=1)
    parts = [shuffled(size, seed=1, rank=rank, ranks=ranks) for rank in range(ranks)]
    share = -(-size // ranks)
    assert {len(part) for part in parts} == {share}
    dealt = [part[turn] for turn in range(share) for part in parts]
    assert dealt == (whole * ranks)[: share * ranks]


@pytest.mark.parametrize(("size", "ranks"), [(12, 3), (13, 3), (1, 3)])
def test_ranks_see_every_sample_of_an_unshuffled_order_once(size, ranks):
    parts = [indices(size, 4, shuffle=False, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert sorted(index for part in parts for index in part) == list(range(size))


@pytest.mark.parametrize("shuffle", [True, False])
def test_len_is_the_number_of_batches(shuffle):
    for size, batch_size, ranks in product((1, 7, 8, 9, 50), (1, 4, 8, 60), (1, 2, 3)):
        for rank in range(ranks):
            sampler = IndexSampler(size, batch_size, shuffle=shuffle, rank=rank, ranks=ranks)
            batches = list(sampler)
            assert len(sampler) == len(batches), (size, batch_size, rank, ranks)
            assert all(len(batch) == batch_size for batch in batches[:-1])


class Tiny(MemoryDataset):
    num_features, num_classes, class_names = 1, 2, ("even", "odd")

    def __init__(self):
        number = torch.arange(10)
        self.splits = {
            stage: Split(number[:size, None].float(), number[:size] % 2)
            for stage, size in (("train", 10), ("val", 5), ("test", 3))
        }


def test_the_loader_yields_batches_of_values_with_their_labels():
    loader = Tiny().loader("train", 4, seed=0, epoch=1)
    batches = list(loader)
    assert [values.shape for values, _ in batches] == [(4, 1), (4, 1), (2, 1)]
    assert len(loader) == 3
    values = torch.cat([values for values, _ in batches])[:, 0]
    labels = torch.cat([labels for _, labels in batches])
    assert torch.equal(values.long() % 2, labels)
    assert values.long().tolist() == indices(10, 4, shuffle=True, seed=0, epoch=1)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
def test_labels_of_a_batch_are_what_losses_take(dtype):
    dataset = Tiny()
    dataset.splits["val"] = Split(torch.rand(3, 1), torch.tensor([0, 1, 1], dtype=dtype))
    ((_, labels),) = dataset.loader("val", 8, seed=0)
    assert labels.dtype == torch.int64 and labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(("stage", "size"), [("val", 5), ("test", 3)])
def test_only_the_training_split_is_shuffled(stage, size):
    assert indices(size, 8, shuffle=True, seed=1) != list(range(size))
    (batch,) = Tiny().loader(stage, 8, seed=1)
    assert batch[0][:, 0].tolist() == list(range(size))


@pytest.mark.parametrize(("free", "moved"), [(160, ["cuda:0"]), (159, [])])
def test_a_split_that_takes_at_most_a_quarter_of_a_gpus_free_memory_is_kept_there(
    free, moved, monkeypatch
):
    """Ten numbers of 4 bytes. On a machine without a GPU, so that what would move stays."""
    asked = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1000))
    monkeypatch.setattr(Split, "to", lambda self, device: asked.append(str(device)) or self)
    data = Data(Tiny(), batch_size=4, eval_batch_size=4, seed=0)
    strategy = SimpleNamespace(root_device=torch.device("cuda:0"))
    data.trainer = SimpleNamespace(
        strategy=strategy, global_rank=0, world_size=1, current_epoch=0, loggers=[]
    )
    batches = list(data.train_dataloader()), list(data.train_dataloader())
    assert asked == moved
    assert sum(len(labels) for _, labels in batches[1]) == 10


def test_each_stage_has_the_loader_of_its_split():
    data = Data(Tiny(), batch_size=4, eval_batch_size=2, seed=0)
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    sizes = [[len(labels) for _, labels in loader] for loader in loaders]
    assert sizes == [[4, 4, 2], [2, 2, 1], [2, 1]]


def test_bytes_stand_for_shares_of_255():
    values = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    torch.testing.assert_close(as_floats(values), torch.tensor([[0.0, 0.2, 1.0]]))
    assert as_floats(torch.tensor([[0.5, 2.0]])).tolist() == [[0.5, 2.0]]


def test_ones_are_all_of_class_0():
    for split in Ones(samples=2, shape=(1, 2, 3)).splits.values():
        assert (split.values.tolist(), split.labels.tolist()) == ([[1.0] * 6] * 2, [0, 0])


def test_on_a_cpu_splits_stay_where_they_are(monkeypatch):
    monkeypatch.setattr(Split, "to", lambda self, device: pytest.fail("moved"))
    data = Data(Tiny(), batch_size=4, eval_batch_size=4, seed=0)
    assert len(list(data.train_dataloader())) == 3
