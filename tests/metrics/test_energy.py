"""Energy: KerasSpiking's worked examples, and power times time."""

import pytest
from omegaconf import OmegaConf

from snnexp import config
from snnexp.metrics import ByOperation, ByTime, Cost


def device(name):
    return config.instantiate(OmegaConf.load(config.directory() / f"energy/{name}.yaml")[name])


def test_a_dense_layer_on_a_cpu_and_on_loihi():
    """784 to 128, KerasSpiking: 8.641e-4 J; at 10 Hz in 25 steps of 1 ms 9.391e-7 J."""
    cpu = ByOperation(source="", ac=8.6e-9, mac=8.6e-9, update=8.6e-9)
    cost = Cost(ac=784 * 128, mac=0, updates=128, seconds=1e-3, dt=1e-3)
    assert cpu(cost) == pytest.approx(8.641e-4 * 1e9, rel=1e-4)
    loihi = ByOperation(source="", ac=27.1e-12, mac=0, update=81e-12)
    cost = Cost(ac=784 * 128 * 10 * 1e-3 * 25, mac=0, updates=128 * 25, seconds=25e-3, dt=1e-3)
    assert loihi(cost) == pytest.approx(9.391e-7 * 1e9, rel=1e-3)


def test_the_tables():
    """1000 ACs, 100 MACs and 10 updates in 25 ms, in nJ."""
    cost = Cost(ac=1000, mac=100, updates=10, seconds=25e-3, dt=1e-3)
    assert device("horowitz_45nm")(cost) == pytest.approx(0.9 + 0.46)
    assert device("loihi")(cost) == pytest.approx(1100 * 23.6e-3 + 10 * 81e-3)
    assert device("spinnaker2")(cost) == pytest.approx(1100 * 0.45 + 10 * 2.19)
    assert device("bss2")(cost) == pytest.approx(0.2 * 25e-6 * 1e9)


def test_on_the_chips_own_time_nothing_is_faster():
    """As the emulated chip has it: steps of 2 us are its own, those of 1 ms a thousandth."""
    edge = Cost(ac=0, mac=0, updates=0, seconds=60e-6, dt=1e-4)
    assert device("bss2")(edge) == pytest.approx(0.2 * 60e-9 * 1e9)
    cost = Cost(ac=0, mac=0, updates=0, seconds=60e-6, dt=2e-6)
    assert device("bss2")(cost) == pytest.approx(0.2 * 60e-6 * 1e9)
    assert ByTime(source="", power=0.2, acceleration=10.0)(cost) == pytest.approx(1.2e-6 * 1e9)


@pytest.mark.parametrize("name", ["horowitz_45nm", "loihi", "spinnaker2", "bss2"])
def test_every_table_names_its_source(name):
    assert len(device(name).source) > 10


def test_the_cost_of_an_inference_comes_from_its_metrics():
    metrics = {"synops_ac_per_sample": 7.0, "synops_mac_per_sample": 3.0, "neurons": 130}
    assert Cost.of(metrics, 25, 1e-3) == Cost(ac=7, mac=3, updates=3250, seconds=0.025, dt=1e-3)


def test_negative_energies_and_powers_are_refused():
    with pytest.raises(ValueError, match=r"^mac: -1e-12 J; it must not be negative"):
        ByOperation(source="", ac=0, mac=-1e-12, update=0)
    with pytest.raises(ValueError, match=r"^power: 0 W; it must be"):
        ByTime(source="", power=0, acceleration=1.0)
