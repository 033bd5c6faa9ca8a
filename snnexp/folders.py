"""A run's folder: who may write into it, and what continues it."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from snnexp.errors import RunError

CONFIG = Path(".hydra") / "config.yaml"
SUMMARY = "summary.json"
MODEL_FILE = "model.file"
"""A run's own copy of the file that its `model.file` names."""
UNWRITABLE = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.ENOTDIR)


def saved_config(folder: str | Path) -> DictConfig:
    """The configuration that a run's folder was made with; RunError if it has none."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise RunError(f"{folder}: this is no run's folder; it has no {CONFIG}")
    try:
        cfg = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: this is no configuration ({error})") from error
    if not isinstance(cfg, DictConfig):
        raise RunError(f"{path}: this is no configuration, but a {type(cfg).__name__}")
    return cfg


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place once it is whole, else is removed."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except BaseException:
        with suppress(OSError):  # where there is no such folder, or nothing was written
            partial.unlink()
        raise


def keep_model_file(folder: str | Path, cfg: DictConfig) -> None:
    """Copy the file that the model is read from, if any, into the run's folder.

    So the run outlives it, and can be read from any directory.
    """
    if "file" not in cfg.model or not Path(cfg.model.file).is_file():
        return
    try:
        with whole(Path(folder) / MODEL_FILE) as partial:
            shutil.copyfile(cfg.model.file, partial)
    except OSError as error:
        raise unwritable(folder, error) from error


def with_kept_file(folder: str | Path, cfg: DictConfig) -> DictConfig:
    """The configuration with `model.file` in the run's folder, if the run has kept one."""
    copy = Path(folder) / MODEL_FILE
    if "file" not in cfg.model or not copy.exists():
        return cfg
    return cast(DictConfig, OmegaConf.merge(cfg, {"model": {"file": str(copy)}}))


def summary(folder: str | Path) -> dict[str, Any] | None:
    """What a complete run's `summary.json` says; None if there is none.

    Raises RunError if it cannot be read.
    """
    path = Path(folder) / SUMMARY
    try:
        return dict(json.loads(path.read_text())) if path.is_file() else None
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}); delete this file alone, and write it again from "
            f"the run's checkpoints with python train.py resume={folder}"
        ) from error


def claim(folder: str | Path, cfg: DictConfig) -> None:
    """Refuse a folder that is complete, of another configuration, of something else, or unwritable.

    An empty or new folder, and an interrupted run of the same configuration, are fine.
    """
    folder = Path(folder)
    if (folder / SUMMARY).exists():
        raise RunError(
            f"{folder}: this run is complete and is never overwritten; choose another folder with "
            f"hydra.run.dir, or read it with python -m snnexp.evaluate run={folder}"
        )
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / CONFIG).is_file():
            raise RunError(
                f"{folder}: the folder exists and holds no run; choose another with hydra.run.dir"
            )
        begun = {path.name for path in folder.iterdir()} - {".hydra", "train.log"}
        if begun and _plain(saved_config(folder)) != _plain(cfg):
            raise RunError(
                f"{folder}: the folder holds a run of another configuration; choose another with "
                f"hydra.run.dir, or continue that run with python train.py resume={folder}"
            )
    _refuse_unwritable(folder)


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; RunError where one is at work there.

    The lock ends with its process, however that ends. A file system without locks has none.
    """
    from filelock import FileLock, Timeout

    path = (Path(folder) / CONFIG).with_name("lock")
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"{folder}: another process runs in this folder, and holds {path}; let it end, or "
            "choose another folder with hydra.run.dir"
        ) from error
    except OSError:
        pass
    try:
        yield
    finally:
        lock.release()


def _plain(cfg: DictConfig) -> object:
    return OmegaConf.to_container(cfg, resolve=False)


def _refuse_unwritable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 65536)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: str | Path, error: OSError) -> RunError:
    """The system's complaint with the path that it leaves out."""
    return RunError(
        f"{folder}: the folder cannot be written ({error.strerror or error}); free space there, or "
        "choose another with hydra.run.dir"
    )
