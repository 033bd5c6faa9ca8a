"""The keys of a configuration, and what a message about an unknown name adds."""

import difflib
from collections.abc import Sequence

STAGES = (
    *("dataset", "encoder", "model", "backend", "decoder", "loss"),
    *("optimizer", "scheduler", "trainer"),
)
"""The stages that are one node each."""

NAMED = ("regularizer", "callback", "logger", "energy")
"""The stages of several nodes, by name."""

PLAIN = (
    *("seed", "time", "batch_size", "eval_batch_size", "best", "objectives", "test"),
    "init_from",
)
"""The keys that are no stages."""

TIMES = ("dt", "steps", "early", "late", "bias")
"""Times that data sets and encoders share; besides these there may be what some node refers to."""

OPTIONAL = ("reference",)
"""What an experiment may add: the published value that `scripts/reproduce.py` checks."""


def suggest(name: str, names: Sequence[str]) -> str:
    """What a message about an unknown name adds: the one that was meant, or all known ones."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(sorted(names))}" if names else ""
