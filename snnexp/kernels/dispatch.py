"""Chooses the kernel for a scan."""

import functools
import logging

import torch
from torch import Tensor

from snnexp.kernels import reference
from snnexp.kernels.scan import NeuronParameters, Scan, State

log = logging.getLogger(__name__)
KERNELS = ("auto", "reference", "numba")
"""What `backend.kernel` may be."""


def scan(
    current: Tensor,
    parameters: NeuronParameters,
    recurrent: Tensor | None = None,
    state: State | None = None,
    *,
    steps: int | None = None,
    membrane: bool = False,
    margin: bool = False,
    kernel: str = "auto",
) -> Scan:
    """Run `parameters`' update over `current` [time, batch, neuron] from `state` (None: at rest).

    steps: the number of steps if `current` has one that stands for all. recurrent: [to, from]; its
    product with the spikes of a step is added to the current of the next. membrane, margin: record
    these traces; an integrator's membrane is always recorded.
    kernel: `reference` is the plain loop; `numba` the compiled one, for the CPU, whose margin
    carries no gradient; `auto` takes the compiled one where it can, else says once why not.
    """
    steps = len(current) if steps is None else steps
    membrane = membrane or parameters.surrogate is None
    if kernel != "reference":
        lack = _lack(current, parameters)
        if lack is None:
            from snnexp.kernels import fused

            return fused.scan(current, parameters, recurrent, state, steps, membrane, margin)
        _tell(f"the plain loop runs over time, since {lack}")
    whole = current.expand(steps, -1, -1)
    return reference.scan(whole, parameters, recurrent, state, membrane, margin)


def project_events(row: Tensor, channel: Tensor, num_rows: int, weight: Tensor) -> Tensor:
    """[row, neuron]: for each event, the weights [neuron, channel] of its channel onto its row."""
    compiled = weight.dtype in (torch.float32, torch.float64) and weight.device.type == "cpu"
    if compiled and _lacking_compiler() is None:
        from snnexp.kernels import events

        return events.project(row, channel, num_rows, weight)
    rows = weight.new_zeros(num_rows, weight.shape[0])
    return rows.index_add(0, row, weight.t()[channel])


def _lack(current: Tensor, parameters: NeuronParameters) -> str | None:
    """What keeps a scan from the compiled loop, if anything."""
    if current.device.type != "cpu":
        return f"there is no compiled one for {current.device.type} yet"
    if current.dtype not in (torch.float32, torch.float64):
        return f"the compiled one takes no {current.dtype}"
    if parameters.surrogate is not None and parameters.surrogate.formula is None:
        return f"the compiled one does not know {type(parameters.surrogate).__name__}"
    return _lacking_compiler()


@functools.cache
def _lacking_compiler() -> str | None:
    try:
        import snnexp.kernels.loops  # noqa: F401  (compiled, or read from numba's cache, here)
    except (ImportError, RuntimeError) as error:
        return f"numba cannot be used ({error})"
    return None


@functools.cache
def _tell(line: str) -> None:
    """Once a process."""
    log.info(line)
