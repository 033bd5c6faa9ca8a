"""The emulated chip against closed forms of its circuits, its converter, and its events."""

import math
from functools import partial

import pytest
import torch

from snnexp.backends.chip import (
    Converter,
    Grid,
    Population,
    Preset,
    Spikes,
    _samples,
    flow,
    psp_ratio,
)
from snnexp.inputs import Dense
from snnexp.models import Circuit, CubaIAF, SuperSpike
from tests.models.made import cuba_li, cuba_lif

PRESET = partial(
    Preset,
    name="made",
    weight_bits=6,
    threshold_mean=0.0,
    threshold_std=0.0,
    threshold_run_std=0.0,
    leak_std=0.0,
    reset_std=0.0,
    gain_std=0.0,
    tau_mem_std=0.0,
    tau_syn_std=0.0,
    membrane_noise=0.0,
    jitter=0.0,
    adc_bits=None,
    adc_offset_std=0.0,
    adc_noise=0.0,
)
CONVERTER = partial(
    Converter,
    period=1.7e-6,
    leak=80.0,
    trace_scale=0.0147,
    interpolation="linear",
    time_shift=0,
    shift_to_first=False,
)
GRID = Grid(steps=30, dt=2e-6, substeps=8)
TAU = 6e-6
INTEGRATOR = Circuit(TAU, TAU)


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def population(circuit=INTEGRATOR, size=1, gain=1.0, seed=0, **changed):
    return Population(circuit, size, PRESET(**changed), gain, draw(seed))


def run(circuits, current, grid=GRID, seed=1):
    return circuits.run(current, None, None, grid, draw(seed))


def one_event(size=1, grid=GRID):
    current = torch.zeros(grid.fine, 1, size)
    current[0] = 1
    return current


@pytest.mark.parametrize("tau_syn", [6e-6, 6.0001e-6, 3e-6, 12e-6])
def test_a_potential_is_the_exact_one_on_the_fine_grid(tau_syn):
    """tau_mem v' = i - v with i = exp(-t / tau_syn): a difference of exponentials, or t exp."""
    found = run(population(Circuit(TAU, tau_syn)), one_event()).membrane.flatten()
    t = torch.arange(GRID.fine, dtype=torch.double) * GRID.h
    if abs(tau_syn - TAU) < 1e-9:
        exact = t / TAU * torch.exp(-t / TAU)
    else:
        exact = tau_syn / (TAU - tau_syn) * (torch.exp(-t / TAU) - torch.exp(-t / tau_syn))
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-5)


def test_without_a_leak_the_charge_stays():
    """v(infinity) = tau_syn / tau_mem of the event, above the reset where it starts."""
    circuit = Circuit(TAU, 3e-6, leaky=False, threshold=9.0, reset=-0.25)
    found = run(population(circuit), one_event()).membrane.flatten()
    assert found[0] == -0.25
    assert found[-1].item() == pytest.approx(-0.25 + 0.5, abs=1e-4)


def test_a_neuron_without_a_leak_takes_a_circuit_without_one():
    """The same potential as above, of the circuit that `CubaIAF` is run by."""
    neuron = CubaIAF(
        size=1,
        dt=2e-6,
        tau_mem=TAU,
        tau_syn=3e-6,
        tau_ref=1e-6,
        threshold=9.0,
        reset=-0.25,
        detach_reset=True,
        recurrent=False,
        surrogate=SuperSpike(slope=5.0),
    )
    assert neuron.circuit == Circuit(TAU, 3e-6, 0.0, False, 1e-6, 9.0, -0.25)
    found = run(population(neuron.circuit), one_event()).membrane.flatten()
    assert found[-1].item() == pytest.approx(-0.25 + 0.5, abs=1e-4)


def test_a_driven_neuron_spikes_at_the_continuous_times():
    """A steady current i: interval tau_ref + tau ln(i / (i - 1)) between spikes, within a step."""
    grid = Grid(100, 2e-6, 64)
    current = torch.zeros(grid.fine, 1, 1)
    current[0] = 1.5  # and does not decay
    circuits = population(Circuit(TAU, 1e3, tau_ref=1e-6, threshold=1.0))
    spikes = run(circuits, current, grid).spikes.dense().flatten().nonzero().flatten()
    intervals = spikes.diff().double() * grid.h
    expected = 1e-6 + TAU * math.log(3)
    assert len(intervals) > 20
    assert intervals.mean().item() == pytest.approx(expected, abs=2 * grid.h)


def test_potentials_are_as_high_as_the_models():
    """Equal taus: 1/e in continuous time, 2 a (1 - a) with a = 1/3 by Euler; their ratio."""
    euler = cuba_li(size=1, method="euler").constants
    ratio = psp_ratio(euler, INTEGRATOR, GRID)
    assert ratio == pytest.approx(4 / 9 * math.e, rel=1e-3)
    finer = psp_ratio(euler, INTEGRATOR, Grid(steps=30, dt=2e-6, substeps=64))
    assert finer == pytest.approx(4 / 9 * math.e, rel=1e-4)


@pytest.mark.parametrize(
    ("key", "attribute", "nominal"),
    [
        ("threshold_std", "threshold", 0.05),
        ("leak_std", "leak", 0.2),
        ("reset_std", "reset", -0.1),
        ("gain_std", "gain", 1.0),
        ("tau_mem_std", "tau_mem", TAU),
        ("tau_syn_std", "tau_syn", TAU),
        ("adc_offset_std", "adc_offset", 0.0),
    ],
)
def test_circuits_are_drawn_with_their_spread_and_the_same_for_the_same_seed(
    key, attribute, nominal
):
    circuit = Circuit(TAU, TAU, leak=0.2, threshold=1.0, reset=-0.1)
    made = partial(population, circuit, 4000, threshold_mean=0.05)
    none, some = (getattr(made(**{key: std}), attribute) for std in (0.0, 0.04))
    assert torch.equal(none, none[:1].expand(4000))
    unit = {"leak_std": 0.8, "reset_std": 0.8, "tau_mem_std": TAU, "tau_syn_std": TAU}.get(key, 1.0)
    assert some.mean().item() == pytest.approx(nominal, abs=0.003 * unit)
    assert some.std().item() == pytest.approx(0.04 * unit, rel=0.05)
    assert torch.equal(some, getattr(made(**{key: 0.04}), attribute))
    assert not torch.equal(some, getattr(made(seed=7, **{key: 0.04}), attribute))


def test_no_draw_turns_a_gain_round_or_leaves_less_than_a_tenth_of_a_time_constant():
    wide = population(size=4000, gain=3.0, gain_std=2.0, tau_mem_std=2.0, tau_syn_std=2.0)
    assert wide.gain.min() == 0 and wide.gain.median().item() == pytest.approx(3.0, rel=0.1)
    for tau in (wide.tau_mem, wide.tau_syn):
        assert tau.min().item() == pytest.approx(0.1 * TAU)


def test_thresholds_differ_from_run_to_run():
    circuit = Circuit(TAU, TAU, threshold=2.0)
    circuits = population(circuit, 4000, threshold_run_std=0.015)
    one, other = (circuits.parameters(GRID.h, draw(seed)).threshold for seed in (1, 2))
    assert one.std().item() == pytest.approx(0.03, rel=0.05)
    assert not torch.equal(one, other)


def test_membrane_noise_moves_the_membrane_once_a_step_and_decays():
    """Variance s^2 (1 + d^2 + d^4 + ...) with d = exp(-dt / tau), and the current is left alone."""
    circuits = population(size=2000, membrane_noise=0.02)
    grid = Grid(40, 2e-6, 8)
    found = run(circuits, torch.zeros(grid.fine, 1, 2000), grid).membrane[:, 0]
    d = math.exp(-2 * 2 / 6)
    after = found[1::8]  # the kick of step t acts a fine step later
    assert found[0].abs().max() == 0
    assert after[0].std().item() == pytest.approx(0.02, rel=0.05)
    assert after[-1].std().item() == pytest.approx(0.02 / math.sqrt(1 - d), rel=0.05)
    decay = math.exp(-GRID.h / TAU)
    torch.testing.assert_close(found[2::8], found[1::8] * decay, rtol=1e-4, atol=1e-6)


def test_membrane_noise_is_a_share_of_the_swing():
    """From a leak of 0.5 to a threshold of 2.5."""
    circuits = population(Circuit(TAU, TAU, leak=0.5, threshold=2.5), 2000, membrane_noise=0.02)
    found = run(circuits, torch.zeros(GRID.fine, 1, 2000)).membrane[1, 0]
    assert found.std().item() == pytest.approx(0.04, rel=0.06)


def ramp(grid=GRID):
    """A membrane of 0.01 a microsecond."""
    return (0.01e6 * grid.h * torch.arange(grid.fine))[:, None, None]


def read(converter, membrane, grid=GRID, **changed):
    circuits = population(adc_bits=8, **changed)
    return converter.read(membrane, circuits, grid, draw())[:, 0, 0]


def test_the_converter_reads_a_ramp_to_an_lsb():
    found = read(CONVERTER(), ramp())
    exact = 0.01 * 2 * torch.arange(30.0)
    last = math.floor(59.75 / 1.7) * 1.7  # us, of the last sample, which is held
    exact = exact.clamp(max=0.01 * last)
    assert (found - exact).abs().max() < 0.0147 / 2 + 0.01 * 0.125 + 1e-6


def test_samples_are_taken_each_period_up_to_the_last_step():
    """0, 1.7, ... 59.5 us of 59.75, at the nearest steps of 0.25 us."""
    times, rows = _samples(1.7e-6, GRID, torch.device("cpu"))
    assert times.tolist() == pytest.approx([1.7e-6 * n for n in range(36)])
    assert rows.tolist() == [round(1.7 * n / 0.25) for n in range(36)]


def test_values_are_whole_lsb_at_samples_and_saturate():
    """0 to 255 LSB around a leak of 80: from -80 to 175 of 0.0147."""
    for level, expected in ((9.0, 175 * 0.0147), (-9.0, -80 * 0.0147), (0.1, 7 * 0.0147)):
        found = read(CONVERTER(), torch.full((GRID.fine, 1, 1), level))
        assert found.tolist() == pytest.approx([expected] * 30)


def test_without_a_converter_the_trace_is_the_membrane_at_the_models_steps():
    found = CONVERTER().read(ramp(), population(), GRID, draw())[:, 0, 0]
    torch.testing.assert_close(found, 0.02 * torch.arange(30.0))


def test_a_converters_offset_is_the_circuits_and_its_noise_each_samples():
    """In LSB of 0.0147, of membranes at 0; rounding adds 1 / 12 to a variance."""
    circuits = population(size=4000, adc_bits=8, adc_offset_std=3.0)
    still = torch.zeros(GRID.fine, 1, 4000)
    found = CONVERTER().read(still, circuits, GRID, draw())[:, 0] / 0.0147
    assert (found - circuits.adc_offset).abs().max() <= 0.5 + 1e-4
    noisy = population(size=4000, adc_bits=8, adc_noise=2.0)
    found = CONVERTER().read(still, noisy, GRID, draw())[:, 0] / 0.0147
    assert found[0].std().item() == pytest.approx((4 + 1 / 12) ** 0.5, rel=0.05)


def test_the_later_of_two_samples_that_are_as_near_is_read():
    times, samples = torch.tensor([0.0, 2e-6], dtype=torch.double), torch.tensor([10.0, 20.0])
    found = CONVERTER(interpolation="nearest").on_grid(
        samples[:, None, None], times, Grid(3, 1e-6, 10)
    )
    assert found.flatten().tolist() == [10, 20, 20]


def test_interpolation_shift_and_offset_by_hand():
    """Samples 10, 20, 40 at 0, 1.7 and 3.4 us on steps of 1 us."""
    grid, times = Grid(5, 1e-6, 10), torch.tensor([0.0, 1.7e-6, 3.4e-6], dtype=torch.double)
    samples = torch.tensor([10.0, 20.0, 40.0])[:, None, None]
    linear = [10, 10 + 10 / 1.7, 20 + 20 * 0.3 / 1.7, 20 + 20 * 1.3 / 1.7, 40]

    def on_grid(**changed):
        return CONVERTER(**changed).on_grid(samples, times, grid).flatten().tolist()

    assert on_grid() == pytest.approx(linear)
    assert on_grid(interpolation="nearest") == [10, 20, 20, 40, 40]
    assert on_grid(time_shift=1) == pytest.approx([*linear[1:], linear[-1]])
    assert on_grid(time_shift=-2) == pytest.approx([linear[0]] * 3 + linear[1:3])


def test_the_first_value_can_be_subtracted():
    membrane = ramp() + 0.5
    found = read(CONVERTER(shift_to_first=True), membrane)
    assert found[0] == 0
    assert found[-1].item() == pytest.approx(0.01 * 58, abs=0.0147)


def test_spikes_fall_into_the_nearest_bin_and_those_of_one_bin_count_once():
    """Fine steps 3, 4, 11 and 12 of 8 a step are 0.375, 0.5, 1.375 and 1.5 steps."""
    fine = torch.zeros(GRID.fine, 2, 70)
    for step in (3, 4, 11, 12):
        fine[step, 1, 69] = 1
    seen = Spikes.measured(fine, GRID, 0.0, draw())
    assert seen.spikes.nonzero().tolist() == [[0, 1, 69], [1, 1, 69], [2, 1, 69]]
    assert seen.sent.step.tolist() == [3, 4, 11, 12]
    assert seen.sent.channel.tolist() == [69] * 4 and seen.sent.sample.tolist() == [1] * 4


def test_packed_spikes_give_the_same_events():
    circuits = population(Circuit(TAU, TAU, threshold=0.2), size=130)
    current = torch.rand(GRID.fine, 3, 130) * (torch.rand(GRID.fine, 3, 130) < 0.02) * 3
    packed = run(circuits, current).spikes
    one, other = (Spikes.measured(s, GRID, 0.0, draw()) for s in (packed, packed.dense()))
    assert one.spikes.sum() > 100
    assert torch.equal(one.spikes, other.spikes)
    assert torch.equal(one.sent.dense(), other.sent.dense())


@pytest.mark.parametrize("jitter", [400e-9, 100e-9])
def test_jitter_moves_events_by_its_standard_deviation(jitter):
    fine = torch.zeros(GRID.fine, 1, 20000)
    fine[100] = 1
    seen = Spikes.measured(fine, GRID, jitter, draw())
    steps = seen.sent.step.double()
    variance = (jitter / GRID.h) ** 2 + 2 / 12  # of a time within its step, and of rounding
    assert steps.mean().item() == pytest.approx(100, abs=0.05)
    assert steps.var().item() == pytest.approx(variance, rel=0.05)


def test_what_jitter_would_move_before_the_start_arrives_at_it_and_behind_the_end_never():
    fine = torch.zeros(GRID.fine, 1, 1000)
    fine[0] = 1
    step = Spikes.measured(fine, GRID, 400e-9, draw()).sent.step
    assert (len(step), int(step.min())) == (1000, 0)
    assert 0.4 < (step == 0).double().mean() < 0.75  # half of the moves, and small ones
    late = Spikes.measured(fine.flip(0), GRID, 400e-9, draw()).sent.step
    assert late.max() == GRID.fine - 1 and 400 < len(late) < 750  # what leaves the grid is lost


def test_inputs_become_unit_events_at_their_steps():
    values = torch.zeros(30, 1, 2)
    values[3, 0, 1], values[5, 0, 0] = 2.5, -1.0
    sent = Spikes.of_grid(Dense(values), GRID)
    assert sent.spikes.unique().tolist() == [0, 1]
    assert sent.sent.step.tolist() == [24, 40]
    assert sent.sent.channel.tolist() == [1, 0]


def test_delays_act_on_the_fine_grid():
    values = torch.zeros(30, 1, 2)
    values[3] = 1
    sent = Spikes.of_grid(Dense(values), GRID)
    later = sent.later(values, torch.tensor([0.6e-6, 100e-6]), GRID)
    assert later.sent.step.tolist() == [26] and later.sent.channel.tolist() == [0]


def test_equal_time_constants_are_no_special_case():
    taus = torch.tensor([6e-6, 6e-6 * (1 + 1e-6), 6e-6 * (1 + 1e-3)], dtype=torch.double)
    _, _, gain = flow(torch.full_like(taus, 6e-6), taus, True, 250e-9)
    assert (gain.diff() / gain[0]).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gain_std": -0.1}, "gain_std: -0.1"),
        ({"weight_bits": 5}, "weight_bits: 5; the chip has 6"),
        ({"adc_bits": 0}, "adc_bits: 0"),
        ({"threshold_mean": -1.0}, "threshold_mean: -1.0"),
    ],
)
def test_presets_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        PRESET(**changed)


def test_a_neuron_knows_its_circuit():
    neuron = cuba_lif(size=2, tau_ref=3e-6, leak=0.1, reset=-0.5)
    assert neuron.circuit == Circuit(6e-6, 6e-6, 0.1, True, 3e-6, 1.0, -0.5)
