"""The backend: weights, ways of training, chips and their seeds, and a network on it."""

from functools import partial

import pytest
import torch

from snnexp.backends import Bss2
from snnexp.backends.chip import Grid, Spikes
from snnexp.errors import ConfigError
from snnexp.evaluate import evaluate
from snnexp.experiment import build
from snnexp.inputs import Dense
from snnexp.models import BatchNorm, FixedDelay, Network, Normal
from snnexp.session import compose, run_composed
from tests.backends.test_chip import CONVERTER, PRESET
from tests.conftest import TINY
from tests.models.made import cuba_li, cuba_lif, lif

BACKEND = partial(
    Bss2,
    device="cpu",
    precision="32-true",
    devices=1,
    kernel="auto",
    level="chip",
    training="in_the_loop",
    chip_seed=0,
    repeats=1,
    test_chips=None,
    weight_scale=66.39,
    rounding="nearest",
    substeps=8,
    acceleration=None,
    preset=PRESET(weight_bits=None),
    converter=CONVERTER(),
)
NOISY = PRESET(threshold_std=0.05, threshold_run_std=0.02, gain_std=0.05, adc_bits=8)
META = torch.device("meta")
SMALL = ("experiment=yinyang_bss2", "model.init.std=[0.5,0.2]", "trainer.max_epochs=1")
FEW = ("dataset.sizes={train: 75, val: 30, test: 30}", "callback=[]", "logger=[table]")


def network(backend, dt=2e-6, sizes=(5, 20, 3), **options):
    torch.manual_seed(0)
    return Network(
        num_inputs=sizes[0],
        num_outputs=sizes[-1],
        dt=dt,
        backend=backend,
        hidden_sizes=list(sizes[1:-1]),
        neuron=partial(cuba_lif, dt=dt, method="euler"),
        readout=partial(cuba_li, dt=dt, method="euler"),
        init=Normal(mean=[5.0, 0.0], std=[2.0, 0.5], fan_in_scaled=True),
        **options,
    )


def test_a_chips_circuits_follow_the_network_to_another_device():
    """And are the same ones there, though a GPU would draw others from their seed."""
    net = network(BACKEND(preset=NOISY))
    layer, grid = net.layers["hidden1"], Grid(steps=30, dt=2e-6, substeps=8)
    before = net.backend._population(layer, grid)
    moved = net.backend._population(layer.to("meta"), grid)
    assert {moved.threshold.device, moved.gain.device, moved.tau_mem.device} == {META}
    assert net.backend._population(layer.to_empty(device="cpu"), grid) is before


def inputs(steps=30, share=0.1):
    draw = torch.Generator().manual_seed(2)
    return Dense((torch.rand(steps, 6, 5, generator=draw) < share).float())


def test_an_ideal_chip_on_a_fine_grid_is_the_reference():
    """Explicit Euler tends to the continuous solution as dt does to 0."""
    x = inputs(1200, 0.003)
    chip, reference = (
        network(BACKEND(level=level, substeps=1), dt=5e-8)(x)[0] for level in ("chip", "reference")
    )
    counts = [found.layers["hidden1"].counts for found in (chip, reference)]
    assert counts[1].sum() > 100
    assert (counts[0] - counts[1]).abs().sum() < 0.05 * counts[1].sum()
    traces = [found.readout.membrane for found in (chip, reference)]
    assert (traces[0] - traces[1]).abs().mean() < 0.05 * traces[1].abs().mean()


@pytest.mark.parametrize(
    ("rounding", "whole"),
    [("nearest", [1, -1, 2, -3, 63, -63]), ("truncate", [0, 0, 1, -2, 63, -63])],
)
def test_weights_are_whole_lsb_within_63_and_pass_all_of_the_gradient(rounding, whole):
    backend = BACKEND(preset=PRESET(), weight_scale=10.0, rounding=rounding)
    weight = torch.tensor([0.05, -0.05, 0.199, -0.251, 6.34, -90.0], requires_grad=True)
    seen = backend.weight(weight)
    assert (seen * 10).round(decimals=4).tolist() == whole
    seen.sum().backward()
    assert weight.grad.tolist() == [1] * 6


def test_floats_where_a_preset_has_no_bits():
    weight = torch.randn(5)
    assert torch.equal(BACKEND().weight(weight), weight)


def test_a_chip_is_its_seed():
    def trace(seed):
        return network(BACKEND(preset=NOISY, chip_seed=seed))(inputs())[0].readout.membrane

    assert torch.equal(trace(1), trace(1))
    assert not torch.equal(trace(1), trace(2))


def test_trials_go_chip_by_chip_and_their_spread_is_told_apart():
    """Two chips of number 3 are 6 and 7, each tested twice; then number 3 itself is back."""
    backend = BACKEND(chip_seed=3, repeats=2, test_chips=2)
    assert backend.trials == 4
    seen = []
    for trial in (0, 1, 2, 3, None):
        backend.choose(trial)
        seen.append((backend._chip, backend.repetition))
    assert seen == [(6, 0), (6, 1), (7, 0), (7, 1), (3, 0)]
    found = backend.deviations([0.5, 0.7, 0.9, 0.7])
    assert found["test/accuracy_sd"] == pytest.approx((0.08 / 3) ** 0.5)  # of 0.7 +- 0.2
    assert found["test/accuracy_chips"] == pytest.approx([0.6, 0.8])
    assert found["test/accuracy_chips_sd"] == pytest.approx(0.02**0.5)
    assert set(BACKEND(repeats=2).deviations([0.5, 0.7])) == {"test/accuracy_sd"}


def test_repeated_tests_of_a_chip_draw_other_noise_on_the_same_circuits():
    net = network(BACKEND(preset=PRESET(membrane_noise=0.05), repeats=2))
    still = network(BACKEND(preset=PRESET(gain_std=0.2), repeats=2))
    for of, equal in ((net, False), (still, True)):
        traces = []
        for trial in (0, 1):
            of.backend.choose(trial)
            of.backend.begin(0, 0, "test/0/0", torch.device("cpu"))
            traces.append(of(inputs())[0].readout.membrane)
        assert torch.equal(*traces) == equal


def test_noise_is_that_of_the_batch_and_the_circuits_are_not():
    net = network(BACKEND(preset=NOISY))
    traces = []
    for purpose in ("train/0/0", "train/0/1", "train/0/0"):
        net.backend.begin(3, 0, purpose, torch.device("cpu"))
        traces.append(net(inputs())[0].readout.membrane)
    assert torch.equal(traces[0], traces[2])
    assert not torch.equal(traces[0], traces[1])


@pytest.mark.parametrize(
    ("training", "same_as"), [("float", "reference"), ("quantisation_aware", "quantised")]
)
def test_training_in_software_is_the_models_and_testing_is_the_chips(training, same_as):
    net = network(BACKEND(preset=NOISY, training=training))
    expected = network(BACKEND(level="reference"))
    if same_as == "quantised":
        for layer in expected.layers.values():
            layer.weight.data = net.backend.weight(layer.weight.detach())
    found = net.train()(inputs())[0].readout.membrane
    torch.testing.assert_close(found, expected(inputs())[0].readout.membrane)
    on_chip = network(BACKEND(preset=NOISY))(inputs())[0].readout.membrane
    assert torch.equal(net.eval()(inputs())[0].readout.membrane, on_chip)


def test_noise_aware_training_sees_a_fresh_chip_each_batch_and_tests_on_the_same():
    still = PRESET(gain_std=0.2)
    net = network(BACKEND(preset=still, training="noise_aware"))

    def traces():
        found = []
        for batch in (0, 1):
            net.backend.begin(0, 0, f"{batch}", torch.device("cpu"))
            found.append(net(inputs())[0].readout.membrane)
        return found

    assert torch.equal(*net.eval() and traces())
    assert not torch.equal(*net.train() and traces())


def test_in_the_loop_goes_forward_what_the_chip_did_and_back_what_the_model_says():
    """The readout's weight gradient, by hand: the synaptic trace of the spikes that it saw."""
    net = network(BACKEND(preset=NOISY)).train()
    activity, _ = net(inputs())
    weighting = torch.randn(activity.readout.membrane.shape)
    (activity.readout.membrane * weighting).sum().backward()
    z = activity.layers["hidden1"].spikes.detach()
    assert z.unique().tolist() == [0, 1]
    gradient, a = torch.zeros(3, 20), 1 / 3
    i = v = torch.zeros(6, 20)
    for t in range(30):
        v, i = v + a * (i - v), i * (1 - a) + z[t]
        gradient += weighting[t].T @ v
    torch.testing.assert_close(net.layers["readout"].weight.grad, gradient, rtol=1e-4, atol=1e-4)
    assert net.layers["hidden1"].weight.grad.abs().sum() > 0


def test_spikes_reach_the_next_layer_at_their_own_times():
    """A spike half a step late in the hidden layer moves the readout's potential by as much."""
    net = network(BACKEND(), sizes=(1, 1, 1))
    net.layers["hidden1"].weight.data.fill_(8.0)
    net.layers["readout"].weight.data.fill_(1.0)
    x = torch.zeros(30, 1, 1)
    x[2] = 1
    activity, _ = net(Dense(x))
    sent = activity.layers["hidden1"].train.sent
    assert isinstance(activity.layers["hidden1"].train, Spikes)
    first = int(sent.step[0])
    assert first % 8 and first > 16
    assert not activity.readout.membrane[: first // 8 + 1].any()
    assert activity.readout.membrane[first // 8 + 1] > 0


def test_delays_are_finer_than_the_grid():
    common = {"inputs": True}
    late = partial(FixedDelay, low=0.5e-6, high=0.5e-6, **common)
    none = partial(FixedDelay, low=0.0, high=0.0, **common)
    plain, zero, later = (
        network(BACKEND(), delays=delays)(inputs())[0].readout.membrane
        for delays in (None, none, late)
    )
    assert torch.equal(plain, zero)
    assert not torch.equal(plain, later)


def test_a_long_run_is_a_single_one():
    """Also of more than 500 steps, at which other backends cut it: what is under way arrives."""
    net = network(BACKEND(), delays=partial(FixedDelay, low=1e-5, high=1e-5, inputs=True))
    late = torch.zeros(600, 1, 5)
    late[497] = 1  # arrives 5 steps later
    traces = [net(Dense(x))[0].readout.membrane for x in (late, late.roll(-400, 0))]
    assert traces[0][:500].abs().max() == 0 < traces[0].abs().max()
    torch.testing.assert_close(traces[0][400:], traces[1][:200])


def test_neurons_that_the_chip_has_not_are_refused():
    with pytest.raises(ValueError, match=r"^neuron: LIF, but the chip's .*choose model=cuba_lif"):
        Network(
            num_inputs=2,
            num_outputs=2,
            dt=1e-3,
            backend=BACKEND(),
            hidden_sizes=[3],
            neuron=lif,
            readout=cuba_li,
            init=Normal(mean=0.0, std=1.0, fan_in_scaled=True),
        )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"dropout": 0.1}, r"^dropout: 0.1, but a measured spike counts for one"),
        ({"norm": partial(BatchNorm, momentum=0.1, epsilon=1e-5)}, r"^norm: the chip"),
    ],
)
def test_what_acts_on_currents_or_weighs_spikes_is_refused(option, message):
    with pytest.raises(ValueError, match=message):
        network(BACKEND(), **option)


def test_time_constants_out_of_reach_are_refused_with_a_way_out():
    words = (
        r"^neuron\.tau_mem: 6e-06 s; it must lie between 5e-05 and 0\.006 s on a chip that is 100"
    )
    with pytest.raises(ValueError, match=f"{words} times.* or set backend.acceleration"):
        network(BACKEND(acceleration=100.0))


@pytest.mark.parametrize(
    ("tau_mem", "tau_syn", "key"),
    [
        (60e-6, 30e-6, None),
        (61e-6, 30e-6, "tau_mem"),
        (60e-6, 31e-6, "tau_syn"),
        (0.5e-6, 0.3e-6, None),
        (0.49e-6, 0.3e-6, "tau_mem"),
        (0.5e-6, 0.29e-6, "tau_syn"),
    ],
)
def test_time_constants_reach_from_half_a_microsecond_to_60_and_half_of_that(tau_mem, tau_syn, key):
    backend, layer = BACKEND(), cuba_lif(size=1, tau_mem=tau_mem, tau_syn=tau_syn)
    if key is None:
        assert backend._circuit("hidden1", layer, 1.0).tau_mem == tau_mem
    else:
        with pytest.raises(ValueError, match=rf"^neuron\.{key}: "):
            backend._circuit("hidden1", layer, 1.0)


def test_biological_time_is_the_chips_a_thousand_times_slower():
    neuron = partial(cuba_lif, tau_mem=6e-3, tau_syn=6e-3, method="euler")
    readout = partial(cuba_li, tau_mem=6e-3, tau_syn=6e-3, method="euler")
    fast = network(BACKEND(preset=NOISY))
    torch.manual_seed(0)
    slow = Network(
        num_inputs=5,
        num_outputs=3,
        dt=2e-3,
        backend=BACKEND(preset=NOISY),
        hidden_sizes=[20],
        neuron=neuron,
        readout=readout,
        init=Normal(mean=[5.0, 0.0], std=[2.0, 0.5], fan_in_scaled=True),
    )
    one, other = (net(inputs())[0].readout.membrane for net in (fast, slow))
    torch.testing.assert_close(one, other, rtol=0, atol=0.02)


def test_values_are_refused():
    with pytest.raises(ConfigError, match=r"^encoder: Constant gives values, but the chip"):
        build(compose(["experiment=yinyang_bss2", "encoder=constant"]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bss2") / "run"
    return run_composed([*SMALL, *FEW, "backend.repeats=3"], folder)


def test_a_run_tests_repeatedly_and_says_on_which_chip(trained):
    metrics = trained.metrics
    hits = metrics["test/accuracy"] * 90  # of three tests
    assert hits == pytest.approx(round(hits))
    assert metrics["test/accuracy_sd"] >= 0
    assert metrics["chip/preset"] == "delgrad" and metrics["chip/seed"] == 0


def test_a_run_and_its_evaluation_say_what_they_take_of_the_chip(trained):
    """Five channels for each of four values and the bias, 120 and 3 neurons; 30 steps of 2 us."""
    evaluated = evaluate(trained.folder, ["backend.repeats=1"])
    for metrics in (trained.metrics, evaluated):
        assert metrics["chip/circuits"] == 123
        assert metrics["chip/synapses"] == 2 * (25 * 120 + 120 * 3)
        assert metrics["chip/runs"] == 1
        assert metrics["chip/seconds_per_inference"] == pytest.approx(60e-6)
        assert metrics["chip/joules_per_inference"] == pytest.approx(0.2 * 60e-6)


def test_the_same_chip_in_an_evaluation_and_others_by_number(trained):
    again = evaluate(trained.folder, [])
    assert again["test/accuracy"] == trained.metrics["test/accuracy"]
    assert again["test/loss"] == trained.metrics["test/loss"]
    chips = evaluate(trained.folder, ["backend.test_chips=3"])
    each = chips["test/accuracy_chips"]
    assert len(each) == 3 and each[0] == pytest.approx(again["test/accuracy"])
    mean = sum(each) / 3
    assert chips["test/accuracy"] == pytest.approx(mean)
    deviation = (sum((one - mean) ** 2 for one in each) / 2) ** 0.5
    assert chips["test/accuracy_chips_sd"] == pytest.approx(deviation)


def test_a_run_in_floats_is_evaluated_on_chips(tmp_path):
    floats = [f"model.{part}.method=euler" for part in ("neuron", "readout")]
    folder = tmp_path / "run"
    run_composed([*TINY, "model=cuba_lif", *floats], folder)
    metrics = evaluate(folder, ["backend=bss2_mock", "backend.test_chips=2", "backend.repeats=1"])
    assert len(metrics["test/accuracy_chips"]) == 2
    assert metrics["chip/tested"] == 2
