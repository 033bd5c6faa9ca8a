"""hxtorch's interface: its equations, a network in floats and on the emulated chip, refusals."""

import functools
import subprocess
import sys

import pytest
import torch

from snnexp.hxtorch import snn
from snnexp.hxtorch.snn import functional
from snnexp.hxtorch.snn.transforms.weight_transforms import linear_saturating

DT, TAU = 2e-6, 6e-6
LIF = functional.CUBALIFParams(1 / TAU, 1 / TAU, alpha=50.0)
LI = functional.CUBALIParams(1 / TAU, 1 / TAU)


def network(mock):
    """5-30-3 as the Yin-Yang tutorial builds it: (experiment, layers, forward)."""
    torch.manual_seed(0)
    experiment = snn.Experiment(mock=mock, dt=DT)
    lif, li = functional.cuba_lif_integration, functional.cuba_li_integration
    scale = functools.partial(linear_saturating, scale=66.39)
    first = snn.Synapse(5, 30, experiment=experiment, transform=scale)
    hidden = snn.Neuron(
        30,
        experiment=experiment,
        func=lif,
        params=LIF,
        trace_scale=0.0147,
    )
    second = snn.Synapse(30, 3, experiment=experiment, transform=scale)
    readout = snn.ReadoutNeuron(3, experiment=experiment, func=li, params=LI, trace_scale=0.0147)
    with torch.no_grad():
        first.weight.normal_(0.6, 0.2)
        second.weight.normal_(0.0, 0.1)

    def forward(spikes):
        handle = snn.NeuronHandle(spikes)
        spiking = hidden(first(handle))
        return spiking, readout(second(spiking))

    return experiment, (first, second), forward


def events():
    spikes = torch.zeros(30, 4, 5)
    torch.manual_seed(1)
    spikes.scatter_(0, torch.randint(1, 20, (1, 4, 5)), 1.0)
    return spikes


def euler(graded):
    """The published update step by step: v from the old current, then the current, then z."""
    v, i = torch.zeros_like(graded[0]), torch.zeros_like(graded[0])
    spikes = []
    for x in graded:
        v = v + DT / TAU * (i - v)
        i = i * (1 - DT / TAU) + x
        z = (v > 1).float()
        v = (1 - z) * v
        spikes.append(z)
    return torch.stack(spikes)


def test_hidden_spikes_follow_the_published_update():
    torch.manual_seed(2)
    graded = torch.rand(40, 3, 7) * 0.9
    spikes, membrane, _ = functional.cuba_lif_integration(graded, LIF, dt=DT)
    assert euler(graded).sum() > 0
    assert torch.equal(spikes, euler(graded))
    assert membrane.max() <= 1


@pytest.mark.parametrize("mock", [True, False], ids=["mock", "chip"])
def test_a_network_runs_and_its_weights_get_gradients(mock):
    experiment, synapses, forward = network(mock)
    spiking, readout = forward(events())
    snn.run(experiment, 30)
    assert spiking.spikes.sum() > 0
    assert readout.v_cadc.shape[1:] == (4, 3)
    readout.v_cadc.amax(0).square().sum().backward()
    for synapse in synapses:
        assert synapse.weight.grad.isfinite().all() and synapse.weight.grad.abs().sum() > 0


def test_in_mock_the_network_is_its_equations():
    experiment, (first, _), forward = network(mock=True)
    spikes = events()
    spiking, _ = forward(spikes)
    snn.run(experiment, None)
    assert torch.equal(spiking.spikes, euler(spikes @ first.weight.detach().t()))


def test_installed_names_find_the_interface():
    code = (
        "import snnexp.hxtorch; snnexp.hxtorch.install()\n"
        "import hxtorch, hxtorch.snn\n"
        "import hxtorch.snn.functional\n"
        "from dlens_vx_v3 import halco\n"
        "assert hxtorch.snn.Experiment.__module__.startswith('snnexp.hxtorch')\n"
        "assert halco.__name__ == 'snnexp.hxtorch.halco'\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_installed_names_find_the_tutorials_helpers(tmp_path):
    """Also beside a folder `_static` of the user's own, which stays."""
    (tmp_path / "_static" / "common").mkdir(parents=True)
    (tmp_path / "_static" / "common" / "mine.py").write_text("VALUE = 7\n")
    code = (
        "import snnexp.hxtorch; snnexp.hxtorch.install()\n"
        "from _static.common.helpers import save_nightly_calibration, setup_hardware_client\n"
        "from _static.tutorial.snn_yinyang_helpers import plot_data, plot_training\n"
        "assert setup_hardware_client() is None and save_nightly_calibration('a.pbin') is None\n"
        "assert plot_training.__module__ == 'snnexp.figures.bss2'\n"
    )
    for more in ("", "import _static.common.mine as mine; assert mine.VALUE == 7\n"):
        folder = tmp_path if more else tmp_path.parent
        command = [sys.executable, "-c", code + more]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        assert ended.returncode == 0, ended.stderr
