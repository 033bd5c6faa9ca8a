"""Small files in the official layout of the Heidelberg data sets."""

import hashlib
import zipfile

import h5py
import numpy as np

TIMES = ([0.0, 0.25, 0.5], [0.125], [], [0.75, 0.25])
UNITS = ([0, 699, 350], [5], [], [7, 7])


def write(path, speaker, times=TIMES, units=UNITS, keys=None):
    """One file of len(speaker) words, labelled 0, 1, 2, ...; the words repeat.

    keys: the classes' names, with which a file of nobody in particular is written.
    """
    count = len(speaker)
    with h5py.File(path, "w") as file:
        for name, kind, words in (("times", np.float16, times), ("units", np.uint16, units)):
            shape = (count,)
            data = file.create_dataset(f"spikes/{name}", shape, h5py.vlen_dtype(kind))
            for index in range(count):
                data[index] = np.array(words[index % len(words)], kind)
        file["labels"] = np.arange(count, dtype=np.uint16)
        if keys is None:
            file["extra/speaker"] = np.array(speaker, np.uint16)
        else:
            file["extra/keys"] = np.array(keys, "S")
    return path


def pack(path):
    """The archive of a file beside it, in its place."""
    archive = path.with_name(path.name + ".zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(path, path.name)
    path.unlink()
    return archive


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()
