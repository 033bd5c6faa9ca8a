"""`python -m snnexp.export run=DIR [file=PATH] [dt=...] [method=...] [inexact=true]`: to NIR.

Writes a trained run's network (best epoch) as a file of the Neuromorphic Intermediate
Representation, which other tools and chips read; `file` is `DIR/network.nir` unless said. dt: what
a step lasts in the file's unit of time (default: time.dt, in s); method: exponential or euler, how
time constants follow from decays per step; inexact: also what NIR has no word for, kept in the
file's metadata. See docs/nir.md.
"""

import difflib
import sys
from pathlib import Path

import nir

from snnexp import console, experiment, folders
from snnexp.checks import require_choice
from snnexp.errors import ConfigError, RunError, UserError
from snnexp.nir import to_graph
from snnexp.nir.nodes import METHODS

NAMES = ("run", "file", "dt", "method", "inexact")


def export(
    folder: str | Path,
    file: str | Path | None = None,
    dt: float | None = None,
    method: str | None = None,
    inexact: bool = False,
) -> Path:
    """Write the network of a run's best epoch, and return the file.

    Arguments as `snnexp.nir.to_graph` has them. Raises UserError if there is no such run, what it
    has is no node of NIR, or the file is there already or cannot be written.
    """
    path = Path(file or Path(folder) / "network.nir")
    if path.exists():
        raise RunError(f"file: {path} exists and is not overwritten; name another with file=PATH")
    classifier = experiment.load(folder)
    try:
        graph = to_graph(classifier.network, dt, method, inexact)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    try:
        with folders.whole(path) as partial:
            nir.write(partial, graph)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"file: {path} cannot be written ({reason}); name another") from error
    return path


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    words = sys.argv[1:] if arguments is None else arguments
    console.show_log()
    try:
        given = _parse(words)
        path = export(**given)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"saved in {path}")


def _parse(words: list[str]) -> dict:
    usage = (
        "usage: python -m snnexp.export run=DIR [file=PATH] [dt=...] [method=...] [inexact=true]"
    )
    if "--help" in words or not words:
        sys.exit(usage)
    given: dict = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in NAMES or not value:
            close = difflib.get_close_matches(name, NAMES, 1)
            hint = f"did you mean {close[0]}=...?" if close else usage
            raise ConfigError(f"{word}: unknown; {hint}")
        given[name] = value
    if "run" not in given:
        raise ConfigError(f"run: missing; {usage}")
    try:
        if "dt" in given:
            given["dt"] = float(given["dt"])
        require_choice(METHODS, method=given.get("method", METHODS[0]))
        require_choice(("true", "false"), inexact=given.get("inexact", "false"))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    given["inexact"] = given.get("inexact") == "true"
    return {"folder": given.pop("run"), **given}


if __name__ == "__main__":
    main()
