"""What hxtorch refuses is refused, by the same kind of error; what passes in its mock passes."""

import functools
import subprocess
import sys

import pytest
import torch

from snnexp.hxtorch import emulate, halco, snn
from snnexp.hxtorch.snn import functional
from snnexp.hxtorch.snn.datasets.yinyang import YinYangDataset
from snnexp.hxtorch.snn.transforms.encode import CoordinatesToSpikes
from snnexp.hxtorch.snn.transforms.weight_transforms import linear_saturating

LIF = functional.CUBALIFParams(1 / 6e-6, 1 / 6e-6)
LI = functional.CUBALIParams(1 / 6e-6, 1 / 6e-6)
STEPS = 10
SCALED = functools.partial(linear_saturating, scale=66.39)


class Built:
    """An experiment, and modules made for it with its functions and parameters."""

    def __init__(self, mock):
        self.experiment = snn.Experiment(mock=mock, dt=2e-6)

    def synapse(self, inputs, outputs):
        return snn.Synapse(inputs, outputs, experiment=self.experiment, transform=SCALED)

    def neuron(self, size, **options):
        return snn.Neuron(size, self.experiment, functional.cuba_lif_integration, LIF, **options)

    def readout(self, size, **options):
        li = functional.cuba_li_integration
        return snn.ReadoutNeuron(size, self.experiment, li, LI, **options)

    def run(self, runtime=STEPS):
        snn.run(self.experiment, runtime)


@pytest.fixture(params=[True, False], ids=["mock", "chip"])
def either(request):
    return Built(request.param)


@pytest.fixture
def mock():
    return Built(True)


@pytest.fixture
def chip():
    return Built(False)


def handle(channels, steps=STEPS):
    return snn.NeuronHandle(torch.ones(steps, 2, channels))


def places(size, structure=1, row=1):
    cells = snn.morphology.SingleCompartmentNeuron(structure).compartments
    anchors = [
        halco.AtomicNeuronOnDLS(halco.NeuronRowOnDLS(row), halco.NeuronColumnOnDLS(column))
        for column in range(size)
    ]
    return [halco.LogicalNeuronOnDLS(cells, anchor) for anchor in anchors]


@pytest.mark.parametrize("runtime", [None, 10.0, "10", True, 0, -1])
def test_the_chip_wants_a_whole_runtime(chip, runtime):
    chip.readout(3)(chip.synapse(2, 3)(handle(2)))
    with pytest.raises(ValueError, match="runtime"):
        chip.run(runtime)


@pytest.mark.parametrize("runtime", [None, 10.0, 3])
def test_mock_ignores_the_runtime(mock, runtime):
    traces = mock.readout(3)(mock.synapse(2, 3)(handle(2)))
    mock.run(runtime)
    assert traces.v_cadc.shape == (STEPS, 2, 3)


def test_a_recurrent_connection_is_refused(either):
    neuron = either.neuron(3)
    feedforward, recurrent = either.synapse(2, 3), either.synapse(3, 3)
    spikes = neuron(feedforward(handle(2)))
    neuron(recurrent(spikes))
    with pytest.raises(ValueError, match="cycle"):
        either.run()


def test_two_ways_to_one_neuron_are_refused(either):
    """A skip connection closes no directed cycle, but one without directions."""
    spikes = either.neuron(3)(either.synapse(2, 3)(handle(2)))
    middle = either.neuron(3)(either.synapse(3, 3)(spikes))
    last = either.readout(1)
    last(either.synapse(3, 1)(middle))
    last(either.synapse(3, 1)(spikes))
    with pytest.raises(ValueError, match="cycle"):
        either.run()


def test_a_refused_run_leaves_nothing_behind(mock):
    neuron, synapse = mock.neuron(2), mock.synapse(2, 2)
    neuron(synapse(neuron.output_handle))
    with pytest.raises(ValueError, match="cycle"):
        mock.run()
    neuron(mock.synapse(2, 2)(handle(2)))
    mock.run()
    assert neuron.output_handle.spikes.shape == (STEPS, 2, 2)


def test_several_projections_of_one_neuron_add_up(mock):
    neuron, first, second = mock.readout(3), mock.synapse(2, 3), mock.synapse(4, 3)
    for synapse, inputs in ((first, handle(2)), (second, handle(4))):
        neuron(synapse(inputs))
    mock.run()
    graded = first.output_handle.graded_spikes + second.output_handle.graded_spikes
    expected, _ = functional.cuba_li_integration(graded, LI, dt=2e-6)
    assert torch.equal(neuron.output_handle.v_cadc, expected)


def test_a_synapse_of_two_inputs_is_refused(either):
    synapse = either.synapse(2, 3)
    for inputs in (handle(2), handle(2)):
        either.readout(3)(synapse(inputs))
    with pytest.raises(ValueError, match=r"Synapse: it connects one population|cycle"):
        either.run()


@pytest.mark.parametrize("length", [0, 2, 4])
def test_a_placement_of_the_wrong_length_is_refused(either, length):
    for make in (either.neuron, either.readout):
        with pytest.raises(ValueError, match="placement_constraint"):
            make(3, placement_constraint=places(length))


def test_dropout_stands_behind_neurons_only(either):
    outer = handle(2)
    dropout = snn.BatchDropout(2, 0.5, experiment=either.experiment)
    either.readout(3)(either.synapse(2, 3)(dropout(outer)))
    with pytest.raises(TypeError, match="Neuron"):
        either.run()
    dropout = snn.BatchDropout(3, 0.5, experiment=either.experiment)
    dropout(either.readout(3)(either.synapse(2, 3)(outer)))
    with pytest.raises(TypeError, match="Neuron"):
        either.run()


def test_dropout_of_another_size_is_refused(either):
    dropout = snn.BatchDropout(2, 0.5, experiment=either.experiment)
    dropout(either.neuron(3)(either.synapse(2, 3)(handle(2))))
    with pytest.raises(ValueError, match="size"):
        either.run()


def test_dropout_silences_while_training(either):
    """With a probability of 1 every neuron; on the chip their events are off too."""
    first, last = either.synapse(2, 3), either.synapse(3, 1)
    with torch.no_grad():
        first.weight.fill_(0.9)
    dropout = snn.BatchDropout(3, 1.0, experiment=either.experiment)
    neuron, readout = either.neuron(3), either.readout(1, trace_offset=80 - 128)
    for training in (True, False):
        dropout.train(training)
        sent = dropout(neuron(first(handle(2))))
        trace = readout(last(sent))
        either.run()
        assert bool(sent.spikes.any()) is not training
        assert bool((trace.v_cadc.detach().abs() > 1e-6).any()) is not training


@pytest.mark.parametrize("module", [snn.Neuron, snn.ReadoutNeuron, snn.IAFNeuron])
def test_a_neuron_without_a_function_is_a_choice_not_made(mock, module):
    module(3, mock.experiment)(mock.synapse(2, 3)(handle(2)))
    with pytest.raises(NotImplementedError, match="func"):
        mock.run()


def test_a_readout_feeds_a_synapse_in_mock_alone(mock, chip):
    for built in (mock, chip):
        traces = built.readout(3)(built.synapse(2, 3)(handle(2)))
        built.readout(1)(built.synapse(3, 1)(traces))
    mock.run()
    with pytest.raises(ValueError, match="does not spike"):
        chip.run()


def test_modules_take_handles(mock):
    with pytest.raises(TypeError, match="NeuronHandle"):
        mock.synapse(2, 3)(torch.ones(STEPS, 2, 2))


def test_an_empty_handle_is_refused(either):
    either.readout(3)(either.synapse(2, 3)(snn.NeuronHandle()))
    with pytest.raises((ValueError, AssertionError), match="holds no spikes"):
        either.run()


def test_handles_hold_their_own_tensors_alone():
    with pytest.raises(TypeError, match="graded_spikes"):
        snn.SynapseHandle(torch.ones(1), torch.ones(1))
    with pytest.raises(TypeError, match="v_cadc"):
        snn.ReadoutNeuronHandle(spikes=torch.ones(1))


def test_a_module_gives_the_same_handle_at_each_call(mock):
    synapse = mock.synapse(2, 3)
    assert synapse(handle(2)) is synapse(handle(2)) is synapse.output_handle


def test_the_chip_has_512_circuits(mock, chip):
    for built in (mock, chip):
        built.neuron(300)(built.synapse(2, 300)(handle(2)))
        built.neuron(213)(built.synapse(2, 213)(handle(2)))
    mock.run()
    with pytest.raises(ValueError, match="no free circuit; the chip has 512, 1 too few"):
        chip.run()


def test_a_circuit_has_128_signed_inputs(mock, chip):
    for built in (mock, chip):
        built.neuron(3)(built.synapse(129, 3)(handle(129)))
    mock.run()
    with pytest.raises(ValueError, match="129 signed inputs"):
        chip.run()
    two = snn.morphology.SingleCompartmentNeuron(2)
    chip.neuron(3, neuron_structure=two)(chip.synapse(129, 3)(handle(129)))
    chip.run()


def test_a_circuit_is_taken_once(chip):
    for _ in range(2):
        chip.neuron(3, placement_constraint=places(3))(chip.synapse(2, 3)(handle(2)))
    with pytest.raises(ValueError, match="taken already"):
        chip.run()


def test_a_place_has_the_neurons_structure(chip):
    chip.neuron(3, placement_constraint=places(3, structure=2, row=0))(
        chip.synapse(2, 3)(handle(2))
    )
    with pytest.raises(ValueError, match="neuron_structure"):
        chip.run()


def test_places_lie_on_the_chip():
    for coordinate, value in ((halco.NeuronRowOnDLS, 2), (halco.NeuronColumnOnDLS, 256)):
        with pytest.raises(ValueError, match=str(value - 1)):
            coordinate(value)
        assert coordinate(value - 1) == value - 1
    with pytest.raises(ValueError, match="NeuronRowOnDLS"):
        places(1, structure=2, row=1)


def test_sizes_fit_each_other(chip):
    chip.neuron(3)(chip.synapse(2, 4)(handle(2)))
    with pytest.raises(ValueError, match="out_features=4"):
        chip.run()


def test_spikes_that_are_read_are_recorded(chip):
    spikes = chip.neuron(3, enable_spike_recording=False)(chip.synapse(2, 3)(handle(2)))
    chip.run()
    assert spikes.spikes is None and spikes.v_cadc is not None
    spikes = chip.neuron(3, enable_spike_recording=False)(chip.synapse(2, 3)(handle(2)))
    chip.readout(1)(chip.synapse(3, 1)(spikes))
    with pytest.raises(ValueError, match="enable_spike_recording"):
        chip.run()


def test_the_chip_records_one_neuron_with_its_fast_converter(mock, chip):
    recording = {"enable_madc_recording": True, "record_neuron_id": 0}
    with pytest.raises(ValueError, match="record_neuron_id"):
        chip.neuron(3, enable_madc_recording=True)
    for built in (mock, chip):
        for _ in range(2):
            built.neuron(3, **recording)(built.synapse(2, 3)(handle(2)))
    mock.run()
    with pytest.raises(RuntimeError, match="one such converter"):
        chip.run()


def test_scales_by_place_need_places(chip):
    here, *others = places(3)
    assert here == places(1)[0], "coordinates compare by place"
    by_place = dict.fromkeys(others, 0.5)
    inputs = handle(2)
    chip.readout(3, trace_scale=by_place)(chip.synapse(2, 3)(inputs))
    with pytest.raises(ValueError, match="placement_constraint"):
        chip.run()
    chip.readout(3, trace_scale=by_place, placement_constraint=places(3))(
        chip.synapse(2, 3)(inputs)
    )
    with pytest.raises(ValueError, match="trace_scale: it has no value"):
        chip.run()


def test_parameters_suit_the_neuron(chip):
    readout = snn.ReadoutNeuron(3, chip.experiment, functional.cuba_li_integration, LIF)
    readout(chip.synapse(2, 3)(handle(2)))
    with pytest.raises(TypeError, match="CUBALIParams"):
        chip.run()


def test_other_surrogates_than_hxtorchs_are_refused():
    params = functional.CUBALIFParams(1e5, 1e5, method="arctan")
    with pytest.raises(NotImplementedError, match="superspike"):
        functional.cuba_lif_integration(torch.ones(3, 1, 1), params)


def test_dots_must_fit_the_symbol():
    with pytest.raises(ValueError, match="r_small"):
        YinYangDataset(r_small=0.25, r_big=0.5)
    assert len(YinYangDataset(r_small=0.24, r_big=0.5, size=3)) == 3


def test_spikes_must_fall_on_the_grid():
    encoder = CoordinatesToSpikes(30, t_early=2e-6, t_late=40e-6, dt=2e-6)
    assert encoder(torch.tensor([[0.0, 1.0]])).nonzero()[:, 0].tolist() == [1, 20]
    with pytest.raises(ValueError, match="seq_length"):
        encoder(torch.tensor([[2.0]]))


def test_unknown_chips_are_refused():
    with pytest.raises(ValueError, match="delgrad"):
        emulate(preset="perfect")


@pytest.mark.parametrize("name", ["hxtorch", "dlens_vx_v3"])
def test_names_of_an_installed_library_are_left_alone(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    code = (
        "import snnexp.hxtorch\n"
        "try:\n    snnexp.hxtorch.install()\n"
        f"except RuntimeError as error:\n    assert '{name}' in str(error)\n"
        "else:\n    raise SystemExit('not refused')\n"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
