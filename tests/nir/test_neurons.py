"""Nodes of NIR on the grid: against their equations, solved step by step in numpy."""

import math

import nir
import numpy as np
import pytest
import torch

from snnexp.inputs import Dense, Static
from snnexp.kernels import NeuronParameters
from snnexp.models import SuperSpike
from snnexp.nir.nodes import Grid, written
from tests.nir.made import chain, lif, network

DT = 0.5
"""What a step lasts in the nodes' unit of time."""


def numbers(size, **fixed):
    """Drawn for each neuron: time constants of 2 to 20, membranes that spike now and then."""
    draw = np.random.default_rng(1)
    found = {
        "tau": draw.uniform(2, 20, size),
        "tau_mem": draw.uniform(2, 20, size),
        "tau_syn": draw.uniform(2, 20, size),
        "r": draw.uniform(1.5, 3.0, size),
        "w_in": draw.uniform(0.8, 1.5, size),
        "v_leak": draw.uniform(-0.2, 0.2, size),
        "v_threshold": draw.uniform(0.5, 1.0, size),
        "v_reset": draw.uniform(-0.3, 0.3, size),
    }
    return found | fixed


def node(kind, size=7, **fixed):
    drawn = numbers(size, **fixed)
    return kind(**{name: drawn[name] for name in kind.__dataclass_fields__ if name in drawn})


def onwards(value, towards, tau, method):
    """tau value' = towards - value, for a step: explicit Euler, or as it is solved."""
    if method == "euler":
        return value + DT / tau * (towards - value)
    return towards + (value - towards) * np.exp(-DT / tau)


def solved(one, current, method):
    """Membranes and spikes [time, neuron] under a current [time, neuron]."""
    filters, leaks = hasattr(one, "tau_syn"), hasattr(one, "v_leak")
    v = one.v_leak.copy() if leaks else np.zeros(current.shape[1])
    i = np.zeros_like(v)
    membranes, spikes = [], []
    for x in current:
        if filters:
            i = onwards(i, one.w_in * x, one.tau_syn, method)
            v = onwards(v, one.v_leak + one.r * i, one.tau_mem, method)
        elif leaks:
            v = onwards(v, one.v_leak + one.r * x, one.tau, method)
        else:
            v = v + DT * one.r * x
        if hasattr(one, "v_threshold"):
            spikes.append(v > one.v_threshold)
            v = np.where(spikes[-1], one.v_reset, v)
        membranes.append(v)
    return np.array(membranes), np.array(spikes, dtype=np.float32)


@pytest.mark.parametrize("method", ["euler", "exponential"])
@pytest.mark.parametrize("kind", [nir.I, nir.LI, nir.CubaLI, nir.IF, nir.LIF, nir.CubaLIF])
def test_a_node_does_what_its_equation_says(kind, method, tmp_path):
    one = node(kind)
    current = np.random.default_rng(2).normal(0.8, 0.4, (60, 7)).astype(np.float32)
    graph = chain({"w": nir.Linear(np.eye(7, dtype=np.float32)), "n": one}, (7,), (7,))
    read = network(graph, tmp_path, 7, 7, DT, method)
    found = read(Dense(torch.tensor(current)[:, None]))[0].layers["readout"]
    membranes, spikes = solved(one, current, method)
    torch.testing.assert_close(found.membrane[:, 0], torch.tensor(membranes).float())
    if len(spikes):
        assert 20 < spikes.sum() < 400
        assert torch.equal(found.spikes[:, 0], torch.tensor(spikes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reset": "subtract", "reset_delay": True}, [5, 11]),
        ({"reset": "subtract"}, [5, 10]),
        ({}, [5, 10]),
        ({"spike_from": "before", "reset": "subtract"}, [6, 12]),
    ],
    ids=["late subtract", "subtract", "zero", "before"],
)
def test_a_constant_current_spikes_when_snntorch_says(changes, expected, tmp_path):
    """beta 0.8, a current of 0.3: 0.3, 0.54, 0.732, 0.8856, 1.00848 at the fifth step.

    A full threshold that is taken off behind the decay leaves 0.1068 in the sixth, at once 0.0085.
    """
    tau = 1 / (1 - 0.8)
    graph = chain({"w": nir.Linear(np.ones((1, 1))), "n": lif(1, tau=tau, r=tau)}, (1,), (1,))
    read = network(graph, tmp_path, 1, 1, **changes)
    spikes = read(Static(torch.tensor([[0.3]]), 12))[0].layers["readout"].spikes
    assert [int(step) + 1 for step in spikes[:, 0, 0].nonzero()][:2] == expected


def test_a_neuron_at_its_threshold_spikes_unless_strict(tmp_path):
    graph = chain({"w": nir.Linear(np.ones((1, 1))), "n": lif(1, tau=1.0)}, (1,), (1,))
    for strict in (True, False):
        read = network(graph, tmp_path, 1, 1, strict=strict)
        activity, _ = read(Static(torch.ones(1, 1), 1))
        assert activity.layers["readout"].counts.item() == (not strict)


def test_several_spikes_in_a_step_are_those_of_several_thresholds(tmp_path):
    one = nir.IF(r=np.ones(1), v_threshold=np.full(1, 0.5), v_reset=np.zeros(1))
    graph = chain({"w": nir.Linear(np.ones((1, 1))), "n": one}, (1,), (1,))
    read = network(graph, tmp_path, 1, 1, multiple=True, reset="subtract")
    activity, _ = read(Static(torch.tensor([[1.2]]), 3))  # 1.2, 0.2 + 1.2, 0.4 + 1.2
    assert activity.layers["readout"].spikes.flatten().tolist() == [2, 2, 3]


def test_a_current_based_population_is_a_circuit_in_seconds(tmp_path):
    """tau 6 and 3 in steps of 0.5 that are 1 ms: 12 and 6 ms."""
    alike = {name: np.full(4, value) for name, value in numbers(1).items()}
    alike |= {"tau_mem": np.full(4, 6.0), "tau_syn": np.full(4, 3.0)}
    graph = chain(
        {"w": nir.Linear(np.eye(4, dtype=np.float32)), "n": node(nir.CubaLIF, 4, **alike)},
        (4,),
        (4,),
    )
    circuit = network(graph, tmp_path, 4, 4, DT).layers["readout"].neuron.circuit
    assert (circuit.tau_mem, circuit.tau_syn) == (pytest.approx(12e-3), pytest.approx(6e-3))
    assert circuit.threshold == alike["v_threshold"][0] and circuit.reset == alike["v_reset"][0]
    soft = network(graph, tmp_path, 4, 4, DT, reset="subtract")
    assert soft.layers["readout"].neuron.circuit is None


def test_numbers_that_differ_go_with_the_network_to_other_precisions(tmp_path):
    graph = chain({"w": nir.Linear(np.eye(7, dtype=np.float32)), "n": node(nir.LIF)}, (7,), (7,))
    read = network(graph, tmp_path, 7, 7, DT).double()
    assert read.layers["readout"].neuron.constants.keep_mem.dtype == torch.double
    assert {f"layers.readout.neuron.{name}_by_neuron" for name in ("keep_mem", "to")} <= {
        *read.state_dict()
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tau": 0.5}, "tau goes down to 0.5, below 1, a step, where explicit Euler is unstable"),
        ({"tau": math.nan}, "tau is not finite"),
        ({"v_reset": 1.0}, "v_threshold must lie above v_reset"),
    ],
)
def test_numbers_that_cannot_be_are_refused_with_the_node(changed, message, tmp_path):
    graph = chain({"w": nir.Linear(np.eye(2)), "bad": lif(2, **changed)}, (2,), (2,))
    with pytest.raises(ValueError, match=f"the node bad of model.file cannot be read: {message}"):
        network(graph, tmp_path, 2, 2)


def test_words_that_are_none_are_refused(tmp_path):
    graph = chain({"w": nir.Linear(np.eye(2)), "n": lif(2)}, (2,), (2,))
    for changed in ({"reset": "hard"}, {"spike_from": "now"}, {"method": "heun"}):
        with pytest.raises(ValueError, match=f"{next(iter(changed))}: .*; choose one of"):
            network(graph, tmp_path, 2, 2, **changed)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"keep_mem": -0.3}, "decays per step that are not between 0 and 1"),
        ({"keep_mem": 1.2}, "decays per step that are not between 0 and 1"),
        ({"keep_syn": -0.3}, "decays per step that are not between 0 and 1"),
        ({"gain": math.nan}, "numbers that are not finite"),
        ({"hard": True, "late": 1.0}, "resets in the step of a spike and in the next"),
        ({"hard": True, "to": 1.0}, "does not reset to below its threshold"),
    ],
    ids=str,
)
def test_neurons_that_would_come_back_as_others_are_not_written(numbers, message):
    constants = NeuronParameters(
        **{"keep_mem": 0.9, "amount": 0.0, **numbers}, surrogate=SuperSpike(slope=5.0)
    )
    with pytest.raises(ValueError, match=message):
        written(constants, (3,), Grid(1e-3, "exponential"))


def test_a_leak_in_single_precision_is_no_bias():
    """(1 - 0.7) 0.3 in float32 is off by 1e-8 or so, which is not behind a synaptic current."""
    keep, leak = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.3, 0.3, 0.1])
    constants = NeuronParameters(
        keep_mem=keep, keep_syn=0.5, gain=1 - keep, rest=leak, drift=(1 - keep) * leak
    )
    found, added = written(constants, (3,), Grid(1e-3, "exponential"))
    np.testing.assert_allclose(found.v_leak, leak, rtol=1e-7)
    assert not added.any()


@pytest.mark.parametrize(("w_in", "has_circuit"), [(2.0, True), (-2.0, False)])
def test_a_circuit_does_not_turn_the_sign_of_its_weights(w_in, has_circuit, tmp_path):
    one = nir.CubaLI(*(np.full(2, value) for value in (10.0, 5.0, 1.0, 0.0)), w_in=np.full(2, w_in))
    read = network(chain({"fc": nir.Linear(np.eye(2)), "li": one}, (2,), (2,)), tmp_path, 2, 2)
    assert (read.layers["readout"].neuron.circuit is not None) == has_circuit
