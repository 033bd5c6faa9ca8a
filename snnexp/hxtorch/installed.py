"""hxtorch's own names for this interface."""

import importlib
import importlib.util
import pkgutil
import sys
from types import ModuleType

HELPERS = ("_static.common.helpers", "_static.tutorial.snn_yinyang_helpers")


def install() -> None:
    """Let `import hxtorch`, `import hxtorch.snn` and `from dlens_vx_v3 import halco` find it.

    The helpers that BrainScaleS-2's tutorials import from `_static` are found as well.
    Raises RuntimeError where the real hxtorch or dlens_vx_v3 is there.
    """
    for name in ("hxtorch", "dlens_vx_v3"):
        if not _is_ours(name) and (name in sys.modules or importlib.util.find_spec(name)):
            raise RuntimeError(
                f"{name}: the real one is installed; use it, or import snnexp.hxtorch by its name"
            )
    _alias("snnexp.hxtorch", "hxtorch")
    _alias("snnexp.hxtorch.snn", "hxtorch.spiking")
    coordinates = importlib.import_module("snnexp.hxtorch.halco")
    library = ModuleType("dlens_vx_v3")
    library.halco = coordinates  # type: ignore[attr-defined]
    sys.modules |= {"dlens_vx_v3": library, "dlens_vx_v3.halco": coordinates}
    _offer_helpers()


def _offer_helpers() -> None:
    """Under the tutorials' names; what else a folder `_static` holds stays as it is."""
    helpers = importlib.import_module("snnexp.hxtorch.helpers")
    for name in HELPERS:
        *parents, _ = name.split(".")
        for depth in range(1, len(parents) + 1):
            parent = ".".join(parents[:depth])
            if parent not in sys.modules and importlib.util.find_spec(parent) is None:
                package = sys.modules[parent] = ModuleType(parent)
                package.__path__ = []
        sys.modules[name] = helpers


def _is_ours(name: str) -> bool:
    module = sys.modules.get(name)
    named = "snnexp.hxtorch.halco" if name == "dlens_vx_v3" else "snnexp.hxtorch"
    module = getattr(module, "halco", module)
    return getattr(module, "__name__", "") == named


def _alias(ours: str, name: str) -> None:
    """A package and all below it under another name."""
    package = sys.modules[name] = importlib.import_module(ours)
    for part in pkgutil.iter_modules(package.__path__):
        if part.ispkg:
            _alias(f"{ours}.{part.name}", f"{name}.{part.name}")
        else:
            sys.modules[f"{name}.{part.name}"] = importlib.import_module(f"{ours}.{part.name}")
