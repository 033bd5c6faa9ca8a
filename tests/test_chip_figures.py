"""Figures of the chip show the traces, weights, circuits and accuracies that they were given."""

import matplotlib.colors
import pytest
import torch
from matplotlib.patches import Rectangle

from snnexp import figures
from snnexp.callbacks import chip_figures
from snnexp.session import run_composed
from tests.test_figures import NAMES, draw, legend_texts, offsets

DT = 2e-6


def test_traces_in_floats_and_of_the_chip_with_their_spikes():
    hidden = (torch.tensor([0.0, 0.5, 0.0]), torch.tensor([0.0, 0.4, 0.9]))
    readout = (torch.rand(3, 3), torch.rand(3, 3))
    spikes = (torch.tensor([4e-6]), torch.tensor([2e-6, 5e-6]))
    figure = figures.chip_traces(hidden, spikes, readout, DT, NAMES, "hidden1, neuron 4", 1.0)
    above, below = draw(figure).axes
    for line, trace in zip(above.lines, hidden, strict=False):
        assert list(line.get_xdata()) == pytest.approx([0, 2, 4])  # us
        assert list(line.get_ydata()) == pytest.approx(trace.tolist())
    times = [[x for x, _ in points.get_offsets()] for points in above.collections]
    assert times == [pytest.approx([4]), pytest.approx([2, 5])]
    assert list(above.lines[2].get_ydata()) == [1.0, 1.0]
    expected = [trace.tolist() for traces in readout for trace in traces.T]
    assert [line.get_ydata().tolist() for line in below.lines] == expected
    assert legend_texts(below)[::3] == ["yin, floats", "yin, chip"]
    assert below.get_xlabel() == "time (\N{MICRO SIGN}s)"
    assert above.get_ylabel() == "hidden1, neuron 4\n(no unit)"


def test_weights_pile_up_at_the_limit():
    """-90.4 and 70 become -63 and 63, -0.4 becomes 0; a bin of 5 LSB has a fifth a weight."""
    before = torch.tensor([[-90.4, -0.4], [70.0, 12.0]])
    after = torch.tensor([[-63.0, 0.0], [63.0, 12.0]])
    (panel,) = draw(figures.weight_histograms({"hidden1": (before, after)}, 63)).axes
    bars = [bar for bar in panel.patches if isinstance(bar, Rectangle)]
    held = {bar.get_x() + 0.5: bar.get_height() for bar in bars if bar.get_height()}
    assert held == {-63.0: 1, 0.0: 1, 63.0: 1, 12.0: 1}
    (outline,) = [patch for patch in panel.patches if not isinstance(patch, Rectangle)]
    assert {round(y, 6) for _, y in outline.get_xy()} == {0.0, 0.2}
    assert panel.get_title() == "hidden1: 2 of 4 beyond 63"
    assert legend_texts(panel) == ["floats", "chip"]


def test_every_circuit_lies_in_its_place_in_the_colour_of_its_layer():
    runs = [{"hidden1": [[(0, 0), (1, 0)], [(0, 1), (1, 1)]]}, {"readout": [[(1, 5)]]}]
    first, second = draw(figures.placement(runs, 2, 256)).axes
    places = [(square.get_x() + 0.5, square.get_y() + 0.45) for square in first.patches]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [(square.get_x() + 0.5, square.get_y() + 0.45) for square in second.patches] == [(5, 1)]
    colours = {matplotlib.colors.to_hex(square.get_facecolor()) for square in first.patches}
    assert len(colours) == 1
    assert matplotlib.colors.to_hex(second.patches[0].get_facecolor()) not in colours
    titles = [panel.get_title(loc="left") for panel in (first, second)]
    assert titles == ["run 1: 4 of 512 circuits", "run 2: 1 of 512 circuits"]


def test_a_strip_of_chips_for_each_condition_with_its_mean():
    cells = {("delgrad", "float"): [0.9, 0.94, 0.95], ("strong", "in_the_loop"): [0.8]}
    (panel,) = draw(figures.accuracy_over_chips(cells)).axes
    assert offsets(panel.collections[0]) == [(-0.25, 90), (0.0, 94), (0.25, 95)]
    assert offsets(panel.collections[1]) == [(1.0, 80)]
    means = [line.get_ydata()[0] for line in panel.lines[:2]]
    assert means == pytest.approx([93, 80])
    assert [label.get_text() for label in panel.get_xticklabels()] == ["delgrad", "strong"]
    assert legend_texts(panel) == ["float", "in_the_loop", "mean"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    sizes = "dataset.sizes={train: 75, val: 30, test: 30}"
    small = ("trainer.max_epochs=1", "model.hidden_sizes=[8]", "callback.figures.resolution=5")
    quick = ("backend.repeats=2", "callback=[figures]", "logger=[table]")
    folder = tmp_path_factory.mktemp("chip") / "run"
    return run_composed(["experiment=yinyang_bss2", sizes, *small, *quick], folder)


def test_a_run_on_the_chip_leaves_its_pictures(trained):
    plots = {path.stem for path in (trained.folder / "plots").glob("*.png")}
    assert {"chip_traces", "chip_weights", "chip_placement", "activity"} <= plots


def test_they_show_the_network_and_leave_it_as_it_was(trained):
    network = trained.classifier.network
    backend = network.backend
    drawn = chip_figures.draw(trained.classifier, torch.full((1, 4), 0.3), NAMES)
    assert network.backend is backend
    hidden, readout = drawn["chip_weights"].axes
    assert hidden.get_title().endswith("of 200 beyond 63")  # 25 channels, 8 neurons
    assert readout.get_title() == "readout: 0 of 24 beyond 63"
    assert len(drawn["chip_placement"].axes[0].patches) == 8 + 3
    _, below = drawn["chip_traces"].axes
    floats, chip = below.lines[:3], below.lines[3:]
    lsb = 0.0147
    for line in chip:  # what an 8-bit converter read, between samples of 1.7 us
        assert abs(line.get_ydata()[0] / lsb - round(line.get_ydata()[0] / lsb)) < 1e-3
    assert all(line.get_ydata()[0] == 0 for line in floats)


def test_nothing_of_it_at_the_reference_level(trained):
    backend = trained.classifier.network.backend
    plan, backend.plan = backend.plan, None
    try:
        assert chip_figures.draw(trained.classifier, torch.full((1, 4), 0.3), NAMES) == {}
    finally:
        backend.plan = plan
