"""Neurons that are read from nodes of NIR."""

from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
import torch

from snnexp.checks import require, require_choice
from snnexp.kernels import NeuronParameters
from snnexp.kernels.surrogates import Surrogate
from snnexp.models.neuron import Circuit, Neuron
from snnexp.nir.nodes import DETAILS, SPIKING, Grid


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
