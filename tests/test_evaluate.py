"""A trained run, measured anew: by `snnexp.evaluate`, by `snnexp.load`, and as another's start."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.strategies import SingleDeviceStrategy

import snnexp
from snnexp import config, session
from snnexp.config import instantiate
from snnexp.errors import UserError
from snnexp.evaluate import evaluate, main, override
from snnexp.folders import saved_config
from tests.conftest import TINY

EPOCHS = "trainer.max_epochs=4"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on enough samples for its metrics to tell weights apart."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    sizes = "dataset.sizes={train: 200, val: 90, test: 70}"
    session.run_composed([*TINY, sizes, "model.hidden_sizes=[20]", EPOCHS], folder)
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def test_the_device_is_told_that_the_model_was_on(trained, tmp_path, monkeypatch):
    """Behind each stage Lightning moves the model to the CPU, which then has no number."""
    place = torch.device("cpu", 0)
    monkeypatch.setattr(SingleDeviceStrategy, "root_device", place)
    told = []
    for module in (snnexp.experiment, sys.modules["snnexp.evaluate"]):
        monkeypatch.setattr(module, "about", lambda seed, device: told.append(device) or {})
    evaluate(trained, [])
    session.run_composed([*TINY, "trainer.max_epochs=0"], tmp_path / "run")
    assert told == [place, place]


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def measured(metrics: dict) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith(("val/", "test/"))}


def test_without_overrides_it_is_the_runs_own_measurement(trained):
    assert measured(evaluate(trained, [])) == measured(summary(trained))


def test_the_best_epoch_is_measured_not_the_last(trained):
    with (trained / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["epoch"]) > 0]
    accuracies = [float(row["val/accuracy"]) for row in rows]
    assert evaluate(trained, [])["val/accuracy"] == pytest.approx(max(accuracies), abs=1e-12)


def test_the_evaluation_does_not_change_the_run(trained):
    def files():
        return {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}

    before = files()
    evaluate(trained, ["dataset.sizes.test=5"])
    assert files() == before


@pytest.mark.parametrize(
    "overrides", [["backend=cpu"], ["eval_batch_size=7"], ["dataset.sizes.train=3"], ["seed=5"]]
)
def test_what_should_not_matter_does_not(trained, overrides):
    """Latency coding draws nothing, and a metric is a mean over samples, not over batches."""
    expected = measured(summary(trained))
    for name, value in measured(evaluate(trained, overrides)).items():
        assert value == pytest.approx(expected[name], rel=1e-5), name


def test_another_size_of_the_split(trained):
    metrics = evaluate(trained, ["dataset.sizes.test=7"])
    assert (metrics["test/accuracy"] * 7) == pytest.approx(round(metrics["test/accuracy"] * 7))
    assert metrics["val/accuracy"] == summary(trained)["val/accuracy"]
    assert metrics["overrides"] == ["dataset.sizes.test=7"]
    dataset = instantiate(saved_config(trained).dataset)
    first = dataset.splits["test"].values[:7]
    scores = snnexp.load(trained)(first)
    hits = (scores.argmax(1) == dataset.splits["test"].labels[:7]).sum().item()
    assert metrics["test/accuracy"] == pytest.approx(hits / 7), "the first 7 of the same draws"


def test_overrides_of_a_value_and_of_a_group(trained):
    assert evaluate(trained, ["model.neuron.threshold=1e9"])["test/rate_hz"] == 0
    mean = evaluate(trained, ["decoder=mean", "decoder.scale=2.0"])
    assert mean["test/loss"] != summary(trained)["test/loss"]
    burst = evaluate(trained, ["regularizer=[burst]", "regularizer.burst.factor=0.5"])
    parts = burst["test/loss/cross_entropy"] + burst["test/loss/burst"]
    assert burst["test/loss"] == pytest.approx(parts, rel=1e-5)
    assert burst["test/loss/burst"] > 0


@pytest.mark.parametrize("plus", ["+", "++"])
def test_a_key_that_the_run_has_not_is_added_with_a_plus_or_two(trained, plus):
    cfg = override(trained, [f"{plus}model.dropout=0.1", "++eval_batch_size=3"])
    assert (cfg.model.dropout, cfg.eval_batch_size) == (0.1, 3)


def test_an_experiments_run_is_evaluated_with_its_own_values(tmp_path):
    """What an experiment set is neither lost nor replaced by the defaults of an override."""
    run = tmp_path / "run"
    session.run_composed([*TINY, "experiment=yinyang_cuba_lif", "model.neuron.leak=0.1"], run)
    assert measured(evaluate(run, ["backend=cpu"])) == measured(summary(run))


CHIP = ("backend=bss2_mock", "backend.weight_scale=30", "backend.repeats=1")


@pytest.fixture(scope="module")
def on_chip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose options have parts, and values of their own."""
    folder = tmp_path_factory.mktemp("chip") / "run"
    own = ("backend.preset.gain_std=0.2", "regularizer=[burst]", "regularizer.burst.factor=0.5")
    session.run_composed([*TINY, "model=cuba_lif", *CHIP, *own], folder)
    return folder


def test_a_part_of_the_runs_own_option_is_replaced_alone(on_chip):
    own = saved_config(on_chip)
    strong = override(on_chip, ["backend/preset=strong"])
    assert strong.backend.preset.name == "strong" and strong.backend.preset.gain_std == 0.1
    assert (strong.backend.weight_scale, strong.backend.repeats) == (30, 1)
    quiet = override(on_chip, ["backend/preset=quantised"])
    assert quiet.backend.preset.gain_std == 0, "stated by the option, though as its neighbour does"
    both = override(on_chip, ["backend=bss2_mock", "backend/preset=strong"])
    assert both == strong, "the run's own option chosen again changes nothing"
    deployed = override(on_chip, ["backend/condition=deployed", "backend.test_chips=2"])
    assert (deployed.backend.training, deployed.backend.test_chips) == ("float", 2)
    assert deployed.backend.preset == own.backend.preset and deployed.backend.weight_scale == 30
    more = override(on_chip, ["regularizer=[burst,upper_rate]"])
    assert list(more.regularizer) == ["burst", "upper_rate"]
    assert more.regularizer.burst.factor == 0.5
    for changed in (strong, deployed, more):
        config.check(changed)
        assert changed.model == own.model
    assert evaluate(on_chip, ["backend/preset=strong"])["test/accuracy"] <= 1


def test_a_part_is_found_beside_all_choices_of_the_run(tmp_path):
    words = ["dataset=mnist", "encoder=augmented", "encoder/augment=[affine]", "encoder.of.scale=2"]
    cfg = session.compose(words)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    (tmp_path / ".hydra" / "overrides.yaml").write_text(OmegaConf.to_yaml(words))
    found = override(tmp_path, ["encoder@encoder.of=poisson"])
    assert found.encoder._target_ == "snnexp.encoders.Augmented"
    assert found.encoder.of._target_ == "snnexp.encoders.Poisson" and found.encoder.of._partial_
    assert found.encoder.of.steps == 25 and "scale" not in found.encoder.of
    assert found.encoder.augment == cfg.encoder.augment
    config.check(found)


def test_another_option_brings_its_own_parts(on_chip):
    cpu = override(on_chip, ["backend=cpu"])
    assert cpu.backend == session.compose(["backend=cpu"]).backend
    with pytest.raises(UserError, match=r"chosen backend has no such part.*backend=bss2_mock"):
        override(on_chip, ["backend=cpu", "backend/preset=strong"])


def test_the_choices_of_a_run_of_the_command_line_are_those_that_were_noted(copy):
    (copy / ".hydra" / "hydra.yaml").write_text(
        "hydra: {runtime: {choices: {backend: bss2_mock, backend/preset: adc, model: my_own}}}"
    )
    cfg = override(copy, ["backend/preset=strong", "backend=bss2_mock"])
    assert cfg.backend.preset.name == "strong"
    (copy / ".hydra" / "hydra.yaml").unlink()
    (copy / ".hydra" / "overrides.yaml").unlink()
    assert override(copy, ["eval_batch_size=3"]).eval_batch_size == 3
    with pytest.raises(UserError, match=r"no .hydra/overrides.yaml.*set keys instead"):
        override(copy, ["backend=cpu"])


def test_the_loaded_classifier_gives_the_same_accuracy(trained):
    classifier = snnexp.load(trained)
    dataset = instantiate(saved_config(trained).dataset)
    for stage in ("val", "test"):
        split = dataset.splits[stage]
        with torch.no_grad():
            hits = (classifier(split.values).argmax(1) == split.labels).double().mean()
        assert hits.item() == pytest.approx(summary(trained)[f"{stage}/accuracy"], abs=1e-12)
    assert not classifier.training
    assert set(classifier.network.layers) == {"hidden1", "readout"}


def test_init_from_starts_from_the_best_weights(trained, tmp_path):
    overrides = ["dataset.sizes={train: 200, val: 90, test: 70}", "model.hidden_sizes=[20]"]
    session.run_composed([*TINY, *overrides, f"init_from={trained}", "seed=7"], tmp_path / "next")
    with (tmp_path / "next" / "metrics.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert int(float(first["epoch"])) == 0
    source = summary(trained)
    for name in ("val/accuracy", "val/loss", "val/rate_hz"):
        assert float(first[name]) == pytest.approx(source[name], rel=1e-6)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("foo=1", "foo"),
        ("+foo=1", "foo: unknown key"),
        ("model.neuron.beat=0.5", "model.neuron.beat"),
        ("+model.neuron.treshold=1", "model.neuron.treshold: unknown key; did you mean"),
        ("backend=cpuu", "backend: there is no option 'cpuu'; did you mean 'cpu'?"),
        ("eval_batch_size=0", "eval_batch_size: 0; it must be a whole number of at least 1"),
        ("eval_batch_size=many", "eval_batch_size: 'many'"),
        ("encoder.t_late=1.0", "encoder.t_late: 1.0 s lies beyond the grid"),
        ("model.neuron.threshold=-1", "model.neuron.threshold: -1"),
        ("model.hidden_sizes=[9]", "another architecture"),
        ("encoder=poisson", "another architecture"),
        ("dataset=yinyang", "dataset: a trained run cannot be evaluated as another dataset"),
        ("model=cuba_lif", "model: a trained run cannot be evaluated as another model"),
        ("experiment=yinyang_lif", "experiment"),
        ("encoder._target_=os.system", "encoder._target_: 'os.system' is not allowed"),
        (
            "trainer.limit_test_batches=1",
            "an evaluation reads nothing of trainer; leave it out; ho",
        ),
        ("+trainer.precision=16", "+trainer.precision=16: an evaluation reads nothing of trainer"),
        ("callback=[figures]", "callback=[figures]: an evaluation reads nothing of callback"),
        ("optimizer.lr=1", "optimizer.lr=1: an evaluation reads nothing of optimizer; leave it"),
        ("test=false", "leave it out; the test split is always measured"),
        ("batch_size=7", "batch_size=7: an evaluation reads nothing of batch_size; set eval_ba"),
        ("chips=2", "backend.test_chips=2: the run's backend has no chips; add backend=bss2_mock"),
        ("hydra.run.dir=x", "hydra"),
        ("nonsense", "nonsense"),
        ("--cfg", "--cfg"),
    ],
)
def test_a_bad_override_is_refused_by_name(copy, capsys, override, expected):
    with pytest.raises(SystemExit) as end:
        main([f"run={copy}", override])
    assert str(end.value.code).startswith("error: ")
    assert expected in str(end.value.code)
    assert not (copy / "evaluations").exists()


def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"{place}: this is no run's folder"):
            evaluate(place, [])
        with pytest.raises(UserError, match=f"{place}: this is no run's folder"):
            snnexp.load(place)
        with pytest.raises(SystemExit, match=f"error: {place}: this is no run's folder"):
            main([f"run={place}"])


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run=a", "run=b"], ["backend=cpu"]])
def test_without_one_run_the_usage_is_shown(arguments):
    with pytest.raises(SystemExit, match=r"usage: python -m snnexp\.evaluate run=DIR"):
        main(arguments)


def test_the_command_prints_and_keeps_what_it_measured(copy, capsys):
    main([f"run={copy}", "dataset.sizes.test=10"])
    (kept,) = (copy / "evaluations").glob("*.json")
    metrics = json.loads(kept.read_text())
    assert measured(metrics) == measured(evaluate(copy, ["dataset.sizes.test=10"]))
    printed = capsys.readouterr().out
    assert f"{metrics['test/accuracy']:.2%}" in printed and str(kept) in printed


def test_a_result_that_cannot_be_kept_names_its_place(copy, capsys):
    (copy / "evaluations").write_text("a file stands where the folder should")
    with pytest.raises(SystemExit) as end:
        main([f"run={copy}"])
    assert f"{copy}/evaluations" in str(end.value.code)
