"""Files of events in the official layout of the Heidelberg data sets, and their cache."""

import hashlib
import os
import shutil
import tempfile
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from snnexp.checks import require

CHUNK = 1000
"""Recordings that are read at once."""
VERSION = 1
"""Of the cache's files."""


@dataclass(frozen=True)
class EventFile:
    """One file: flat arrays of its events, mapped from the cache.

    time [event] float16 in s; channel [event] int16; first [recording + 1] int64, where each
    recording's events begin; label, speaker [recording] int64, -1 where nobody is named.
    source: where the file comes from. names: of the classes, where the file has them.
    """

    time: np.ndarray
    channel: np.ndarray
    first: np.ndarray
    label: np.ndarray
    speaker: np.ndarray
    source: str
    names: tuple[str, ...] = ()


ARRAYS = [field.name for field in fields(EventFile) if field.name not in ("source", "names")]


def read(
    file: str,
    *,
    root: str | None,
    name: str,
    cache: str | None,
    url: str,
    download: bool,
    checksums: Mapping[str, Mapping[str, str]],
    num_channels: int,
) -> EventFile:
    """The events of `file` below `root`/`name`, or of the archive `file`.zip beside or instead.

    checksums: md5 by source, then by file name.
    Raises ValueError for what is missing, truncated, unknown or not in the layout.
    """
    path = _find(Path(root or os.environ.get("SNNEXP_DATA") or "data") / name, file, url, download)
    digest = _md5(path)
    known = {sums[path.name]: source for source, sums in checksums.items() if path.name in sums}
    listed = ", ".join(f"{source} {digest}" for digest, source in known.items()) or "none"
    require(
        digest in known,
        f"root: {path} has md5 {digest}, which is unknown (known: {listed}): it is truncated or "
        "another file. Remove it, so that it is fetched again, or replace it; a file that you "
        "trust is named below dataset.checksums",
    )
    ready = _cache(cache) / name.lower() / f"{digest}-{VERSION}"
    if not ready.is_dir():
        _fill(path, file, ready, num_channels)
    return _map(ready, known[digest])


def _cache(cache: str | None) -> Path:
    chosen = cache or os.environ.get("SNNEXP_CACHE")
    try:
        return Path(chosen) if chosen else Path.home() / ".cache" / "snnexp"
    except RuntimeError as error:  # of a user without a home
        raise ValueError(f"cache: null, and there is no home ({error}); name a folder") from error


def _map(ready: Path, source: str) -> EventFile:
    """What a folder of the cache holds."""
    try:
        arrays = {array: np.load(ready / f"{array}.npy", mmap_mode="r") for array in ARRAYS}
        words = ready / "names.npy"
        names = tuple(map(str, np.load(words))) if words.is_file() else ()
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"cache: {ready} is damaged ({error}); remove it, so that it is made again"
        ) from error
    return EventFile(**arrays, source=source, names=names)


def _find(folder: Path, file: str, url: str, download: bool) -> Path:
    """The unpacked file, or else its archive, which is fetched where it is missing and may be."""
    archive = f"{file}.zip"
    for path in (folder / file, folder / archive):
        if path.is_file():
            return path
    way_out = f"fetch {url}{archive}, or name with dataset.root the folder that holds {folder.name}"
    require(download, f"root: {folder} lacks {file} and {archive}; {way_out}, or allow download")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            partial = Path(made) / archive
            with urllib.request.urlopen(url + archive, timeout=60) as answer:
                with partial.open("wb") as out:
                    shutil.copyfileobj(answer, out)
                size, wanted = partial.stat().st_size, answer.headers["Content-Length"]
            if wanted is not None and size != int(wanted):
                raise OSError(f"{size} bytes came instead of {wanted}")
            partial.replace(folder / archive)
    except (OSError, HTTPException) as error:
        raise ValueError(
            f"root: {folder} lacks {file} and {archive}, and downloading failed ({error}); "
            f"{way_out}"
        ) from error
    return folder / archive


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _fill(path: Path, file: str, ready: Path, num_channels: int) -> None:
    """Write the arrays of a file into the cache's folder `ready`, which then appears as a whole."""
    try:
        ready.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ready.parent) as made:
            folder = Path(made) / "arrays"
            folder.mkdir()
            unpacked = path
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    unpacked = Path(archive.extract(file, made))
            for name, array in _arrays(unpacked, num_channels).items():
                with (folder / f"{name}.npy").open("wb") as out:
                    np.save(out, array)
                    out.flush()
                    os.fsync(out.fileno())  # before its name says that it is there
            if not ready.is_dir():  # else another process was faster
                folder.rename(ready)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"root: {path} is not in the layout of the Heidelberg data sets ({error})"
        ) from error
    except OSError as error:
        if ready.is_dir():
            return
        raise ValueError(
            f"cache: {path} cannot be read into {ready.parent} ({error}); name a folder with room "
            "for it with dataset.cache"
        ) from error


def _arrays(path: Path, num_channels: int) -> dict[str, np.ndarray]:
    """The arrays of `EventFile`, read in a few large parts."""
    import h5py

    with h5py.File(path) as opened:
        file: Any = opened
        label = file["labels"][:].astype(np.int64)
        first = np.zeros(len(label) + 1, np.int64)
        times, channels = [], []
        for start in range(0, len(label), CHUNK):
            part = slice(start, start + CHUNK)
            words = file["spikes/times"][part]
            first[1:][part] = [len(word) for word in words]
            times.append(np.concatenate(words).astype(np.float16))
            channels.append(np.concatenate(file["spikes/units"][part]).astype(np.int16))
        speaker = np.full_like(label, -1)
        if "extra/speaker" in file:
            speaker = file["extra/speaker"][:].astype(np.int64)
        names = file["extra/keys"].asstr()[:] if "extra/keys" in file else []
    channel = np.concatenate(channels)
    if len(channel) and not 0 <= channel.min() <= channel.max() < num_channels:
        raise KeyError(
            f"channels {channel.min()} to {channel.max()} instead of 0 to below {num_channels}"
        )
    return {
        "time": np.concatenate(times),
        "channel": channel,
        "first": first.cumsum(),
        "label": label,
        "speaker": speaker,
        "names": np.array(list(names), np.str_),
    }
