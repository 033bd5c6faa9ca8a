"""Shapes and types are checked at run time in the tests; tiny configurations for all of them."""

import os
from collections.abc import Callable
from pathlib import Path

import jaxtyping
import pytest

import tests.typecheck  # noqa: F401  (the hook below looks it up by name)

PACKAGE = Path(__file__).resolve().parent.parent / "snnexp"
CHECKED = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    # a compiled loop takes plain tensors; the package's own name would stand for all below it
    if "kernels" not in path.parts and path != PACKAGE / "__init__.py"
]
jaxtyping.install_import_hook(CHECKED, "tests.typecheck.checked")

os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")

TINY = (
    "dataset.sizes={train: 20, val: 10, test: 10}",
    "model.hidden_sizes=[6]",
    "batch_size=8",
    "eval_batch_size=8",
    "trainer.max_epochs=1",
    "callback=[]",
    "logger=[table]",
)
"""Overrides that make any configuration of the Yin-Yang data set run in a second."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """A test draws the same numbers alone, and behind whichever others."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def compose() -> Callable:
    """Composes a tiny configuration: `compose("model=lif", "seed=1")`."""
    from snnexp.session import compose as compose_config

    def tiny(*overrides: str):
        return compose_config([*TINY, *overrides])

    return tiny


@pytest.fixture
def train(compose: Callable, tmp_path: Path) -> Callable:
    """Runs a tiny configuration in a folder of its own: `train("model=lif", folder="a")`."""
    from snnexp import session

    def run(*overrides: str, folder: str = "run"):
        return session.run_composed([*TINY, *overrides], tmp_path / folder)

    return run
