"""The scripts of `examples/`: each runs, and what it trains learns."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PNG = b"\x89PNG"


@pytest.fixture
def example():
    """`example("hxtorch_yinyang")`: the script as a module."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"examples.{name}", EXAMPLES / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_each_example_is_tested_here():
    tested = {"hxtorch_yinyang", "hxtorch_figures", "eventprop_yinyang"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_hxtorchs_tutorial_trains_in_floats(example):
    """10 epochs, 5 repetitions of the inputs; on the published test points, which are fresh."""
    assert example("hxtorch_yinyang").main(["--epochs", "10"]) > 94


def test_hxtorchs_tutorial_trains_on_the_chip(example):
    """Chance is a third."""
    assert example("hxtorch_yinyang").main(["--chip", "--epochs", "2"]) > 75


def test_exact_gradients_train(example, tmp_path):
    arguments = ["--epochs", "2", "--points", "2000", "--folder", str(tmp_path / "run")]
    assert example("eventprop_yinyang").main(arguments) > 60


def test_the_tutorials_figures_are_drawn(example, tmp_path):
    files = example("hxtorch_figures").main(["--folder", str(tmp_path), "--epochs", "1"])
    assert [file.name for file in files] == ["data.png", "encoding.png", "training.png"]
    assert all(file.read_bytes().startswith(PNG) for file in files)
