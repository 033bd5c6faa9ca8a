"""What the command line prints: the options of each group, and the results of a run."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from snnexp import config

USAGE = """\
Train and measure spiking neural networks.

  python train.py model=lif dataset=yinyang seed=1       one run
  python train.py -m model=lif,cuba_lif seed=0,1         one run for each combination
  python train.py resume=DIR                             continue an interrupted run
  python -m snnexp.evaluate run=DIR backend=cpu          measure a trained run anew
  python train.py model=lif --cfg job                    show the configuration, run nothing

Any value of the configuration can be set by its key: optimizer.lr=1e-3 model.hidden_sizes=[64,64].
Options by group, chosen with group=option:
"""


def help_text(arguments: Sequence[str]) -> str:
    """The usage, and each group's options with the first line of their files."""
    roots = [config.directory(), *_config_dirs(arguments)]
    lines = [USAGE]
    for group, options in sorted(_options(roots).items()):
        lines.append(group)
        lines += [f"  {name:<24}{text}" for name, text in sorted(options.items())]
    return "\n".join(lines)


def _config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders given with --config-dir (or -cd), in either spelling."""
    found = []
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, inline = flag.partition("=")
        if name in ("--config-dir", "-cd"):
            found.append(Path(inline or value))
    return found


def _options(roots: Sequence[Path]) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {}
    for root in roots:
        for path in sorted(root.rglob("*.yaml")):
            group = path.relative_to(root).parent.as_posix()
            if group != "." and not group.startswith("hydra"):
                groups.setdefault(group, {})[path.stem] = _first_comment(path)
    return groups


def _first_comment(path: Path) -> str:
    """The first comment of a file that is not a package header."""
    for line in path.read_text().splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#") and not text.startswith("@"):
            return text
    return ""


ROWS = (
    ("accuracy, test", "test/accuracy", "{:.2%}"),
    ("its deviation over trials", "test/accuracy_sd", "{:.2%}"),
    ("its deviation over chips", "test/accuracy_chips_sd", "{:.2%}"),
    ("accuracy, validation", "val/accuracy", "{:.2%}"),
    ("loss, test", "test/loss", "{:.4f}"),
    ("firing rate", "test/rate_hz", "{:.3g} Hz"),
    ("spikes a sample", "test/spikes_per_sample", "{:.4g}"),
    ("synops a sample, AC", "test/synops_ac_per_sample", "{:.5g}"),
    ("synops a sample, MAC", "test/synops_mac_per_sample", "{:.5g}"),
    ("synops a sample, fanout", "test/synops_fanout_per_sample", "{:.5g}"),
    ("chip's circuits", "chip/circuits", "{}"),
    ("chip's runs", "chip/runs", "{}"),
    ("chip's energy an inference", "chip/joules_per_inference", "{:.3g} J"),
    ("silent outputs", "test/silent_output_fraction", "{:.2%}"),
    ("best epoch", "epoch/best", "{}"),
    ("seconds", "seconds/total", "{:.1f}"),
)


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """A short table of results."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for label, name, form in ROWS:
        if name in metrics:
            table.add_row(label, form.format(metrics[name]))
    Console().print(table)


def show_log() -> None:
    """Plain lines of what is logged, where nobody has said how."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("snnexp").setLevel(logging.INFO)


def quieten_lightning() -> None:
    """Leave out what Lightning says of no use to a user; call it once Lightning is imported.

    Its notes repeat the configuration; its warnings here are of torch's tree utilities, and of a
    folder of checkpoints that a continued run goes on filling.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
