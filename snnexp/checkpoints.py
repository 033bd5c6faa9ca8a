"""Checkpoints: written whole or not at all, read without unpickling."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from snnexp.errors import RunError

FOLDER, BEST, LAST = "checkpoints", "best", "last"
LAST_EPOCH = "epoch/trained"
"""The metric by which the last epoch is the best."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the file and renames, so that a killed run leaves no half of a checkpoint."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise RunError(
                f"{path}: the checkpoint cannot be written ({error}); free space there, or choose "
                "another folder with hydra.run.dir"
            ) from error

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        checkpoint = load(path)
        _move(checkpoint.get("callbacks", {}), Path(path).resolve().parent)
        return checkpoint


def path_of(folder: str | Path, name: str) -> Path:
    """The path of the checkpoint `name` (`best` or `last`) of a run's folder."""
    return Path(folder) / FOLDER / f"{name}.ckpt"


def load(path: str | Path) -> dict[str, Any]:
    """A checkpoint's plain containers and tensors, on the CPU.

    Raises RunError if the file is missing, truncated, or holds anything else.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no checkpoint; was an epoch finished?") from error
    except Exception as error:  # a damaged file can fail anywhere in the restricted unpickler
        reason = "it is truncated or holds more than tensors and plain containers"
        raise RunError(
            f"{path}: the checkpoint is refused ({reason}); delete it to start from another one, "
            "or start the run anew"
        ) from error
    parts = checkpoint if isinstance(checkpoint, dict) else {}
    if not isinstance(parts.get("state_dict"), dict) or not {"epoch", "global_step"} <= set(parts):
        raise RunError(f"{path}: this is not a checkpoint of a run; it has no state_dict and epoch")
    return checkpoint


def _move(states: dict[str, Any], folder: Path) -> None:
    """Let the keepers' states name `folder`, where the checkpoints lie by now.

    Lightning drops the best score so far where a state names another folder than the run's: in a
    run that was moved or copied, the next epoch would become the best one, however bad.
    """
    keepers = [state for state in states.values() if isinstance(state, dict) and "dirpath" in state]
    before = {str(k["dirpath"]) for k in keepers if Path(k["best_model_path"]).stem == LAST}
    for state in (keeper for keeper in keepers if keeper["dirpath"] in before):
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = _below(folder, state[name])
        models = state["best_k_models"].items()
        state["best_k_models"] = {_below(folder, path): score for path, score in models}
        state["dirpath"] = str(folder)


def _below(folder: Path, path: str) -> str:
    return str(folder / Path(path).name) if path else path


def load_weights(module: nn.Module, checkpoint: dict[str, Any], path: str | Path) -> None:
    """Put the weights of a checkpoint, which is that of `path`, into `module`.

    Raises RunError, naming the first weight that does not fit, if it is of another architecture.
    """
    refuse_other_architecture(module, checkpoint, path)
    module.load_state_dict(checkpoint["state_dict"])


def refuse_other_architecture(
    module: nn.Module, checkpoint: dict[str, Any], path: str | Path
) -> None:
    """Raise RunError unless names and shapes of a checkpoint's weights are those of `module`."""
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    for name in [*own, *found]:
        if own.get(name) != found.get(name):
            raise RunError(
                f"{path}: the checkpoint is of another architecture: {name} has shape "
                f"{found.get(name, 'none')} there and {own.get(name, 'none')} in this "
                "configuration; use the configuration that it was trained with"
            )


def callbacks(folder: str | Path, metric: str, mode: str) -> list[ModelCheckpoint]:
    """Keepers of the best epoch by a validation metric, and of the last epoch.

    With `LAST_EPOCH` for the metric both keep the last: whatever the mode, validated or not.
    """
    common: dict[str, Any] = {
        "dirpath": Path(folder) / FOLDER,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    at_epoch_end: dict[str, Any] = {**common, "save_on_train_epoch_end": True}
    when, mode = (at_epoch_end, "max") if metric == LAST_EPOCH else (common, mode)
    best = ModelCheckpoint(filename=BEST, monitor=metric, mode=mode, save_top_k=1, **when)
    last = ModelCheckpoint(filename=LAST, save_top_k=1, **at_epoch_end)
    return [best, last]
