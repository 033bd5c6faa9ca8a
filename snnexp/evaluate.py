"""`python -m snnexp.evaluate run=DIR [chips=N] [overrides]`: a trained run, measured anew.

Overrides are those of the command line: another backend, data split sizes, encoder noise. The
network and its weights are the run's, and so is what a new option does not state: with
`backend/preset=strong` a run's `backend.weight_scale` stays. The result is printed and kept in
`DIR/evaluations/`. What only training reads (`trainer`, `optimizer`, ...) is refused.
`chips=N` stands for `backend.test_chips=N` (with backend=bss2_mock): the test split is measured on
N chips; metrics are their means, `test/accuracy_chips_sd` is the deviation of their accuracies.
Operations are ACs or MACs by NeuroBench's rule, from what a batch (`eval_batch_size`) holds.
"""

import json
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from snnexp import config, console, folders, session
from snnexp.complaints import explain, refuse_flags
from snnexp.datasets import Data
from snnexp.errors import ConfigError, RunError, UserError
from snnexp.experiment import build_trained, score, set_up_torch
from snnexp.session import compose
from snnexp.summary import about

UNREAD = {
    **dict.fromkeys(("optimizer", "scheduler", "callback", "logger"), "leave it out"),
    **dict.fromkeys(("best", "objectives", "init_from"), "leave it out"),
    "trainer": "leave it out; how the network is run is said below backend",
    "test": "leave it out; the test split is always measured",
    "batch_size": "set eval_batch_size",
}
"""Keys of training alone, and the way out for one who sets them."""


def evaluate(folder: str | Path, overrides: list[str]) -> dict[str, Any]:
    """Validation and test metrics of a run's best weights under changed settings.

    Raises UserError if the folder holds no trained run, or an override cannot be applied.
    """
    try:
        cfg = override(folder, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, overrides)) from error
    config.check(cfg)
    dataset, classifier, settings = build_trained(cfg, folder)
    for operations in classifier.operations.values():
        operations.by_content = True
    set_up_torch()
    settings["devices"] = 1  # also of a run that several processes trained
    trainer = pl.Trainer(
        **settings,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic=True,
    )
    data = Data(dataset, cfg.batch_size, cfg.eval_batch_size, cfg.seed)
    metrics = score(trainer, classifier, data)
    metrics |= classifier.network.backend.describe(cfg.time.dt * cfg.time.steps)
    return metrics | {"overrides": overrides} | about(cfg.seed, trainer.strategy.root_device)


def override(folder: str | Path, overrides: list[str]) -> DictConfig:
    """The run's saved configuration with other options of groups, and other values of keys.

    A new option brings what it states; beside it, and where the run's own option is chosen again,
    the run's values stay. Options of a user's own are found where the run found them.
    """
    cfg = folders.saved_config(folder)
    if not overrides:
        return cfg
    refuse_flags(overrides, "own options are found where the run found them, so leave it out")
    parsed = OverridesParser.create().parse_overrides(overrides)
    for one in parsed:
        key = re.split(r"[./]", one.key_or_group)[0]
        if key in UNREAD:
            raise RunError(f"{one.input_line}: an evaluation reads nothing of {key}; {UNREAD[key]}")
        if one.key_or_group == "model.file":
            raise RunError(f"{one.input_line}: a run is read with the file it kept; leave it out")
    chosen = [one for one in parsed if config.is_choice(one)]
    for key in (one.key_or_group for one in chosen):
        if key in ("dataset", "model", "experiment", "sweep"):
            raise RunError(f"{key}: a trained run cannot be evaluated as another {key}")
    if chosen:
        runtime = session.runtime(folder)
        choices, own = dict(runtime.choices), config.own_folders(runtime)
        new = [one for one in chosen if choices.get(one.get_key_element()) != one.value()]
        words = [*_beside(choices, new, own), *(str(one.input_line) for one in new)]
        composed = compose([*config.search_path(own), *words])
        for one in new:
            _apply(one, composed, cfg, own)
    OmegaConf.set_struct(cfg, True)
    for one in (one for one in parsed if one not in chosen):
        if one.key_or_group == "backend.test_chips" and "test_chips" not in cfg.backend:
            raise RunError(
                f"{one.input_line}: the run's backend has no chips; add backend=bss2_mock, the "
                "emulated chip"
            )
        if one.is_delete():
            raise RunError(f"{one.input_line}: a key of a trained run cannot be taken away")
        may_add = one.is_add() or one.is_force_add()
        OmegaConf.update(cfg, one.key_or_group, one.value(), force_add=may_add)
    return cfg


def _beside(choices: Mapping[str, str | None], new: list[Override], own: list[Path]) -> list[str]:
    """Those of the run's choices that new ones are composed beside: all stages, and what has them.

    An option that is no more there, in a folder of a user's own, is left out.
    """
    places = [_place(one.get_key_element()) for one in new]
    words = []
    for key, option in choices.items():
        group, place = key.partition("@")[0], _place(key)
        has_new = any(at.startswith(f"{place}.") for at in places)
        is_stage = place in config.STAGES
        replaced = any(f"{place}.".startswith(f"{at}.") for at in places)
        is_known = _file(group, option, own) is not None
        if (is_stage or has_new) and is_known and not replaced:
            words.append(f"{key}={option}")
    return words


def _file(group: str, option: object, own: list[Path]) -> Path | None:
    """The file of an option, ours or in folders of a user's own."""
    files = (root / group / f"{option}.yaml" for root in (config.directory(), *own))
    return next((file for file in files if file.is_file()), None)


def _place(key: str) -> str:
    """Where the options of a group go, unless they say it themselves."""
    group, _, package = key.partition("@")
    return package or group.replace("/", ".")


def _apply(one: Override, composed: DictConfig, cfg: DictConfig, own: list[Path]) -> None:
    """Put what a new option states in the place of what the run had there."""
    place, value = _place(one.get_key_element()), one.value()
    if isinstance(value, list) or one.key_or_group in config.NAMED:
        node, of_run = OmegaConf.select(composed, place), OmegaConf.select(cfg, place) or {}
        kept = {name: of_run.get(name, of_option) for name, of_option in node.items()}
        OmegaConf.update(cfg, place, kept, merge=False)
        return
    path = cast(Path, _file(one.key_or_group, value, own))  # it was composed
    elsewhere = re.match(r"# @package ([\w.]+)\n", path.read_text())
    if elsewhere is None:
        OmegaConf.update(cfg, place, OmegaConf.select(composed, place), merge=False)
        return
    for name, stated in cast(DictConfig, OmegaConf.load(path)).items():
        OmegaConf.update(cfg, f"{elsewhere[1]}.{name}", stated, merge=False)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    given = [text.removeprefix("run=") for text in arguments if text.startswith("run=")]
    rest = [text for text in arguments if not text.startswith("run=")]
    rest = [f"backend.test_{text}" if text.startswith("chips=") else text for text in rest]
    if len(given) != 1 or "--help" in rest:
        sys.exit(
            "usage: python -m snnexp.evaluate run=DIR [chips=N] [group=option] [key=value] ..."
        )
    console.quieten_lightning()
    console.show_log()
    try:
        metrics = evaluate(given[0], rest)
    except UserError as error:
        sys.exit(f"error: {error}")
    path = Path(given[0]) / "evaluations" / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}.json"
    console.print_metrics(metrics)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(metrics, indent=1))
    except OSError as error:
        sys.exit(f"error: {folders.unwritable(path.parent, error)}")
    print(f"saved in {path}")


if __name__ == "__main__":
    main()
