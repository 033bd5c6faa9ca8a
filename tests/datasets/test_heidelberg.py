"""SHD: made files in the official layout, what is refused, and the real files."""

import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from snnexp.datasets import SHD, SSC
from snnexp.randomness import generator
from tests.datasets.files import TIMES, UNITS, md5, pack, write

REAL = os.environ.get("SNNEXP_DATA")
TRAINERS = [0, 0, 1, 1, 2, 2, 3, 3]


def shd(folder, **changes):
    files = [path for path in (folder / "SHD").glob("*") if path.is_file()]
    settings = {
        "root": str(folder),
        "download": False,
        "url": "https://nowhere.invalid/",
        "cache": str(folder / "cache"),
        "checksums": {"made": {path.name: md5(path) for path in files}},
        "validation": "speakers",
        "val_speakers": [1, 3],
        "val_share": 0.25,
        "val_seed": 0,
    }
    return SHD(**settings | changes)


@pytest.fixture(params=["file", "archive"])
def folder(tmp_path, request):
    (tmp_path / "SHD").mkdir()
    for name, speaker in (("train", TRAINERS), ("test", [4, 5])):
        path = write(tmp_path / "SHD" / f"shd_{name}.h5", speaker)
        if request.param == "archive":
            pack(path)
    return tmp_path


def test_the_words_come_back_event_by_event(folder):
    data = shd(folder)
    assert data.source == "made SHD"
    assert {stage: split.labels.tolist() for stage, split in data.splits.items()} == {
        "train": [0, 1, 4, 5],
        "val": [2, 3, 6, 7],
        "test": [0, 1],
    }
    assert data.speakers["val"].tolist() == [1, 1, 3, 3]
    words = data.splits["val"].values[torch.tensor([1, 0, 3])]  # words 3, 2 and 3 again (as 7)
    assert words.time.tolist() == [*TIMES[3], *TIMES[2], *TIMES[3]]
    assert words.channel.tolist() == [*UNITS[3], *UNITS[2], *UNITS[3]]
    assert words.sample.tolist() == [0, 0, 2, 2]
    assert (words.batch_size, words.num_channels, words.is_training) == (3, 700, False)
    assert words.label.tolist() == [3, 2, 7]
    assert data.splits["train"].values[:1].is_training


def test_a_second_reading_takes_the_cache(folder):
    first = shd(folder).splits["train"].values
    (train,) = (folder / "SHD").glob("shd_train*")
    (cached,) = (folder / "cache" / "shd").glob(f"{md5(train)}*")
    np.save(cached / "label.npy", np.load(cached / "label.npy") + 10)
    again = shd(folder)
    assert torch.equal(again.splits["train"].values[:2].time, first[:2].time)
    assert again.splits["train"].labels.tolist() == [10, 11, 14, 15]


def test_random_and_no_validation(folder):
    drawn = shd(folder, validation="random")
    assert [len(drawn.splits[stage]) for stage in ("train", "val")] == [6, 2]
    together = torch.cat([drawn.splits[stage].labels for stage in ("train", "val")])
    assert sorted(together.tolist()) == list(range(8))
    held_out = []
    for seed in range(3):
        order = torch.randperm(8, generator=generator(seed, 0, "validation"))
        held_out.append((order < 2).nonzero().flatten().tolist())
        data = shd(folder, validation="random", val_seed=seed)
        assert data.splits["val"].labels.tolist() == held_out[-1]
    assert held_out[0] != held_out[1]
    every = shd(folder, validation="none")
    assert every.splits["train"].labels.tolist() == list(range(8))
    assert every.splits["val"].labels.tolist() == [2, 3, 6, 7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": "speaker"}, r"^validation: 'speaker'; choose one of speakers, random"),
        ({"val_speakers": [4]}, r"^val_speakers: 4 has no training words; .* \[0, 1, 2, 3\]"),
        ({"val_speakers": []}, r"^validation: 'speakers' leaves one split empty"),
        ({"validation": "random", "val_share": 1.0}, r"^validation: 'random' leaves one"),
        ({"root": "/nowhere"}, r"^root: /nowhere/SHD lacks shd_train\.h5 and .*dataset\.root"),
        ({"checksums": {"made": {}}}, r"^root: .*shd_train\.h5.* has md5 .*, which is unknown"),
    ],
)
def test_bad_values_are_refused(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        shd(folder, **changes)


def test_a_failed_download_says_where_to_get_the_file(folder):
    with pytest.raises(ValueError, match=r"downloading failed .*fetch https://nowhere\.invalid/"):
        shd(folder, root=str(folder / "else"), download=True)


class Torn(BaseHTTPRequestHandler):
    """Announces 1000 bytes, sends 10 and hangs up."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(bytes(10))

    def log_message(self, *_) -> None:
        pass


def test_a_torn_download_leaves_nothing(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Torn) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(ValueError, match=r"downloading failed \(10 bytes .* of 1000\); fetch"):
            shd(tmp_path, download=True, url=url)
        server.shutdown()
    assert list((tmp_path / "SHD").iterdir()) == []


def test_a_download_is_read(tmp_path):
    """By the URL of a file; its checksum is known."""
    for place, name, speaker in (("SHD", "train", TRAINERS), ("away", "test", [4, 5])):
        (tmp_path / place).mkdir()
        pack(write(tmp_path / place / f"shd_{name}.h5", speaker))
    sums = {path.name: md5(path) for path in tmp_path.glob("*/*.zip")}
    url = f"{(tmp_path / 'away').as_uri()}/"
    data = shd(tmp_path, download=True, url=url, checksums={"made": sums})
    assert data.splits["test"].labels.tolist() == [0, 1]
    assert {path.name for path in (tmp_path / "SHD").iterdir()} == set(sums)


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_a_damaged_cache_is_named(folder, damage):
    shd(folder)
    (train,) = (folder / "SHD").glob("shd_train*")
    (cached,) = (folder / "cache" / "shd").glob(f"{md5(train)}*")
    path = cached / "first.npy"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-8] if damage == "truncated" else b"")
    with pytest.raises(ValueError, match=rf"^cache: {cached} is damaged \(.*\); remove it"):
        shd(folder)


def test_a_user_without_a_home_is_told_to_name_a_folder(folder, monkeypatch):
    def nobody() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SNNEXP_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(ValueError, match=r"^cache: null, and there is no home .*name a folder"):
        shd(folder, cache=None)


@pytest.mark.parametrize("spoil", ["truncated", "channels", "layout"])
def test_a_spoilt_file_is_refused_by_name(tmp_path, spoil):
    (tmp_path / "SHD").mkdir()
    path = tmp_path / "SHD" / "shd_train.h5"
    if spoil == "channels":
        write(path, TRAINERS, units=([700] * 3, [0], [], [0, 0]))
    elif spoil == "layout":
        with h5py.File(path, "w") as file:
            file["labels"] = [0]
    else:
        write(path, TRAINERS)
        path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"shd_train\.h5"):
        shd(tmp_path)
    assert not list((tmp_path / "cache").glob("shd/*"))  # nothing half-made stays


def test_files_of_two_sources_are_refused(folder):
    train, test = sorted((folder / "SHD").glob("*"), reverse=True)
    sums = {"one": {train.name: md5(train)}, "two": {test.name: md5(test)}}
    with pytest.raises(ValueError, match=r"shd_train\.h5 is one, but shd_test\.h5 is two"):
        shd(folder, checksums=sums)


def ssc(folder, **changes):
    settings = {"root": str(folder), "download": False, "url": "https://nowhere.invalid/"}
    sums = {path.name: md5(path) for path in (folder / "SSC").glob("*")}
    settings |= {"cache": str(folder / "cache"), "checksums": {"made": sums}}
    return SSC(**settings | changes)


@pytest.fixture
def commands(tmp_path):
    (tmp_path / "SSC").mkdir()
    for part, size in (("train", 6), ("valid", 3), ("test", 2)):
        names = [f"word{n}" for n in range(35)]
        write(tmp_path / "SSC" / f"ssc_{part}.h5", [0] * size, keys=names)
    return tmp_path


def test_commands_have_a_validation_split_of_their_own(commands):
    for data in (ssc(commands), ssc(commands)):  # the second time from the cache
        sizes = {stage: len(split) for stage, split in data.splits.items()}
        assert sizes == {"train": 6, "val": 3, "test": 2}
        assert data.splits["val"].labels.tolist() == [0, 1, 2]
        assert data.class_names == tuple(f"word{n}" for n in range(35))
        assert (data.source, data.speakers) == ("made SSC", None)
        words = data.splits["val"].values[torch.tensor([1])]
        assert (words.time.tolist(), words.channel.tolist()) == (TIMES[1], UNITS[1])
        training = [split.values.is_training for split in data.splits.values()]
        assert training == [True, False, False]


def test_commands_without_names_are_numbered(commands):
    write(commands / "SSC" / "ssc_train.h5", [0] * 6)
    assert ssc(commands).class_names[33:] == ("33", "34")


def test_missing_or_mixed_files_of_commands_are_named(commands):
    sums = {path.name: md5(path) for path in (commands / "SSC").glob("*")}
    mixed = {"two": {"ssc_valid.h5": sums.pop("ssc_valid.h5")}, "one": sums}
    with pytest.raises(ValueError, match=r"ssc_train\.h5 is one, but ssc_valid\.h5 is two; take"):
        ssc(commands, checksums=mixed)
    (commands / "SSC" / "ssc_valid.h5").unlink()
    with pytest.raises(ValueError, match=r"^root: .*/SSC lacks ssc_valid\.h5 and .*nowhere"):
        ssc(commands)


@pytest.mark.data
@pytest.mark.skipif(REAL is None, reason="SNNEXP_DATA is not set")
def test_the_real_words(tmp_path):
    """2,264 words test, of which 1,840 are of the speakers 4 and 5, who never train."""
    from snnexp.config import instantiate
    from snnexp.session import compose

    cfg = compose(["dataset=shd", f"dataset.cache={tmp_path}"])
    data = instantiate(cfg.dataset)
    assert sum(len(data.splits[stage]) for stage in ("train", "val")) == 8156
    assert len(data.splits["test"]) == 2264
    assert int(torch.isin(data.speakers["test"], torch.tensor([4, 5])).sum()) == 1840
    assert set(data.speakers["train"].tolist()) == {0, 1, 2, 6, 7, 9, 10, 11}
    words = data.splits["test"].values[:8]
    assert words.time.min() >= 0 and words.time.max() < 2
    shutil.rmtree(tmp_path)
