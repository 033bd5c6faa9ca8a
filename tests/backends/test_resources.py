"""What networks take of the chip, counted by hand, and what does not fit it."""

import logging
from functools import partial

import pytest

from snnexp.backends.resources import CIRCUITS, COLUMNS, Demand, drivers, partition
from snnexp.errors import ConfigError
from snnexp.experiment import build
from snnexp.models import Network, Normal
from snnexp.session import compose
from tests.backends.test_bss2 import BACKEND, network
from tests.models.made import cuba_li, cuba_lif


def plan_of(*sizes):
    names = [f"hidden{n}" for n in range(1, len(sizes) - 1)] + ["readout"]
    pairs = zip(names, sizes[1:], sizes, strict=False)
    return partition([Demand(name, neurons, inputs) for name, neurons, inputs in pairs])


def test_the_tutorials_network_has_a_row_for_each_layer():
    plan = plan_of(25, 120, 3)
    ((hidden, readout),) = plan.runs
    assert hidden.places == tuple(((0, column),) for column in range(120))
    assert readout.places == (((1, 0),), ((1, 1),), ((1, 2),))
    assert drivers(plan.runs[0]) == (25, 120)
    assert (plan.circuits, plan.synapses) == (123, 2 * (25 * 120 + 120 * 3))
    assert plan.lines() == [
        "chip: 123 of 512 circuits, 25 and 120 of 128 drivers in its halves",
        "  hidden1: 120 neurons of 1 circuit and 25 inputs each, row 0, columns 0 to 119",
        "  readout: 3 neurons of 1 circuit and 120 inputs each, row 1, columns 0 to 2",
    ]


def test_246_hidden_neurons_of_256_inputs_fill_the_chip():
    """Two circuits for each of 246 and of 10 neurons: 512."""
    plan = plan_of(256, 246, 10)
    assert (len(plan.runs), plan.circuits) == (1, 512)
    taken = [circuit for part in plan.runs[0] for neuron in part.places for circuit in neuron]
    assert sorted(taken) == [(row, column) for row in (0, 1) for column in range(256)]
    assert drivers(plan.runs[0]) == (128, 128)
    assert len(plan_of(256, 247, 10).runs) == 2


def test_mnist_of_784_pixels_takes_five_runs():
    """7 circuits a neuron, 73 neurons at most: 256 of them in 4 parts; 2 each for the readout."""
    plan = plan_of(784, 256, 10)
    hidden, readout = (run[0].demand for run in plan.runs[-2:])
    assert (hidden.merged, hidden.most, hidden.parts) == (7, 73, 4)
    assert (readout.merged, readout.parts) == (2, 1)
    assert [len(run[0].places) for run in plan.runs] == [64, 64, 64, 64, 10]
    assert plan.circuits == 256 * 7 + 10 * 2
    assert plan.synapses == 2 * (784 * 256 + 256 * 10)
    assert plan.lines() == [
        "chip: 1812 circuits in 5 runs of at most 512",
        "  runs 1 to 4: hidden1: 64 neurons of 7 circuits and 784 inputs each, rows 0 and 1, "
        "columns 0 to 223",
        "  run 5: readout: 10 neurons of 2 circuits and 256 inputs each, row 1, columns 0 to 19",
    ]


def test_layers_behind_a_partitioned_one_share_a_run_again():
    """60 neurons of 7 circuits fit, 80 do not; 128 inputs are one circuit's, 129 two's."""
    runs = plan_of(784, 80, 128, 129, 10).runs
    assert [[part.demand.name for part in run] for run in runs] == [
        ["hidden1"],
        ["hidden1"],
        ["hidden2", "hidden3", "readout"],
    ]
    assert [part.demand.merged for part in runs[2]] == [1, 1, 2]


@pytest.mark.parametrize(
    "sizes", [(25, 120, 3), (100, 300, 2), (300, 200, 5), (784, 73, 1), (10, 90, 60, 50, 40)]
)
def test_no_circuit_is_given_twice_and_inputs_suffice(sizes):
    for run in plan_of(*sizes).runs:
        taken = [circuit for part in run for neuron in part.places for circuit in neuron]
        assert len(set(taken)) == len(taken) == sum(part.circuits for part in run) <= CIRCUITS
        assert all(row in (0, 1) and 0 <= column < COLUMNS for row, column in taken)
        for part in run:
            assert all(128 * len(neuron) >= part.demand.inputs for neuron in part.places)
        assert max(drivers(run)) <= 128


def test_a_neuron_may_take_the_whole_chip_and_no_more():
    assert Demand("readout", 3, CIRCUITS * 128).parts == 3
    net = partial(network, BACKEND())
    with pytest.raises(ValueError, match=r"^num_inputs: a neuron of hidden1 has 65537 inputs, .*"):
        net(sizes=(65537, 1, 1))
    words = r"^hidden_sizes\[0\]: a neuron of readout has 65537 .* have 65536; lower model.hidden"
    with pytest.raises(ValueError, match=words):
        net(sizes=(1, 65537, 1))
    assert network(BACKEND(level="reference"), sizes=(65537, 1, 1)).backend.plan is None


def recurrent(hidden):
    return Network(
        num_inputs=100,
        num_outputs=2,
        dt=2e-6,
        backend=BACKEND(),
        hidden_sizes=[hidden],
        neuron=partial(cuba_lif, dt=2e-6, method="euler", recurrent=True),
        readout=partial(cuba_li, dt=2e-6, method="euler"),
        init=Normal(mean=0.0, std=1.0, fan_in_scaled=True),
    )


def test_recurrent_inputs_count_and_their_layer_is_one_runs():
    """28 neurons have 128 inputs, 29 have 129; 256 of two circuits fit 356 inputs' 3 not at all."""
    assert [part.demand.merged for part in recurrent(28).backend.plan.runs[0]] == [1, 1]
    assert [part.demand.merged for part in recurrent(29).backend.plan.runs[0]] == [2, 1]
    words = (
        r"^neuron\.recurrent: true, but one run has 170 neurons of 356 inputs, not 256 as hidden1"
    )
    with pytest.raises(ValueError, match=words):
        recurrent(256)


@pytest.mark.parametrize(
    ("part", "name"),
    [("conv", "Conv2d"), ("pool", "AvgPool2d"), ("sum", "SumPool2d")],
)
def test_synapses_that_the_chip_has_not_are_refused_by_name(part, name):
    parts = {"pool": "AvgPool2d", "sum": "SumPool2d"}
    changed = ["model=conv_lif", "dataset=ones", "backend=bss2_mock", "encoder=latency"]
    if part in parts:
        pool = f"{{_target_: snnexp.models.{name}, _partial_: true, kernel_size: 2, stride: 2}}"
        changed += ["~model.hidden", f"+model.hidden={{conv1: {{{part}: {pool}}}}}"]
        linear = "{_target_: snnexp.models.Linear, _partial_: true, num_outputs: 4}"
        flatten = "{_target_: snnexp.models.Flatten, _partial_: true}"
        changed += [f"+model.hidden.conv1.flat={flatten}", f"+model.hidden.conv1.linear={linear}"]
    words = (
        rf"^model\.hidden\.conv1\.{part}: {name}, but the chip has dense synapses alone; .*Linear"
    )
    with pytest.raises(ConfigError, match=words):
        build(compose(changed))


def test_the_placement_is_logged_once(caplog):
    with caplog.at_level(logging.INFO, "snnexp"):
        network(BACKEND())
        network(BACKEND(level="reference"))
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("bss2")]
    assert lines == [
        "chip: 23 of 512 circuits, 5 and 20 of 128 drivers in its halves",
        "  hidden1: 20 neurons of 1 circuit and 5 inputs each, row 0, columns 0 to 19",
        "  readout: 3 neurons of 1 circuit and 20 inputs each, row 1, columns 0 to 2",
    ]


def test_time_and_energy_are_those_of_all_runs_in_the_chips_time():
    backend = BACKEND()
    network(backend, dt=2e-6, sizes=(784, 256, 10))
    found = backend.describe(30 * 2e-6)
    assert found["chip/seconds_per_inference"] == pytest.approx(5 * 60e-6)
    assert found["chip/joules_per_inference"] == pytest.approx(0.2 * 300e-6)
    slow = BACKEND(acceleration=10.0)
    network(slow)
    assert slow.describe(60e-6)["chip/seconds_per_inference"] == pytest.approx(6e-6)
    assert BACKEND(level="reference").describe(60e-6) == {"chip/preset": "reference"}
