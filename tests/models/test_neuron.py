"""What holds for every neuron: state continues a run, and silence is answered with silence."""

from itertools import product

import pytest
import torch

from tests.models import made

SIZE, DT = 4, 1e-3
TAUS = {"dt": DT, "tau_mem": 5e-3, "tau_syn": 3e-3}


def lif(reset, reset_delay, spike_from, recurrent):
    return made.lif(
        size=SIZE,
        reset=reset,
        reset_delay=reset_delay,
        detach_reset=False,
        spike_from=spike_from,
        recurrent=recurrent,
    )


def cuba_lif(method, tau_ref, recurrent, leak):
    return made.cuba_lif(
        **TAUS,
        size=SIZE,
        tau_ref=tau_ref,
        leak=leak,
        reset=-0.5,
        method=method,
        normalized=False,
        detach_reset=False,
        recurrent=recurrent,
    )


RESETS = ("subtract", "subtract_scaled", "zero", "none")
METHODS, SWITCH, LEAKS = ("exponential", "euler"), (False, True), (0.0, 0.25)
LIFS = list(product(RESETS, SWITCH, ("after", "before"), SWITCH))
CUBA_LIFS = list(product(METHODS, (0.0, 2.5 * DT), SWITCH, LEAKS))
NEURONS = {f"LIF {options}": (lif(*options), 0.0) for options in LIFS}
NEURONS |= {f"CubaLIF {options}": (cuba_lif(*options), options[-1]) for options in CUBA_LIFS}
NEURONS["LI"] = made.li(size=SIZE), 0.0
for method, leak in product(METHODS, LEAKS):
    integrator = made.cuba_li(**TAUS, size=SIZE, leak=leak, method=method)
    NEURONS[f"CubaLI {method, leak}"] = integrator, leak

every_neuron = pytest.mark.parametrize(("neuron", "rest"), NEURONS.values(), ids=NEURONS)


def recurrent_weight(neuron):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(SIZE, SIZE, generator=generator).double()
    return None if neuron.recurrent is None else weight


@every_neuron
def test_two_segments_with_the_returned_state_equal_one_run(neuron, rest):
    """In spikes, traces and gradients."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(17, 3, SIZE, generator=generator).double() * 3
    weight = recurrent_weight(neuron)
    outcomes = []
    for sizes in ([17], [1, 6, 10]):
        current = drawn.clone().requires_grad_()
        state, scans = None, []
        for part in current.split(sizes):
            scans.append(neuron.scan(part, weight, state, True, True))
            state = scans[-1].state
        parts = {"membrane": torch.cat([scan.membrane for scan in scans])}
        if neuron.spiking:
            parts["spikes"] = torch.cat([scan.spikes for scan in scans])
            parts["margin"] = torch.cat([scan.margin for scan in scans])
            assert 20 < parts["spikes"].sum() < 184  # of 204: both kinds are there
        sum(part.sum() for part in parts.values()).backward()
        outcomes.append([*parts.values(), *state, current.grad])
    for whole, joined in zip(*outcomes, strict=True):
        torch.testing.assert_close(joined, whole, rtol=0, atol=1e-12)


@every_neuron
def test_silence_for_silence(neuron, rest):
    current = torch.zeros(20, 2, SIZE).double()
    scan = neuron.scan(current, recurrent_weight(neuron), None, True, True)
    torch.testing.assert_close(scan.membrane, torch.full_like(current, rest))
    if neuron.spiking:
        assert not scan.spikes.any()
        torch.testing.assert_close(scan.margin, torch.full_like(current, rest - 1))


@every_neuron
def test_traces_are_recorded_only_where_asked_for(neuron, rest):
    current = torch.ones(3, 2, SIZE).double()
    scan = neuron.scan(current, recurrent_weight(neuron), None, False, False)
    assert scan.margin is None
    assert (scan.membrane is None) == neuron.spiking  # an integrator's is its output
    assert (scan.spikes is None) != neuron.spiking
