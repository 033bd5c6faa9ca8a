"""Encoders: spike times by formula, rates within binomial bounds, and refusals."""

import pytest
import torch

from snnexp.encoders import Augmented, Constant, Latency, NoEncoder, Poisson, RepeatedLatency
from snnexp.inputs import Dense, Events, Static

LATENCY = {
    "num_features": 1,
    "dt": 2e-6,
    "steps": 30,
    "t_early": 2e-6,
    "t_late": 40e-6,
    "t_bias": None,
    "inverse": False,
    "threshold": None,
}
POISSON = {"num_features": 1, "dt": 1e-3, "steps": 100, "max_rate": 200.0}


def steps_of(inputs):
    """The step of each spike by (sample, channel)."""
    entries = zip(inputs.sample.tolist(), inputs.channel.tolist(), strict=True)
    return dict(zip(entries, inputs.step.tolist(), strict=True))


def test_latency_of_the_brainscales_tutorial():
    """30 steps of 2 us: 0 spikes at step 1, 1 at step 20, the bias channel at step 9."""
    encoder = Latency(**{**LATENCY, "num_features": 2, "t_bias": 18e-6})
    inputs = encoder(torch.tensor([[0.0, 1.0], [0.5, 0.25]]))
    assert isinstance(inputs, Events)
    assert (inputs.num_steps, inputs.batch_size, inputs.num_channels) == (30, 2, 3)
    assert encoder.num_channels == 3
    # 2 us + 0.5 38 us = 21 us = 10.5 steps, 11.5 us = 5.75 steps
    times = steps_of(inputs)
    assert times.pop((1, 0)) in (10, 11)  # 10.5 is no exact number of floats
    assert times == {(0, 0): 1, (0, 1): 20, (1, 1): 6, (0, 2): 9, (1, 2): 9}
    assert inputs.dense().sum() == 6


def test_latency_rounds_half_to_even():
    grid = {"dt": 1.0, "steps": 5, "t_early": 0.0, "t_late": 4.0, "num_features": 4}
    values = torch.tensor([[0.125, 0.375, 0.625, 0.875]])  # steps 0.5, 1.5, 2.5, 3.5
    assert Latency(**{**LATENCY, **grid})(values).step.tolist() == [0, 2, 2, 4]
    inverse = Latency(**{**LATENCY, **grid, "inverse": True})
    assert inverse(values).step.tolist() == [4, 2, 2, 0]


def test_latency_threshold_silences_lower_values_only():
    encoder = Latency(**{**LATENCY, "num_features": 4, "threshold": 0.5})
    inputs = encoder(torch.tensor([[0.0, 0.5, -7.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
    assert [*steps_of(inputs)] == [(0, 1), (0, 3)]


@pytest.mark.parametrize("t_bias", [None, 18e-6])
@pytest.mark.parametrize("threshold", [None, 0.5])
@pytest.mark.parametrize("repetitions", [None, 3])
def test_latency_gives_a_gpu_the_same_spikes_as_a_grid(repetitions, threshold, t_bias, monkeypatch):
    """Whose size is known before the values are."""
    settings = {**LATENCY, "num_features": 4, "threshold": threshold, "t_bias": t_bias}
    encoder = Latency(**settings)
    if repetitions is not None:
        encoder = RepeatedLatency(**settings, repetitions=repetitions)
    values = torch.rand(3, 4)
    events = encoder(values)
    monkeypatch.setattr(Latency, "__call__", lambda self, v, _: self._grid(*self._steps(v)))
    grid = encoder(values, None)
    assert isinstance(grid, Dense) and torch.equal(grid.spikes, events.dense())
    assert grid.spikes.shape == (30, 3, encoder.num_channels)


def test_times_are_rounded_as_doubles_are():
    """Values whose time lies half a step off the grid, and their neighbours among floats."""
    late = 40e-6 - 2e-6
    halves = torch.tensor([((step + 0.5) * 2e-6 - 2e-6) / late for step in range(1, 20)])
    inf = torch.tensor(torch.inf)
    values = torch.stack([halves.nextafter(-inf), halves, halves.nextafter(inf)], 1)
    encoder = Latency(**{**LATENCY, "num_features": 3})
    expected = [round((2e-6 + x * late) / 2e-6) for x in values.flatten().tolist()]
    assert encoder(values).step.tolist() == expected


def test_the_bias_channel_spikes_at_the_step_nearest_to_its_time():
    """In floats 0.7 / 0.1 is below 7."""
    grid = {"dt": 0.1, "steps": 10, "t_early": 0.0, "t_late": 0.9}
    inputs = Latency(**{**LATENCY, **grid, "t_bias": 0.7})(torch.zeros(1, 1))
    assert steps_of(inputs) == {(0, 0): 0, (0, 1): 7}


@pytest.mark.parametrize("value", [1.75, 1.53125, -0.25, float("nan")])
def test_latency_refuses_a_value_off_the_grid(value):
    with pytest.raises(ValueError, match=rf"^values: \[{value}\] would spike off the grid"):
        Latency(**LATENCY)(torch.tensor([[0.5], [value]]))


@pytest.mark.parametrize(
    ("encoder", "settings", "start"),
    [
        (Latency, {**LATENCY, "t_late": 60e-6}, "t_late: 6e-05 s"),
        (Latency, {**LATENCY, "t_early": -2e-6}, "t_early: -2e-06 s"),
        (Latency, {**LATENCY, "t_bias": 1.0}, "t_bias: 1.0 s"),
        (Latency, {**LATENCY, "t_early": 40e-6}, "t_early: 4e-05 s"),
        (
            Latency,
            {**LATENCY, "dt": 1.0},
            "t_late: 4e-05 s falls into the same step of time.dt = 1",
        ),
        (Latency, {**LATENCY, "t_late": 2.9e-6}, "t_late: 2.9e-06 s falls into the same step"),
        (Latency, {**LATENCY, "dt": 0.0}, "dt: 0.0 s"),
        (Latency, {**LATENCY, "steps": 0}, "steps: 0"),
        (Poisson, {**POISSON, "max_rate": 1001.0}, "max_rate: 1001.0 Hz"),
        (Poisson, {**POISSON, "max_rate": 0.0}, "max_rate: 0.0 Hz"),
        (Poisson, {**POISSON, "dt": -1.0}, "dt: -1.0 s"),
        (Poisson, {**POISSON, "steps": 0}, "steps: 0"),
        (Constant, {"num_features": 1, "steps": 0, "scale": 1.0}, "steps: 0"),
        (Constant, {"num_features": 1, "steps": 3, "scale": 0.0}, "scale: 0.0"),
    ],
)
def test_refusals_name_the_argument_first(encoder, settings, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        encoder(**settings)


@pytest.mark.parametrize(("value", "share"), [(0.0, 0.0), (0.25, 0.05), (1.0, 0.2)])
def test_poisson_rate_lies_within_binomial_bounds(value, share):
    """100 steps x 500 samples, each spiking with probability value 200 Hz 1 ms; 5 deviations."""
    draws = torch.Generator().manual_seed(0)
    spikes = Poisson(**POISSON)(torch.full((500, 1), value), draws).dense()
    assert spikes.shape == (100, 500, 1)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    deviation = (share * (1 - share) / 50_000) ** 0.5
    assert spikes.mean().item() == pytest.approx(share, abs=5 * deviation)


def test_poisson_rates_are_each_values_own():
    spikes = Poisson(**{**POISSON, "max_rate": 1000.0})(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert spikes.dense().sum(0).tolist() == [[0, 100], [100, 0]]


def test_images_are_changed_by_one_function_after_another():
    def twice(images, generator):
        return 2 * images

    def turned(images, generator):
        return images.flip(3) + 1

    encoder = Augmented(
        num_features=4,
        input_shape=(1, 2, 2),
        of=NoEncoder,
        augment={"turned": turned, "twice": twice},
    )
    changed = encoder.alter(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.Generator())
    assert changed.tolist() == [[6.0, 4.0, 10.0, 8.0]]


def test_poisson_at_one_spike_a_step_is_certain():
    spikes = Poisson(**{**POISSON, "max_rate": 1000.0})(torch.ones(3, 1)).dense()
    assert spikes.all()


def test_poisson_draws_are_the_generators():
    encoder, values = Poisson(**POISSON), torch.full((8, 1), 0.5)
    first, second, other = (
        encoder(values, torch.Generator().manual_seed(seed)).dense() for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_constant_is_the_scaled_value_at_each_step():
    inputs = Constant(num_features=2, steps=3, scale=0.5)(torch.tensor([[1.0, 4.0]]))
    assert isinstance(inputs, Static)
    assert inputs.dense().tolist() == [[[0.5, 2.0]]] * 3


def test_no_encoder_passes_spikes_on():
    inputs = Static(torch.ones(2, 5), 3)
    encoder = NoEncoder(num_features=5)
    assert encoder(inputs) is inputs
    assert encoder.num_channels == 5
