"""An experiment: what modules were called on, and its run in the order of the flow."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from snnexp.checks import is_whole, require_positive
from snnexp.hxtorch.chip import Chip
from snnexp.hxtorch.snn.handles import Handle

if TYPE_CHECKING:
    from snnexp.hxtorch.snn.base import HXModule

log = logging.getLogger("snnexp.hxtorch")


class Experiment:
    """Modules that one `run` goes through; `mock` runs them in floats, else the emulated chip.

    dt: step of the time grid, in s. The other arguments are accepted for hxtorch's sake.
    """

    def __init__(
        self,
        mock: bool = False,
        dt: float = 1e-6,
        calib_path: Any = None,
        hw_routing_func: Any = None,
        execution_instance: Any = None,
    ):
        self.mock = mock
        (self.dt,) = require_positive("s", dt=dt)
        self.calls: list[tuple[HXModule, Handle]] = []
        self.ids: dict[HXModule, int] = {}
        self.chip: Chip | None = None

    def connect(self, module: HXModule, inputs: Iterable[Handle]) -> None:
        """Note that `module` was called on `inputs`."""
        self.ids.setdefault(module, len(self.ids))
        for handle in inputs:
            if (module, handle) not in self.calls:
                self.calls.append((module, handle))

    def clear(self) -> None:
        """Forget the calls; modules keep their ids."""
        self.calls = []

    def ordered(self) -> dict[HXModule, list[Handle]]:
        """The modules that were called, each behind those it hears of, with their inputs.

        Raises ValueError for two ways between two modules, directions aside: such graphs, and so
        recurrence, hxtorch refuses.
        """
        group: dict[int, int] = {}

        def root(node: int) -> int:
            while group.get(node, node) != node:
                node = group[node]
            return node

        inputs: dict[HXModule, list[Handle]] = {}
        for module, handle in self.calls:
            inputs.setdefault(module, []).append(handle)
            ends = root(id(handle)), root(id(module.output_handle))
            if ends[0] == ends[1]:
                raise ValueError(
                    f"{type(module).__name__}: its input closes a cycle (directions aside), which "
                    "hxtorch refuses; recurrent networks are model.neuron.recurrent=true of snnexp"
                )
            group[ends[0]] = ends[1]
        made = {module.output_handle: module for module in inputs}
        done: dict[HXModule, list[Handle]] = {}

        def visit(module: HXModule) -> None:
            for handle in inputs[module]:
                if handle in made and made[handle] not in done:
                    visit(made[handle])
            done.setdefault(module, inputs[module])

        for module in inputs:
            visit(module)
        return done


def run(experiment: Experiment, runtime: Any) -> None:
    """Run the modules that were called since the last run and fill their handles.

    runtime: number of steps of dt; ignored with `mock`. Raises ValueError for one that is no whole
    number of at least 1, for a cycle, and on the chip for what does not fit it.
    """
    if not experiment.mock and not (is_whole(runtime) and runtime >= 1):
        raise ValueError(f"runtime: {runtime!r}; on the chip it is a whole number of steps")
    try:
        modules = experiment.ordered()
        for module, handles in modules.items():
            module.prepare([_source(handle, modules) for handle in handles])
        measure = None
        if not experiment.mock:
            assert runtime is not None
            experiment.chip = experiment.chip or Chip()
            measure = experiment.chip.begin(modules, runtime, experiment.dt)
        for module, handles in modules.items():
            inputs = [_tensor(module, handle) for handle in handles]
            hw_data = None if measure is None else measure(module, handles)
            outputs = module.apply_function(inputs, hw_data)
            if measure is not None:
                outputs = module.recorded(outputs)
            module.output_handle.clear()
            module.output_handle.put(*outputs)
    finally:
        experiment.clear()


def _source(handle: Handle, modules: Iterable[HXModule]) -> HXModule | None:
    return next((module for module in modules if module.output_handle is handle), None)


def _tensor(module: HXModule, handle: Handle) -> torch.Tensor:
    value = handle.observable_state
    if value is None:
        raise ValueError(
            f"{type(module).__name__}: its input {type(handle).__name__} holds no "
            f"{handle.observable}; put a tensor into it, or call the module that makes it first"
        )
    return value
