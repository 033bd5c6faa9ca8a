"""Neurons as nodes of the Neuromorphic Intermediate Representation (NIR).

NIR (Pedersen et al. 2024) states neurons in continuous time:

    I, IF:           v' = r x
    LI, LIF:         tau v' = v_leak - v + r x
    CubaLI, CubaLIF: tau_syn i' = w_in x - i, tau_mem v' = v_leak - v + r i

and a spike, of the second of each pair, takes v from v_threshold to v_reset. It knows no steps. On
a grid of step dt a decay is exp(-dt / tau) or, by explicit Euler, 1 - dt / tau; what comes in
during a step counts for 1 minus the decay, of I and IF for dt.
"""

import math
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from torch import Tensor

from snnexp.checks import require, require_choice, require_positive
from snnexp.kernels import NeuronParameters

METHODS = ("exponential", "euler")

SILENT = (nir.I, nir.LI, nir.CubaLI)
SPIKING = (nir.IF, nir.LIF, nir.CubaLIF)

DETAILS = {
    "hard": True,
    "before_reset": False,
    "strict": True,
    "multiple": False,
    "delayed": False,
    "returns_late": False,
    "refractory_steps": 0,
}
"""What NIR has no word for: fields of `NeuronParameters` that a node's metadata keep, and what they
are in a file that does not say. A reset that subtracts is a late one with `before_reset`."""


@dataclass(frozen=True)
class Grid:
    """How steps and NIR's time go together.

    dt: what a step lasts in the unit of time of NIR's numbers. method: `exponential` or `euler`.
    """

    dt: float
    method: str

    def __post_init__(self) -> None:
        require_positive(dt=self.dt)
        require_choice(METHODS, method=self.method)

    def tau(self, keep: np.ndarray) -> np.ndarray:
        """The time constants of decays per step, which are below 1."""
        with np.errstate(divide="ignore"):
            return self.dt / (1 - keep if self.method == "euler" else -np.log(keep))

    def keep(self, tau: np.ndarray) -> np.ndarray:
        """The decays per step of time constants; by Euler of those of at least dt."""
        with np.errstate(divide="ignore"):
            share = self.dt / tau
        return 1 - share if self.method == "euler" else np.exp(-share)


def written(
    constants: NeuronParameters, shape: tuple[int, ...], grid: Grid
) -> tuple[nir.NIRNode, np.ndarray]:
    """The node of neurons of this shape, and what is added to the current that they get.

    Raises ValueError for neurons that NIR has no node for, with what they do.
    """
    require(not constants.adaptive, "adapts or swings")
    numbers = _numbers(constants, shape)
    keep, syn, gain, rest = (numbers[name] for name in ("keep_mem", "keep_syn", "gain", "rest"))
    integrates, filters = bool((keep == 1).all()), bool(syn.any()) or constants.delayed
    spikes = constants.surrogate is not None
    _require_stable(numbers)
    require(integrates or bool((keep < 1).all()), "leaks in some neurons and in others not")
    require(bool(gain.all()), "takes in no current in some neurons")
    leaked = (1 - keep) * rest
    is_leaked = np.isclose(numbers["drift"], leaked, rtol=1e-6, atol=0)  # in single precision, too
    added = np.where(is_leaked, 0, numbers["drift"] - leaked) / gain
    node = {"r": gain / grid.dt}
    if integrates:
        require(not filters, "integrates a synaptic current without a leak")
        require(not rest.any(), "integrates from another membrane than 0")
    else:
        node = {"r": gain / (1 - keep), "v_leak": rest, "tau": grid.tau(keep)}
    if filters:
        require(bool((syn < 1).all()), "has synaptic currents that do not decay")
        require(not added.any(), "has a bias behind its synaptic current")
        node |= {"tau_mem": node.pop("tau"), "tau_syn": grid.tau(syn), "w_in": 1 / (1 - syn)}
    kind = (SPIKING if spikes else SILENT)[0 if integrates else 2 if filters else 1]
    metadata: dict[str, Any] = {"delayed": constants.delayed} if filters else {}
    if spikes:
        metadata = {name: getattr(constants, name) for name in DETAILS}
        node |= {"v_threshold": numbers["threshold"], "v_reset": _reset(constants, numbers)}
    return kind(**node, metadata=metadata), added


def _require_stable(numbers: dict[str, np.ndarray]) -> None:
    for number in numbers.values():
        require(bool(np.isfinite(number).all()), "has numbers that are not finite")
    for name in ("keep_mem", "keep_syn"):
        decays = bool(((numbers[name] >= 0) & (numbers[name] <= 1)).all())
        require(decays, "has decays per step that are not between 0 and 1")


def _numbers(constants: NeuronParameters, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Those that NIR has a word for, by neuron."""
    names = ("keep_mem", "keep_syn", "gain", "drift", "rest", "threshold", "amount", "late", "to")
    found = {}
    for name in names:
        number = getattr(constants, name)
        if isinstance(number, Tensor):
            number = number.detach().cpu().double().numpy()
        flat = np.broadcast_to(np.asarray(number, dtype=np.float64), (math.prod(shape),))
        found[name] = flat.reshape(shape)
    return found


def _reset(constants: NeuronParameters, numbers: dict[str, np.ndarray]) -> np.ndarray:
    """Where a spike takes a membrane that is at the threshold."""
    if constants.hard:
        require(not numbers["late"].any(), "resets in the step of a spike and in the next")
        above = bool((numbers["threshold"] > numbers["to"]).all())
        require(above, "does not reset to below its threshold")
        return numbers["to"]
    now, other = ("late", "amount") if constants.before_reset else ("amount", "late")
    require(not numbers[other].any(), "resets in the step of a spike and in the next")
    require(bool((numbers[now] > 0).all()), "does not reset")
    return numbers["threshold"] - numbers[now]


def approximations(constants: NeuronParameters) -> dict[str, str]:
    """What the node of these neurons does not say, so that another reader runs other neurons.

    With the key and value of those that have none of it.
    """
    spikes = constants.surrogate is not None
    soft = spikes and not constants.hard
    found = {
        "a reset that subtracts": (soft, "reset=zero"),
        "a reset that waits for the next step": (
            soft and constants.before_reset,
            "reset_delay=false",
        ),
        "a synaptic current that is felt a step late": (constants.delayed, "method=exponential"),
        "spikes that leave a step late": (constants.returns_late, "spike_from=after"),
        "several spikes in a step": (constants.multiple, "multiple=false"),
        "a refractory time": (constants.refractory_steps > 0, "tau_ref=0.0"),
    }
    return {what: way for what, (is_so, way) in found.items() if is_so}
