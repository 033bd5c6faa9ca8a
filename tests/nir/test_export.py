"""`python -m snnexp.export`: a run to a file, and the network in it, measured and trained."""

import json
import re
import shutil

import nir
import pytest
import torch

import snnexp
from snnexp import session
from snnexp.errors import UserError
from snnexp.evaluate import evaluate
from snnexp.export import export, main
from tests.conftest import TINY

SIZES = "dataset.sizes={train: 60, val: 90, test: 70}"
COUNTED = ("accuracy", "loss", "spikes_per_sample", "synops_ac_per_sample", "rate_hz")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    session.run_composed([*TINY, SIZES, "model=cuba_lif", "model.hidden_sizes=[20]"], folder)
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def run_of(file, folder, *words):
    """A run of the network in a file, on the data of `trained`."""
    rest = [word for word in TINY if not word.startswith("model.")]
    return session.run_composed([*rest, SIZES, "model=nir", f"model.file={file}", *words], folder)


def test_the_file_measures_as_the_run(copy, capsys):
    main([f"run={copy}"])
    assert capsys.readouterr().out == f"saved in {copy / 'network.nir'}\n"
    result = run_of(copy / "network.nir", copy.parent / "nir", "trainer.max_epochs=0")
    summary = json.loads((copy / "summary.json").read_text())
    for name in (f"{split}/{of}" for split in ("val", "test") for of in COUNTED):
        assert result.metrics[name] == pytest.approx(summary[name], rel=1e-6), name
    assert result.metrics["epoch/best"] == result.metrics["epoch/last"] == 0


def test_a_network_that_was_read_trains_and_is_exported_anew(copy):
    export(copy)
    result = run_of(copy / "network.nir", copy.parent / "nir", "model/neuron/surrogate=arctan")
    again = nir.read(export(result.folder))
    before = nir.read(copy / "network.nir")
    assert again.edges == before.edges
    name = "hidden1_weights"
    assert (again.nodes[name].weight != before.nodes[name].weight).mean() > 0.5
    loaded = snnexp.load(result.folder).network.layers["hidden1"].weight
    assert (again.nodes[name].weight == loaded.detach().numpy()).all()


def test_a_run_needs_the_file_no_more(copy, monkeypatch):
    """Named from the directory where training began, and gone or another one since."""
    export(copy)
    monkeypatch.chdir(copy)
    result = run_of("network.nir", copy.parent / "nir", "trainer.max_epochs=2")
    weight = result.classifier.network.layers["hidden1"].weight
    monkeypatch.chdir("/")
    (copy / "network.nir").unlink()
    assert torch.equal(snnexp.load(result.folder).network.layers["hidden1"].weight, weight)
    assert evaluate(result.folder, [])["test/loss"] == pytest.approx(result.metrics["test/loss"])
    with pytest.raises(UserError, match=r"model.file=net.nir: a run is read with the file it kept"):
        evaluate(result.folder, ["model.file=net.nir"])
    (result.folder / "summary.json").unlink()
    resumed = session.resume(result.folder)
    assert resumed.metrics["test/loss"] == result.metrics["test/loss"]


def test_a_new_run_in_the_folder_of_one_without_a_checkpoint_reads_the_file_anew(copy):
    export(copy)
    result = run_of(copy / "network.nir", copy.parent / "nir", "trainer.max_epochs=0")
    shutil.rmtree(result.folder / "checkpoints")
    (result.folder / "summary.json").unlink()
    graph = nir.read(copy / "network.nir")
    graph.nodes["hidden1"].tau_mem = graph.nodes["hidden1"].tau_mem * 2
    nir.write(copy / "network.nir", graph)
    anew = run_of(copy / "network.nir", copy.parent / "nir", "trainer.max_epochs=0")
    first, then = (
        one.classifier.network.layers["hidden1"].neuron.constants.keep_mem for one in (result, anew)
    )
    assert then == pytest.approx(first**0.5)
    loaded = snnexp.load(anew.folder).network.layers["hidden1"].neuron
    assert loaded.constants.keep_mem == then


def test_a_network_that_was_read_runs_on_the_emulated_chip(copy):
    export(copy, dt=1.0)
    words = ("model.file_dt=1.0", "backend=bss2_mock", "trainer.max_epochs=0", "backend.repeats=2")
    result = run_of(copy / "network.nir", copy.parent / "nir", *words)
    assert result.metrics["chip/circuits"] == 23


def test_the_command_takes_the_grid_and_a_place(copy, tmp_path):
    place = tmp_path / "new" / "net.nir"
    main([f"run={copy}", f"file={place}", "dt=1e-4", "method=euler"])
    about = nir.read(place).metadata
    assert (float(about["dt"]), about["method"], float(about["seconds"])) == (1e-4, "euler", 1e-3)


def test_nothing_is_overwritten(copy):
    export(copy)
    kept = (copy / "network.nir").read_bytes()
    with pytest.raises(SystemExit, match=r"error: file: .* exists and is not overwritten; name"):
        main([f"run={copy}"])
    assert (copy / "network.nir").read_bytes() == kept


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "usage: python -m snnexp.export run=DIR"),
        (["file=x"], "error: run: missing; usage"),
        (["run=nowhere"], "error: nowhere: this is no run's folder"),
        (["run=RUN", "methd=euler"], r"error: methd=euler: unknown; did you mean method=...\?"),
        (["run=RUN", "method=heun"], "error: method: 'heun'; choose one of exponential, euler"),
        (["run=RUN", "dt=fast"], "error: .*'fast'"),
        (["run=RUN", "dt=-1"], "error: dt: -1.0; it must be a finite number above 0"),
        (["run=RUN", "dt=0"], "error: dt: 0.0; it must be a finite number above 0"),
        (
            ["run=RUN", "file=RUN/summary.json/x"],
            "error: file: .*/x cannot be written .*name anoth",
        ),
        (["run=RUN", "inexact=yes"], "error: inexact: 'yes'; choose one of true, false"),
    ],
    ids=str,
)
def test_bad_words_are_refused_with_the_way_out(words, message, copy):
    given = [word.replace("RUN", str(copy)) for word in words]
    with pytest.raises(SystemExit, match=message):
        main(given)
    assert not (copy / "network.nir").exists()


def test_what_has_no_node_is_refused_and_leaves_no_file(tmp_path):
    words = [*TINY, "model=adlif", "trainer.max_epochs=0"]
    session.run_composed(words, tmp_path / "run")
    with pytest.raises(UserError, match="AdLIF, which adapts or swings, is no node of NIR"):
        export(tmp_path / "run", inexact=True)
    assert not (tmp_path / "run" / "network.nir").exists()


def test_a_bad_file_is_refused_by_its_key_before_anything_is_written(tmp_path):
    (tmp_path / "net.nir").write_text("none")
    with pytest.raises(UserError, match=re.escape("model.file: ") + ".*is no graph of NIR"):
        run_of(tmp_path / "net.nir", tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.ckpt"))
    with pytest.raises(UserError, match=r"model\.file"):
        session.run_composed(["model=nir"], tmp_path / "other")
