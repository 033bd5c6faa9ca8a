"""Pictures show what they were given: where, in which unit, and how much of it."""

import matplotlib.colors
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from snnexp import figures

NAMES = ("yin", "yang", "dot")
YIN_YANG_COLOURS = ("#6392EB", "#D97C75", "#65AD68")


def draw(figure: Figure) -> Figure:
    """Draws it, so that faults of layout and of artists show too."""
    FigureCanvasAgg(figure).draw()
    return figure


def offsets(points: PathCollection) -> list[tuple[float, float]]:
    """The points' places in the axes' units."""
    return [(pytest.approx(x), pytest.approx(y)) for x, y in np.asarray(points.get_offsets())]


def legend_texts(panel: Axes) -> list[str]:
    legend = panel.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def spikes_at(steps: int, channels: int, places: list[tuple[int, int]]) -> torch.Tensor:
    spikes = torch.zeros(steps, channels)
    for step, channel in places:
        spikes[step, channel] = 1
    return spikes


ROWS = [
    {"epoch": 0.0, "val/loss": 1.1, "val/accuracy": 0.25},
    {"epoch": 1.0, "train/loss": 0.9, "val/loss": 0.8, "train/accuracy": 0.5, "val/accuracy": 0.75},
    {"epoch": 2.0, "train/loss": 0.7, "val/rate_hz": 120.0, "val/synops_ac_per_sample": 900.0},
]


def test_learning_curves_draw_each_metric_at_its_epochs_in_its_unit():
    loss, accuracy, rate, operations = draw(figures.learning_curves(ROWS)).axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in loss.lines}
    assert curves == {"train": [[1, 0.9], [2, 0.7]], "val": [[0, 1.1], [1, 0.8]]}
    curves = {line.get_label(): line.get_xydata().tolist() for line in accuracy.lines}
    assert curves == {"train": [[1, 50]], "val": [[0, 25], [1, 75]]}
    assert [line.get_xydata().tolist() for line in rate.lines] == [[[2, 120]]]
    assert [line.get_xydata().tolist() for line in operations.lines] == [[[2, 900]]]


def test_an_overlay_has_a_line_at_90_percent_and_a_curve_a_run():
    curves = {"with": {0: 0.05, 2: 0.5, 4: 0.941}, "without": {0: 0.05, 1: 0.734}}
    (panel,) = draw(figures.accuracy_overlay(curves, 0.9, "made SHD")).axes
    line, first, second = panel.lines
    assert line.get_linestyle() == "--" and list(line.get_ydata()) == [90, 90]
    assert first.get_xydata().tolist() == [[0, 5], [2, 50], [4, pytest.approx(94.1)]]
    assert second.get_xydata().tolist() == [[0, 5], [1, pytest.approx(73.4)]]
    assert first.get_color() != second.get_color()
    assert legend_texts(panel) == ["with: 94.1 %", "without: 73.4 %"]
    assert panel.get_title() == "made SHD"
    assert panel.get_ylim() == (0, 100) and "%" in panel.get_ylabel()


def test_learning_curves_name_units_on_every_axis():
    panels = draw(figures.learning_curves(ROWS)).axes
    units = [panel.get_ylabel().partition("(")[2] for panel in panels]
    assert units == ["no unit)", "%)", "Hz)", "per sample)"]
    assert [panel.get_xlabel() for panel in panels] == ["epoch"] * 4


def test_learning_curves_tell_stages_and_operations_apart():
    rows = [{"epoch": 1.0, "val/synops_ac_per_sample": 5.0, "val/synops_mac_per_sample": 3.0}]
    loss, *_, operations = draw(figures.learning_curves(rows + ROWS)).axes
    assert legend_texts(loss) == ["train", "val"]
    assert loss.lines[0].get_color() != loss.lines[1].get_color()
    assert legend_texts(operations) == ["val accumulates", "val multiply-accumulates"]
    assert operations.lines[0].get_linestyle() != operations.lines[1].get_linestyle()


def test_learning_curves_of_no_rows_are_empty_panels():
    assert [len(panel.lines) for panel in draw(figures.learning_curves([])).axes] == [0] * 4


@pytest.mark.parametrize(
    ("steps", "dt", "unit", "last"),
    [
        (30, 2e-6, "\N{MICRO SIGN}s", 58.0),
        (100, 1e-3, "ms", 99.0),
        (1000, 1e-6, "ms", 0.999),
        (100, 1e-2, "s", 0.99),
        (250, 1e-2, "s", 2.49),
    ],
)
def test_time_axis_has_the_unit_that_makes_its_numbers_readable(steps, dt, unit, last):
    spikes = spikes_at(steps, 2, [(steps - 1, 1)])
    (panel,) = draw(figures.input_encoding(spikes, dt, {})).axes
    assert panel.get_xlabel() == f"time ({unit})"
    assert offsets(panel.collections[0]) == [(last, 1)]


@pytest.mark.parametrize("channels", [5, 700])
def test_raster_has_a_tick_for_each_spike_at_step_times_dt(channels):
    places = [(0, 0), (3, 4), (9, channels - 1)]
    (panel,) = draw(figures.input_encoding(spikes_at(30, channels, places), 2e-6, {})).axes
    assert offsets(panel.collections[0]) == [(2.0 * step, channel) for step, channel in places]
    assert panel.get_xlim() == pytest.approx((-1, 59))
    assert panel.get_ylim() == (-0.5, channels - 0.5)


def test_raster_of_silence_is_empty():
    (panel,) = draw(figures.input_encoding(torch.zeros(30, 5), 1e-3, {})).axes
    assert offsets(panel.collections[0]) == []


def test_several_spikes_a_step_are_told_apart_by_colour():
    spikes = spikes_at(10, 4, [(1, 1), (2, 3)])
    spikes[5, 2] = 3
    panel = draw(figures.input_encoding(spikes, 1e-3, {})).axes[0]
    assert offsets(panel.collections[0]) == [(1, 1), (2, 3), (5, 2)]
    assert panel.collections[0].get_array().tolist() == [1, 1, 3]
    assert panel.child_axes[0].get_ylabel() == "spikes per step"


def test_analog_input_is_an_image_with_a_colour_bar():
    values = torch.tensor([0.0, 0.25, 1.0]).expand(20, 3)
    panel = draw(figures.input_encoding(values, 1e-3, {})).axes[0]
    (image,) = panel.images
    np.testing.assert_array_equal(image.get_array(), values.T.numpy())
    assert image.origin == "lower"
    assert image.get_extent() == pytest.approx([-0.5, 19.5, -0.5, 2.5])
    assert panel.child_axes[0].get_ylabel() == "value (no unit)"
    assert len(panel.collections) == 0


def test_marks_are_dotted_lines_with_names_and_the_span_is_grey():
    marks = {"t_early": 2e-6, "t_late": 40e-6, "t_bias": 18e-6}
    (panel,) = draw(figures.input_encoding(torch.zeros(30, 5), 2e-6, marks)).axes
    assert [line.get_xdata()[0] for line in panel.lines] == pytest.approx([2, 40, 18])
    assert {line.get_linestyle() for line in panel.lines} == {":"}
    named = {text.get_text(): text.get_position()[0] for text in panel.texts}
    assert named == pytest.approx({"t_early": 2, "t_late": 40, "t_bias": 18})
    (span,) = panel.patches
    assert (span.get_x(), span.get_width()) == pytest.approx((2, 38))


def test_without_both_ends_there_is_no_span():
    (panel,) = draw(figures.input_encoding(torch.zeros(30, 5), 2e-6, {"t_early": 2e-6})).axes
    assert len(panel.lines) == 1
    assert len(panel.patches) == 0


@pytest.mark.parametrize(
    ("bias", "names", "tilt"),
    [
        (2e-6, ["t_early, t_bias", "t_late"], 0),
        (4e-6, ["t_early", "t_bias", "t_late"], 40),
        (20e-6, ["t_early", "t_bias", "t_late"], 0),
    ],
)
def test_names_of_close_marks_are_tilted_and_of_equal_ones_joined(bias, names, tilt):
    marks = {"t_early": 2e-6, "t_bias": bias, "t_late": 40e-6}
    (panel,) = draw(figures.input_encoding(torch.zeros(30, 5), 2e-6, marks)).axes
    assert [text.get_text() for text in panel.texts] == names
    assert {text.get_rotation() for text in panel.texts} == {tilt}


def sample_activity(threshold: float | None = None, decision: int = 1) -> Figure:
    inputs = spikes_at(10, 5, [(0, 0), (2, 4)])
    hidden = {
        "first": spikes_at(10, 20, [(1, 3), (4, 19), (9, 0)]),
        "second": spikes_at(10, 8, [(7, 7)]),
    }
    readout = torch.arange(30.0).view(10, 3)
    return draw(
        figures.activity(inputs, hidden, readout, 1e-3, NAMES, 0, decision, threshold=threshold)
    )


def test_activity_stacks_input_layers_and_readout_over_one_time_axis():
    panels = sample_activity().axes
    rasters = [offsets(panel.collections[0]) for panel in panels[:3]]
    assert rasters == [[(0, 0), (2, 4)], [(1, 3), (4, 19), (9, 0)], [(7, 7)]]
    labels = [panel.get_ylabel() for panel in panels]
    assert labels == ["input\nchannel", "first\nneuron", "second\nneuron", "readout\n(no unit)"]
    assert {panel.get_xlim() for panel in panels} == {panels[0].get_xlim()}
    assert panels[0].get_xlim() == pytest.approx((-0.5, 9.5))
    assert panels[-1].get_xlabel() == "time (ms)"


def test_activity_keeps_the_time_axes_aligned_beside_a_colour_bar():
    analog = torch.linspace(0, 1, 50).view(10, 5)
    silent = {"hidden": torch.zeros(10, 4)}
    figure = figures.activity(analog, silent, torch.zeros(10, 3), 1e-3, NAMES, 0, 0)
    boxes = [panel.get_position() for panel in draw(figure).axes]
    assert [box.x0 for box in boxes] == pytest.approx([boxes[0].x0] * 3)
    assert [box.x1 for box in boxes] == pytest.approx([boxes[0].x1] * 3)


def test_readout_traces_have_the_classes_colours_and_a_legend():
    panel = sample_activity().axes[-1]
    assert [line.get_color() for line in panel.lines] == list(YIN_YANG_COLOURS)
    assert [line.get_ydata()[1].item() for line in panel.lines] == [3, 4, 5]
    np.testing.assert_allclose(panel.lines[2].get_xdata(), np.arange(10), rtol=1e-6)
    assert legend_texts(panel) == list(NAMES)


def test_threshold_is_a_dotted_line_on_the_readout():
    panel = sample_activity(threshold=12.5).axes[-1]
    assert list(panel.lines[-1].get_ydata()) == [12.5, 12.5]
    assert panel.lines[-1].get_linestyle() == ":"
    assert legend_texts(panel) == [*NAMES, "threshold"]


@pytest.mark.parametrize(
    ("decision", "name", "verdict"), [(0, "yin", "right"), (2, "dot", "wrong")]
)
def test_activity_says_label_and_decision(decision, name, verdict):
    title = sample_activity(decision=decision).axes[0].get_title()
    assert title == f"label yin, decision {name} ({verdict})"


def test_twenty_classes_have_twenty_different_traces():
    names = [f"word {index}" for index in range(20)]
    figure = figures.activity(torch.zeros(10, 5), {}, torch.zeros(10, 20), 1e-3, names, 0, 0)
    lines = draw(figure).axes[-1].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20


def test_rate_histogram_counts_all_neurons_and_names_the_dead():
    rates = {
        "first": torch.tensor([0.0, 0.0, 10.0, 29.0, 30.0]),
        "second": torch.tensor([5.0, 7.0]),
        "third": torch.zeros(4),
        "fourth": torch.ones(1),
    }
    panels = draw(figures.rate_histogram(rates)).axes
    assert [panel.get_title() for panel in panels] == [
        "first: 2 of 5 dead",
        "second: 0 of 2 dead",
        "third: 4 of 4 dead",
        "fourth: 0 of 1 dead",
    ]
    heights = [[bar.get_height() for bar in panel.patches] for panel in panels]
    assert [sum(bars) for bars in heights] == [5, 2, 4, 1]
    # 30 bins of 1 Hz from 0 to 30 Hz; the last one includes its right edge
    assert {place: height for place, height in enumerate(heights[0]) if height} == {
        0: 2,
        10: 1,
        29: 2,
    }
    assert {panel.get_xlabel() for panel in panels} == {"mean rate (Hz)"}


COUNTS = torch.tensor([[6, 2, 0], [1, 9, 0], [0, 0, 0]])


def test_confusion_matrix_has_counts_in_cells_and_shares_of_rows_as_colours():
    panel = draw(figures.confusion_matrix(COUNTS, NAMES)).axes[0]
    cells = {text.get_position(): text.get_text() for text in panel.texts}
    assert cells == {(x, y): str(int(COUNTS[y, x])) for y in range(3) for x in range(3)}
    shares = [[75, 25, 0], [10, 90, 0], [0, 0, 0]]
    np.testing.assert_allclose(panel.images[0].get_array(), shares, rtol=1e-6)
    assert panel.get_title() == "accuracy 83.3 % of 18 samples"  # (6 + 9) / 18


def test_confusion_matrix_has_true_classes_down_and_decided_ones_across():
    panel = draw(figures.confusion_matrix(COUNTS, NAMES)).axes[0]
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("true class", "decided class")
    assert [label.get_text() for label in panel.get_xticklabels()] == list(NAMES)
    assert [label.get_text() for label in panel.get_yticklabels()] == list(NAMES)
    assert panel.get_ylim() == (2.5, -0.5)  # the first class is at the top


@pytest.mark.parametrize(("size", "cells"), [(20, 400), (21, 0)])
def test_confusion_matrix_has_numbers_up_to_twenty_classes(size, cells):
    names = [str(index) for index in range(size)]
    counts = torch.eye(size, dtype=torch.long)
    assert len(draw(figures.confusion_matrix(counts, names)).axes[0].texts) == cells


VALUES = torch.tensor([[0.1, 0.2, 9.0], [0.3, 0.4, 9.0], [0.5, 0.6, 9.0], [0.7, 0.8, 9.0]])
LABELS = torch.tensor([0, 2, 2, 1])


def test_plane_data_draws_each_class_in_its_colour_at_its_first_two_features():
    (panel,) = draw(figures.plane_data(VALUES, LABELS, NAMES)).axes
    points = [offsets(points) for points in panel.collections]
    assert points == [[(0.1, 0.2)], [(0.7, 0.8)], [(0.3, 0.4), (0.5, 0.6)]]
    colours = [matplotlib.colors.to_hex(points.get_facecolor()[0]) for points in panel.collections]
    assert [colour.upper() for colour in colours] == list(YIN_YANG_COLOURS)
    assert panel.get_aspect() == 1
    assert legend_texts(panel) == list(NAMES)
    assert (panel.get_xlabel(), panel.get_ylabel()) == (
        "first feature (no unit)",
        "second feature (no unit)",
    )


EXTENT = (0.0, 1.0, 0.0, 2.0)
SCORES = torch.tensor(
    [
        [[5.0, 1.0, 1.0], [1.0, 5.0, 1.0]],
        [[1.0, 1.0, 5.0], [float("nan")] * 3],
    ]
)


def made_decision_map(decisions: torch.Tensor) -> Axes:
    figure = figures.decision_map(SCORES, EXTENT, VALUES, LABELS, decisions, NAMES)
    return draw(figure).axes[0]


def test_decision_map_has_the_tint_of_the_winner_and_white_outside():
    (image,) = made_decision_map(LABELS).images
    pixels = np.asarray(image.get_array())
    tints = 1 - 0.4 * (1 - np.array([matplotlib.colors.to_rgb(c) for c in YIN_YANG_COLOURS]))
    white = np.ones(3)
    np.testing.assert_allclose(pixels, [[tints[0], tints[1]], [tints[2], white]], rtol=1e-5)
    assert image.origin == "lower"
    assert tuple(image.get_extent()) == EXTENT


def test_decision_map_rings_exactly_the_errors_in_the_colour_of_the_true_class():
    panel = made_decision_map(torch.tensor([0, 1, 2, 0]))  # the second and the fourth are wrong
    *right, inside, rings = panel.collections
    assert offsets(rings) == [(0.3, 0.4), (0.7, 0.8)]
    assert offsets(inside) == [(0.3, 0.4), (0.7, 0.8)]
    assert matplotlib.colors.to_hex(rings.get_edgecolor()[0]) == "#000000"
    colours = [matplotlib.colors.to_hex(colour).upper() for colour in inside.get_facecolor()]
    assert colours == [YIN_YANG_COLOURS[2], YIN_YANG_COLOURS[1]]
    assert [offsets(points) for points in right] == [[(0.1, 0.2)], [], [(0.5, 0.6)]]
    assert panel.get_title() == "2 errors of 4 samples (50.0 %)"
    assert legend_texts(panel) == [*NAMES, "error"]


def test_decision_map_without_errors_has_no_rings():
    panel = made_decision_map(LABELS)
    assert offsets(panel.collections[-1]) == []
    assert panel.get_title() == "0 errors of 4 samples (0.0 %)"


def test_score_maps_show_each_class_and_leave_nan_out():
    panels = draw(figures.score_maps(SCORES, EXTENT, NAMES)).axes
    assert [panel.get_title() for panel in panels] == list(NAMES)
    for index, panel in enumerate(panels):
        (image,) = panel.images
        shown = np.ma.filled(image.get_array(), np.nan)
        np.testing.assert_array_equal(shown, SCORES[..., index].numpy())
        assert np.ma.getmaskarray(image.get_array()).tolist() == [[False, False], [False, True]]
        assert (image.origin, tuple(image.get_extent())) == ("lower", EXTENT)
        assert panel.child_axes[0].get_ylabel() == "score (no unit)"


@pytest.mark.parametrize(("first", "scale"), [(4.0, "log"), (2.0, "linear")])
def test_a_rate_range_shows_validation_loss_against_the_rate_on_log_axes(first, scale):
    rows = [{"epoch": 0.0, "val/loss": 3.0}]
    rows += [{"epoch": float(n), "val/loss": first - n, "train/lr": 10.0**-n} for n in (1, 2)]
    (panel,) = draw(figures.rate_range(rows)).axes
    assert panel.lines[0].get_xydata().tolist() == [[0.1, first - 1], [0.01, first - 2]]
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", scale)


def test_accuracy_by_group_has_a_bar_a_group():
    """Of group 2 one of two is right, of group 5 one of one."""
    correct, group = torch.tensor([True, False, True]), torch.tensor([2, 2, 5])
    (panel,) = draw(figures.accuracy_by_group(correct, group, "speaker")).axes
    assert [bar.get_height() for bar in panel.patches] == [50, 100]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["2", "5"]
    assert {text.get_text() for text in panel.texts} == {"n = 2", "n = 1"}


def test_accuracy_over_time_shows_both_shares():
    correct = torch.tensor([[False, True], [True, True]])
    stable = torch.tensor([0.2, 0.1])
    (panel,) = draw(figures.accuracy_over_time(correct, stable, [0.1, 0.2])).axes
    assert [line.get_ydata().tolist() for line in panel.lines[:1]] == [[50, 100]]
    assert list(panel.lines[1].get_ydata()) == [50, 100]
    assert panel.get_title() == "half of the decisions stay from 0.1 s on"


def test_data_are_shown_by_class_with_the_example_on_top():
    data = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]])
    target = torch.tensor([0, 1, 2, 1])
    (panel,) = draw(figures.plot_data(data[2], data, target)).axes
    *classes, example = panel.collections
    for label, (points, colour) in enumerate(zip(classes, YIN_YANG_COLOURS, strict=True)):
        assert offsets(points) == [tuple(row) for row in data[target == label, :2].tolist()]
        assert matplotlib.colors.to_hex(points.get_facecolor()[0]).upper() == colour
    assert offsets(example) == [tuple(data[2, :2].tolist())]


def test_the_encoding_shows_each_spike_at_its_time():
    spikes = torch.zeros(30, 5)
    spikes[4, 0] = spikes[20, 3] = 1
    figure = figures.plot_input_encoding(spikes, 2e-6, 40e-6, 18e-6, 60e-6, 2e-6)
    (panel,) = draw(figure).axes
    assert offsets(panel.collections[0]) == [(8e-6, 0), (40e-6, 3)]
    marks = [line.get_xdata()[0] for line in panel.lines]
    assert marks == [2e-6, 18e-6, 40e-6]


def test_a_training_shows_what_it_was_told():
    """Two batches of an epoch, a test before and one behind; scores whose shares are thirds."""
    update, update_train, update_test = figures.plot_training(3, 60e-6, 2e-6)
    inputs, hidden = torch.zeros(30, 2, 5), torch.zeros(30, 2, 3)
    inputs[4, 0, 1] = hidden[6, 0, 2] = hidden[7, 1, 0] = 1  # the last is of another sample
    traces = torch.rand(30, 2, 3)
    data = torch.tensor([[0.1, 0.2, 0.9, 0.8], [0.5, 0.6, 0.5, 0.4], [0.3, 0.3, 0.7, 0.7]])
    scores = torch.tensor([[2.0, 1.0, 1.0], [-1.0, 3.0, 1.0], [0.0, -1.0, 0.0]])
    shown = inputs, hidden, traces, data, torch.tensor([0, 1, 2]), scores
    update_test(*shown, 1.5, 33.0, 1.0)
    update_train(2, 1.0, 40.0, 2.0)
    update_train(2, 0.8, 60.0, 4.0)
    update_test(*shown, 0.9, 50.0, 3.0)
    loss, accuracy, rate, *planes, sent, spiking, reading = draw(update()).axes
    curves = [[line.get_xydata().tolist() for line in panel.lines] for panel in (loss, accuracy)]
    assert curves[0] == [[[0.5, 1.0], [1.0, 0.8]], [[0.0, 1.5], [1.0, 0.9]]]
    assert curves[1] == [[[0.5, 40.0], [1.0, 60.0]], [[0.0, 33.0], [1.0, 50.0]]]
    assert rate.lines[1].get_ydata().tolist() == [1.0, 3.0]
    assert accuracy.get_yscale() == "log"
    opacity = [panel.collections[0].get_alpha() for panel in planes]
    assert opacity[0] == pytest.approx([0.5, 0.0, 1 / 3])
    assert opacity[1] == pytest.approx([0.25, 0.75, 1 / 3])
    assert offsets(planes[2].collections[0]) == [tuple(row) for row in data[:, :2].tolist()]
    assert offsets(sent.collections[0]) == [(8, 1)]
    assert offsets(spiking.collections[0]) == [(12, 2)]
    assert reading.lines[1].get_ydata().tolist() == traces[:, 0, 1].tolist()


def test_a_training_that_nothing_was_told_of_is_an_empty_figure():
    panels = draw(figures.plot_training(3, 60e-6, 2e-6)[0]()).axes
    assert [len(panel.lines) for panel in panels] == [0, 0, 0]
