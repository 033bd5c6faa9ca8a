"""Regularizers: each against its equation on two hidden layers made by hand."""

import gc
from functools import partial

import pytest
import torch

from snnexp import checkpoints
from snnexp.activity import Activity, LayerActivity
from snnexp.errors import UserError
from snnexp.evaluate import evaluate
from snnexp.experiment import build, load
from snnexp.inputs import Dense, Static
from snnexp.metrics import SynapticOperations
from snnexp.regularizers import (
    Burst,
    LowerRate,
    Readout,
    SynopsBudget,
    SynopsTarget,
    UpperRate,
    Weights,
)
from snnexp.session import resume
from snnexp.synops import total
from tests.models import made

STEPS = 5
COUNTS = [[3, 0], [1, 4]], [[0, 0, 2], [5, 1, 0]]  # by layer, sample and neuron
SCORES = torch.tensor([[1.0, -2.0], [0.0, 3.0]])


def network():
    built = made.network((4, 2, 3, 2), partial(made.lif, recurrent=True))
    for value, weight in enumerate(built.weights().values(), start=1):
        torch.nn.init.constant_(weight, value)  # 1 to 5 in the order of the flow
    return built


def activity():
    """Two hidden layers with COUNTS spikes in their first steps, and a busy spiking readout."""
    layers = {}
    for name, counts in zip(("hidden1", "hidden2"), COUNTS, strict=True):
        spikes = (torch.arange(STEPS)[:, None, None] < torch.tensor(counts)).float()
        layers[name] = LayerActivity(Dense(spikes.requires_grad_()))
    layers["readout"] = LayerActivity(Dense(torch.ones(STEPS, 2, 2)))
    return Activity(Static(torch.ones(2, 4), STEPS), layers)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (Readout(factor=0.1), 0.1 * (1 + 4 + 0 + 9) / 4),
        (Burst(factor=0.1), 0.1 * ((9 + 0 + 1 + 16) / 4 + (4 + 25 + 1) / 6)),
        # short of 2 by 0 2 / 1 0 and by 2 2 0 / 0 1 2
        (LowerRate(factor=0.1, bound=2.0), 0.1 * ((4 + 1) / 4 + (4 + 4 + 1 + 4) / 6)),
        # means 1.5, 2.5 and 2/3, 2 against 1
        (UpperRate(factor=0.1, bound=1.0), 0.1 * ((0.25 + 2.25) / 2 + (0 + 1) / 2)),
        (UpperRate(factor=0.1, bound=0.0), 0.1 * ((2.25 + 6.25) / 2 + (4 / 9 + 4) / 2)),
        (Weights(factor=0.1), 0.1 * (1 + 4 + 9 + 16 + 25)),
        (Weights(factor=[1.0, 0.0, 0.0, 0.1, 2.0]), 1 + 1.6 + 50),
    ],
    ids=["readout", "burst", "lower_rate", "upper_rate", "any_rate", "weights", "weights each"],
)
def test_terms_equal_their_equations(term, expected):
    value = term(activity(), SCORES, network())
    assert value.shape == ()
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        # d/dn by sample and neuron of the first layer, the same at each step
        (Burst(factor=0.1), [[0.1 * 2 * 3 / 4, 0], [0.1 * 2 * 1 / 4, 0.1 * 2 * 4 / 4]]),
        (LowerRate(factor=0.1, bound=2.0), [[0, -0.1 * 2 * 2 / 4], [-0.1 * 2 * 1 / 4, 0]]),
        # 2 (mean - 1) / (2 samples x 2 neurons)
        (UpperRate(factor=0.1, bound=1.0), [[0.1 * 0.25] * 2, [0.1 * 0.75] * 2]),
    ],
    ids=["burst", "lower_rate", "upper_rate"],
)
def test_gradients_reach_the_spikes(term, expected):
    record = activity()
    term(record, SCORES, network()).backward()
    found = record.layers["hidden1"].spikes.grad
    torch.testing.assert_close(found, torch.tensor(expected).expand(STEPS, 2, 2))


def test_gradients_reach_scores_and_weights():
    scores, net = SCORES.clone().requires_grad_(), network()
    (
        Readout(factor=0.1)(activity(), scores, net) + Weights(factor=0.1)(activity(), scores, net)
    ).backward()
    torch.testing.assert_close(scores.grad, 0.1 * 2 * SCORES / 4)
    recurrent = net.weights()["hidden1_recurrent"]
    torch.testing.assert_close(recurrent.grad, torch.full((2, 2), 0.1 * 2 * 2 / 4))


@pytest.mark.parametrize(
    ("build", "start"),
    [
        (lambda: Readout(factor=-1.0), "factor: -1.0"),
        (lambda: Weights(factor=[1.0, -2.0]), "factor: -2.0"),
        (lambda: Weights(factor=[]), "factor: "),
        (lambda: Weights(factor=float("inf")), "factor: inf; it must be a finite number"),
        (lambda: Burst(factor=float("nan")), "factor: nan"),
        (lambda: LowerRate(factor=1.0, bound=float("inf")), "bound: inf; it must be a finite"),
        (lambda: UpperRate(factor=1.0, bound=float("inf")), "bound: inf; it must be a finite"),
        (lambda: LowerRate(factor=1.0, bound=0.0), "bound: 0.0"),
        (lambda: UpperRate(factor=1.0, bound=-1.0), "bound: -1.0"),
        (
            lambda: Weights(factor=[1.0, 2.0])(activity(), SCORES, network()),
            "factor: 2 entries for 5 synapses",
        ),
    ],
)
def test_refusals_name_the_argument_first(build, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        build()


# Operations of a sample: ones at 4 inputs for 5 steps to 2 neurons, COUNTS behind them. Of hidden1
# 8 spikes in 2 samples go to 3 neurons and back to 2, less sample 1's one in the last step; of
# hidden2 likewise 8 to 2 and back to 3, less sample 1's first neuron's in the last step.
SYNOPS = 4 * 5 * 2 + 8 / 2 * 3 + 8 / 2 * 2 + 8 / 2 * 2 + 7 / 2 * 3


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (SynopsTarget(factor=0.1, target=100.0, of=None), 0.1 * (1 - SYNOPS / 100) ** 2),
        (SynopsTarget(factor=0.1, target=50.0, of=None), 0.1 * (1 - SYNOPS / 50) ** 2),
        (SynopsBudget(factor=0.1, target=50.0, of=None), 0.1 * (SYNOPS / 50 - 1) ** 2),
        (SynopsBudget(factor=0.1, target=100.0, of=None), 0.0),
    ],
)
def test_terms_of_operations(term, expected):
    given = activity()
    value = term(given, SCORES, network())
    assert value.item() == pytest.approx(expected)
    value.backward()
    gradient = given.layers["hidden1"].train.spikes.grad
    assert bool(gradient.any()) == (expected > 0)
    # A spike of hidden1 reaches 3 + 2 neurons; in the last step it does not come back.
    if expected > 0:
        assert gradient[0, 0, 0] / gradient[-1, 0, 0] == pytest.approx(5 / 3)


def test_a_target_may_be_a_multiple_of_what_the_untrained_network_takes():
    term = SynopsTarget(factor=1.0, target=2.0, of="untrained")
    term.prepare(activity, network())
    assert term(activity(), SCORES, network()).item() == pytest.approx(0.25)


def test_a_multiple_of_no_operations_is_refused():
    silent = Activity(Static(torch.zeros(2, 4), STEPS), activity().layers)
    for name, counts in zip(("hidden1", "hidden2"), COUNTS, strict=True):
        spikes = torch.zeros(STEPS, *torch.tensor(counts).shape)
        silent.layers[name] = LayerActivity(Dense(spikes))
    term = SynopsTarget(factor=1.0, target=2.0, of="untrained")
    with pytest.raises(ValueError, match=r"^of: untrained: no operations there"):
        term.prepare(lambda: silent, network())


def test_what_the_untrained_network_takes_is_measured_without_a_trace(compose):
    """A batch moves the averages of its normalization; training begins with 0 and 1."""
    cfg = compose("model/norm=batch", "regularizer=[synops_budget]")
    _, classifier, _ = build(cfg)
    assert classifier.regularizers["synops_budget"].wanted > 0
    for layer in classifier.network.layers.values():
        assert not layer.norm.mean.any() and (layer.norm.variance == 1).all()


def test_a_target_may_be_a_multiple_of_what_a_run_took(tmp_path):
    (tmp_path / "summary.json").write_text('{"val/synops_fanout_per_sample": 40.0}')
    term = SynopsBudget(factor=1.0, target=0.5, of=str(tmp_path))
    term.prepare(activity, network())
    assert term(activity(), SCORES, network()).item() == pytest.approx((SYNOPS / 20 - 1) ** 2)


def test_training_on_from_a_run_begins_with_what_its_weights_take(train, compose, tmp_path):
    trained = train("optimizer.lr=0.1").classifier
    overrides = ("regularizer=synops_target", "regularizer.synops_target.target=3.0")
    wanted = []
    for start in (trained, None):
        init = () if start is None else (f"init_from={tmp_path}/run",)
        dataset, classifier, _ = build(compose(*overrides, *init))
        start = (start or classifier).cpu()
        batch = next(iter(dataset.loader("train", 8, seed=0)))[0]
        wanted.append(3.0 * total(start.run(batch, "train", 0)[1], start.network).item())
        assert classifier.regularizers["synops_target"].wanted == pytest.approx(wanted[-1])
    assert abs(wanted[0] - wanted[1]) > 1


@pytest.mark.parametrize("of", ["untrained", "{}/first"])
def test_a_target_stays_as_it_was_measured_when_its_source_is_gone(of, train, tmp_path):
    overrides = [f"init_from={tmp_path}/first", "regularizer=synops_target"]
    overrides.append(f"regularizer.synops_target.of={of.format(tmp_path)}")
    train("optimizer.lr=0.1", folder="first")
    result = train(*overrides, "trainer.max_epochs=2")
    wanted = result.classifier.regularizers["synops_target"].wanted
    (tmp_path / "first").rename(tmp_path / "moved")
    assert load(result.folder).regularizers["synops_target"].wanted == wanted
    measured = evaluate(result.folder, ["regularizer.synops_target.target=9.0"])
    assert measured["test/loss/synops_target"] > result.metrics["test/loss/synops_target"]
    (result.folder / "summary.json").unlink()
    assert resume(result.folder).metrics["test/loss"] == result.metrics["test/loss"]
    with pytest.raises(UserError, match="is no complete run"):
        evaluate(result.folder, [f"regularizer.synops_target.of={tmp_path}/first/."])
    best = checkpoints.path_of(result.folder, "best")
    torch.save({k: v for k, v in checkpoints.load(best).items() if k != "regularizers"}, best)
    (tmp_path / "moved").rename(tmp_path / "first")
    assert load(result.folder).regularizers["synops_target"].wanted == wanted, "measured anew"


@pytest.mark.parametrize("text", [None, "{}", "[]", "no json"])
def test_a_folder_without_such_a_run_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    term = SynopsBudget(factor=1.0, target=0.5, of=str(tmp_path))
    with pytest.raises(ValueError, match=r"^of: .* is no complete run with val/synops_fanout"):
        term.prepare(activity, network())


def test_any_number_of_steps_with_flat_memory():
    """sinabs 1.2.0 fails in the second: its statistics carry the graph of the first."""
    net = network()
    term = SynopsTarget(factor=1.0, target=200.0, of=None)
    counters = SynapticOperations(net)
    inputs, sizes = Static(torch.ones(2, 4), STEPS), []
    for _ in range(5):
        done, _ = net(inputs)
        term(done, SCORES, net).backward()
        counters.update(done)
        del done
        gc.collect()
        sizes.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
    assert sizes[1:] == [sizes[1]] * 4
