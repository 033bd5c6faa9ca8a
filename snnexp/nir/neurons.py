"""Neurons in the Neuromorphic Intermediate Representation (NIR), and those read from there.

NIR (Pedersen et al. 2024) states neurons in continuous time:

    I, IF:           v' = r x
    LI, LIF:         tau v' = v_leak - v + r x
    CubaLI, CubaLIF: tau_syn i' = w_in x - i, tau_mem v' = v_leak - v + r i

and a spike, of the second of each pair, takes v from v_threshold to v_reset. It knows no steps. On
a grid of step dt a decay is exp(-dt / tau) or, by explicit Euler, 1 - dt / tau; what comes in
during a step counts for 1 minus the decay, of I and IF for dt.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from snnexp.checks import require, require_choice, require_positive
from snnexp.kernels import NeuronParameters
from snnexp.kernels.surrogates import Surrogate
from snnexp.models.neurons import Circuit, Neuron

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
    require(not constants.adaptive, "adapts")
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


@dataclass(frozen=True)
class Source:
    """What a `NIRNeuron` is made from.

    node: of NIR, whose numbers are of shape [...], one for each neuron, or one for all. name: the
    node's. added: to the current of each neuron, [neuron], by the neurons themselves, which those
    of a synaptic current cannot do. looped: whether its spikes come back.
    """

    node: nir.NIRNode
    name: str
    grid: Grid
    added: np.ndarray
    looped: bool

    def number(self, name: str, size: int) -> np.ndarray:
        """One of the node's, of each of `size` neurons, [neuron]."""
        values = np.asarray(getattr(self.node, name), dtype=np.float64).reshape(-1)
        fits = values.size in (1, size)
        require(fits, self.say(f"{name} has {values.size} values for {size} neurons"))
        require(bool(np.isfinite(values).all()), self.say(f"{name} is not finite"))
        return np.broadcast_to(values, (size,))

    def say(self, what: str) -> str:
        """A complaint about the node."""
        return f"the node {self.name} of model.file cannot be read: {what}"


class NIRNeuron(Neuron):
    """A node of NIR on the grid: v(t) = b v(t-1) + (1 - b) (v_leak + r x(t)), and as `Grid` says.

    The synaptic current of CubaLI and CubaLIF is i(t) = a i(t-1) + (1 - a) w_in x(t). z(t) =
    H(v(t) - v_threshold). Membranes begin at v_leak, those of I and IF at 0. Numbers stay as they
    are read; only weights learn.

    What NIR does not say, each None for what the file's metadata do, which a file of snnexp has:
    reset: `zero` (to v_reset; so without metadata), or `subtract` (v_threshold - v_reset).
    reset_delay: a reset that subtracts acts in the next step. spike_from: `after` the update or
    `before` it, as `LIF` has it. strict: H(0) = 0. multiple: floor(v / v_threshold) spikes a step.
    synaptic_delay: the membrane takes the synaptic current of the step before.
    detach_reset: the reset carries no gradient.
    """

    def __init__(
        self,
        *,
        size: int,
        dt: float,
        source: Source,
        reset: str | None,
        reset_delay: bool | None,
        spike_from: str | None,
        strict: bool | None,
        multiple: bool | None,
        synaptic_delay: bool | None,
        detach_reset: bool,
        surrogate: Surrogate,
    ):
        if reset is not None:
            require_choice(("zero", "subtract"), reset=reset)
        if spike_from is not None:
            require_choice(("after", "before"), spike_from=spike_from)
        late = None if spike_from is None else spike_from == "before"
        stated = {
            "hard": None if reset is None else reset == "zero",
            "before_reset": True if late else reset_delay,
            "strict": strict,
            "multiple": multiple,
            "delayed": synaptic_delay,
            "returns_late": late,
        }
        details = {**DETAILS, **_kept(source)}
        dead = details["refractory_steps"]
        require(dead >= 0, source.say(f"refractory_steps of its metadata is {dead}"))
        details |= {name: value for name, value in stated.items() if value is not None}
        spiking = isinstance(source.node, SPIKING)
        if not spiking:
            details = {"delayed": details["delayed"]}
        numbers = _read(source, size, details)
        same = {name: float(v[0]) for name, v in numbers.items() if (v == v[0]).all()}
        constants = NeuronParameters(
            **{"keep_mem": 1.0, **same},
            **details,
            surrogate=surrogate if spiking else None,
            attached=spiking and not detach_reset,
        )
        super().__init__(size=size, dt=dt, recurrent=source.looped, constants=constants)
        self.spiking, self.surrogate = spiking, surrogate if spiking else None
        self.varied = tuple(name for name in numbers if name not in same)
        for name in self.varied:
            each = torch.tensor(numbers[name], dtype=torch.float32)
            self.register_buffer(f"{name}_by_neuron", each)
        self.circuit = self._circuit(source, constants)

    @property
    def constants(self) -> NeuronParameters:
        """Made anew where neurons differ, since a device may have taken their numbers."""
        assert self._constants is not None
        if not self.varied:
            return self._constants
        varied = {name: getattr(self, f"{name}_by_neuron") for name in self.varied}
        return replace(self._constants, **varied)

    def _circuit(self, source: Source, p: NeuronParameters) -> Circuit | None:
        """Of current-based neurons that are all alike and, if they spike, reset to one value."""
        if self.varied or not isinstance(source.node, nir.CubaLI | nir.CubaLIF):
            return None
        if float(p.gain) <= 0:  # a circuit's synapses do not turn the sign of their weights
            return None
        unit = self.dt / source.grid.dt
        tau_mem, tau_syn = (
            float(source.number(name, self.size)[0]) * unit for name in ("tau_mem", "tau_syn")
        )
        leak, threshold, to = (float(number) for number in (p.rest, p.threshold, p.to))
        if not self.spiking:
            return Circuit(tau_mem, tau_syn, leak)
        if not p.hard or p.multiple:
            return None
        return Circuit(tau_mem, tau_syn, leak, True, p.refractory_steps * self.dt, threshold, to)


def _kept(source: Source) -> dict[str, Any]:
    """The details that a node's metadata keep."""
    kept = source.node.metadata
    try:
        return {name: type(usual)(kept[name]) for name, usual in DETAILS.items() if name in kept}
    except (TypeError, ValueError) as error:
        raise ValueError(source.say(f"its metadata are damaged ({error})")) from error


def _read(source: Source, size: int, details: dict[str, Any]) -> dict[str, np.ndarray]:
    """The numbers of `NeuronParameters` by neuron."""
    node, grid = source.node, source.grid
    gain = source.number("r", size)
    if isinstance(node, nir.I | nir.IF):
        found = {"keep_mem": np.ones(size), "gain": gain * grid.dt}
        found["drift"] = found["gain"] * source.added
    else:
        filters = isinstance(node, nir.CubaLI | nir.CubaLIF)
        keep = _decay(source, "tau_mem" if filters else "tau", size)
        rest = source.number("v_leak", size)
        found = {"keep_mem": keep, "gain": gain * (1 - keep), "rest": rest}
        found["drift"] = (1 - keep) * rest
        if filters:
            syn = _decay(source, "tau_syn", size)
            found["keep_syn"] = syn
            found["gain"] = found["gain"] * (1 - syn) * source.number("w_in", size)
        else:
            found["drift"] = found["drift"] + found["gain"] * source.added
    is_one = np.isclose(found["gain"], 1, rtol=1e-6)  # of numbers in single precision, too
    found["gain"] = np.where(is_one, 1, found["gain"])
    if isinstance(node, SPIKING):
        threshold, to = source.number("v_threshold", size), source.number("v_reset", size)
        require(bool((threshold > to).all()), source.say("v_threshold must lie above v_reset"))
        several = not details["multiple"] or bool((threshold > 0).all())
        require(several, source.say("multiple: spikes are counted by a v_threshold above 0"))
        changed = "to" if details["hard"] else "late" if details["before_reset"] else "amount"
        found |= {"threshold": threshold, changed: to if details["hard"] else threshold - to}
    return found


def _decay(source: Source, name: str, size: int) -> np.ndarray:
    """The decay per step of a time constant of the node."""
    tau, grid = source.number(name, size), source.grid
    least = grid.dt if grid.method == "euler" else 0.0
    require(
        bool((tau >= least).all()),
        source.say(
            f"{name} goes down to {tau.min():g}, below {least:g}"
            + (", a step, where explicit Euler is unstable" if least else "")
            + "; set model.file_dt to what a step lasts in the file's unit of time"
        ),
    )
    return grid.keep(tau)
