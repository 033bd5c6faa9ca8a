"""Spiking Heidelberg Digits and Speech Commands (Cramer, Stradmann, Schemmel & Zenke 2020)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from snnexp.checks import require, require_between, require_choice
from snnexp.datasets.hdf5 import EventFile, read
from snnexp.datasets.memory import MemoryDataset, Split
from snnexp.randomness import generator
from snnexp.recordings import Words

NAMES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
)


class SHD(MemoryDataset):
    """Spoken English and German digits as events of 700 channels; of 12 speakers 2 only test.

    root: folder that holds SHD/shd_{train,test}.h5 or the .h5.zip archives; None for the
    environment's SNNEXP_DATA, else `data`. download: fetch missing archives from `url`.
    cache: folder in which the events lie ready to be mapped; None for the environment's
    SNNEXP_CACHE, else ~/.cache/snnexp. checksums: md5 by source and file; both files must come from
    one source, which a run states as `dataset/source`.
    validation: `speakers`, the training words of `val_speakers` validate; `random`, the share
    `val_share` of the words, drawn with `val_seed`; `none`, all words are trained on, and what is
    validated on are words of `val_speakers` that are trained on too, so that it must not select.
    Raises ValueError for missing, truncated or unknown files, and for an empty split.
    """

    num_features = 700
    num_classes = 20
    class_names = NAMES
    yields = "recordings"

    def __init__(
        self,
        *,
        root: str | None,
        download: bool,
        url: str,
        cache: str | None,
        checksums: Mapping[str, Mapping[str, str]],
        validation: str,
        val_speakers: Sequence[int],
        val_share: float,
        val_seed: int,
    ):
        require_choice(("speakers", "random", "none"), validation=validation)
        require_between(0, 1, val_share=val_share)
        folder = {"root": root, "name": "SHD", "cache": cache, "url": url, "download": download}
        train = read("shd_train.h5", checksums=checksums, num_channels=self.num_features, **folder)
        test = read("shd_test.h5", checksums=checksums, num_channels=self.num_features, **folder)
        self.source = f"{_one_source({'shd_train.h5': train, 'shd_test.h5': test})} SHD"
        held_out = _held_out(train.speaker, validation, val_speakers, val_share, val_seed)
        trained = np.ones_like(held_out) if validation == "none" else ~held_out
        require(
            bool(trained.any() and held_out.any()),
            f"validation: {validation!r} leaves one split empty; change val_speakers or val_share",
        )
        parts = {
            "train": (train, trained.nonzero()[0]),
            "val": (train, held_out.nonzero()[0]),
            "test": (test, np.arange(len(test.label))),
        }
        self.splits, self.speakers = {}, {}
        for stage, (file, chosen) in parts.items():
            self.splits[stage] = _split(file, chosen, self.num_features, stage == "train")
            self.speakers[stage] = torch.from_numpy(file.speaker[chosen])


class SSC(MemoryDataset):
    """35 English words as events of 700 channels, with a validation split of its own.

    root: folder that holds SSC/ssc_{train,valid,test}.h5 or the .h5.zip archives. The rest is as in
    `SHD`. Words are named as the training file names them, else by number.
    Raises ValueError for missing, truncated or unknown files.
    """

    num_features = 700
    num_classes = 35
    yields = "recordings"

    def __init__(
        self,
        *,
        root: str | None,
        download: bool,
        url: str,
        cache: str | None,
        checksums: Mapping[str, Mapping[str, str]],
    ):
        folder = {"root": root, "name": "SSC", "cache": cache, "url": url, "download": download}
        files = {
            f"ssc_{part}.h5": read(
                f"ssc_{part}.h5", checksums=checksums, num_channels=self.num_features, **folder
            )
            for part in ("train", "valid", "test")
        }
        self.source = f"{_one_source(files)} SSC"
        self.splits = {
            stage: _split(file, np.arange(len(file.label)), self.num_features, stage == "train")
            for stage, file in zip(("train", "val", "test"), files.values(), strict=True)
        }
        named = files["ssc_train.h5"].names
        numbers = tuple(map(str, range(self.num_classes)))
        self.class_names = named if len(named) == self.num_classes else numbers


def _one_source(files: Mapping[str, EventFile]) -> str:
    """Where all files come from."""
    (first, source), *others = ((name, file.source) for name, file in files.items())
    for name, other in others:
        require(
            other == source,
            f"root: {first} is {source}, but {name} is {other}; take all files from one source",
        )
    return source


def _split(file: EventFile, chosen: np.ndarray, num_channels: int, is_training: bool) -> Split:
    words = Words(
        file.time, file.channel, file.first, chosen, num_channels, is_training, file.label
    )
    return Split(words, torch.from_numpy(file.label[chosen]))


def _held_out(
    speaker: np.ndarray, validation: str, speakers: Sequence[int], share: float, seed: int
) -> np.ndarray:
    """Which training words validate."""
    if validation == "random":
        order = torch.randperm(len(speaker), generator=generator(seed, 0, "validation")).numpy()
        return order < round(share * len(speaker))
    there = sorted(set(speaker.tolist()))
    for number in speakers:
        require(
            number in there, f"val_speakers: {number!r} has no training words; choose of {there}"
        )
    return np.isin(speaker, list(speakers))
