"""docs/own_parts.md: the page's files and its command, just as they stand there."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import snnexp
from snnexp import config, console
from snnexp.errors import UserError
from snnexp.evaluate import evaluate, override
from snnexp.folders import saved_config
from snnexp.models import SuperSpike
from tests.conftest import TINY
from tests.test_cli import Outcome, clean, command

__all__ = ["clean", "command"]  # the fixtures

PAGE = Path(__file__).resolve().parents[1] / "docs" / "own_parts.md"
FILES = dict(re.findall(r"^`([\w/]+\.\w+)`\n\n```\w+\n(.*?)^```$", PAGE.read_text(), re.M | re.S))
COMMAND = shlex.split(re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[0])


@pytest.fixture(autouse=True)
def pages_files(clean, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's files in the present folder, and its package to be imported from there."""
    for name, text in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delenv("SNNEXP_ALLOW")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.fixture
def pages_command(command: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Runs the page's command, with what is appended to it."""

    def run(*more: str, allowed: bool = True) -> Outcome:
        (setting, python, script), arguments = COMMAND[:3], COMMAND[3:]
        assert (python, script) == ("python", "train.py")
        if allowed:
            monkeypatch.setenv(*setting.split("="))
        return command(*arguments, *TINY, *more)

    return run


def test_the_page_holds_two_short_modules_and_two_yaml_files():
    assert sorted(FILES) == [
        "my_conf/dataset/xor.yaml",
        "my_conf/model/integrate.yaml",
        "my_package/datasets.py",
        "my_package/neurons.py",
    ]
    code = [text for name, text in FILES.items() if name.endswith(".py")]
    assert sum(bool(line.strip()) for text in code for line in text.splitlines()) < 40


def test_the_pages_command_trains(pages_command):
    outcome = pages_command("hydra.run.dir=out", "callback=[figures]", "logger=[tensorboard,table]")
    assert outcome.error is None, outcome.error
    assert Path("out/summary.json").exists()
    classifier = snnexp.load("out")
    assert type(classifier.network.layers["hidden1"].neuron).__name__ == "IntegrateAndFire"
    assert classifier(torch.rand(5, 2)).shape == (5, 2)
    measured = evaluate("out", [])
    assert measured["test/accuracy"] == evaluate("out", ["backend=cpu"])["test/accuracy"]


def test_a_run_of_own_parts_is_evaluated_with_overrides(pages_command):
    assert pages_command("hydra.run.dir=out").error is None
    measured = evaluate("out", ["dataset.sizes.test=30", "model.neuron.threshold=1e9"])
    assert measured["test/rate_hz"] == 0, "no neuron reaches the threshold"


@pytest.mark.parametrize("where", ["command", "python"])
def test_an_evaluation_finds_own_options_where_the_run_did(where, pages_command, monkeypatch):
    Path("my_conf/decoder").mkdir()
    Path("my_conf/decoder/late.yaml").write_text("defaults: [last, _self_]\nscale: 2.0\n")
    if where == "command":
        assert pages_command("hydra.run.dir=out").error is None
    else:
        monkeypatch.setenv("SNNEXP_ALLOW", "my_package")
        path = f"hydra.searchpath=[file://{Path('my_conf').absolute()}]"
        snnexp.run([path, "model=integrate", "dataset=xor", *TINY], "out")
    changed = override("out", ["decoder=late", "encoder=poisson"])
    assert (changed.decoder.scale, changed.encoder.steps) == (2.0, 60)
    assert changed.model == saved_config("out").model
    assert evaluate("out", ["decoder=late"])["test/accuracy"] <= 1
    with pytest.raises(UserError, match=r"^--config-dir: only .* found them, so leave it out"):
        evaluate("out", ["--config-dir", "my_conf", "decoder=late"])
    with pytest.raises(UserError, match=r"the folder by hydra.searchpath=\[file:///FOLDER\]$"):
        snnexp.run(["--config-dir=my_conf", "model=integrate"])


def test_the_pages_neuron_does_what_its_docstring_says():
    """x = 0.5, threshold 1: v = 0.5, 1.0 (not above it), 1.5 (a spike, so 0.5), 1.0, 1.5, ..."""
    from my_package.neurons import IntegrateAndFire

    neuron = IntegrateAndFire(size=1, dt=1e-3, threshold=1.0, surrogate=SuperSpike(slope=20.0))
    current = torch.full((7, 1, 1), 0.5, requires_grad=True)
    scan = neuron.scan(current, None, None, membrane=True, margin=True)
    assert scan.spikes.flatten().tolist() == [0, 0, 1, 0, 1, 0, 1]
    assert scan.membrane.flatten().tolist() == [0.5, 1.0, 0.5, 1.0, 0.5, 1.0, 0.5]
    assert scan.margin.flatten().tolist() == [-0.5, 0.0, 0.5, 0.0, 0.5, 0.0, 0.5]
    scan.spikes.sum().backward()
    assert current.grad.isfinite().all() and (current.grad > 0).all()


def test_without_the_permission_nothing_of_it_is_imported(pages_command):
    outcome = pages_command(allowed=False)
    for key in ("model.neuron", "dataset"):
        assert f"{key}._target_: 'my_package." in str(outcome.error)
    assert "SNNEXP_ALLOW=my_package" in outcome.last_line
    assert not any(name.startswith("my_package") for name in sys.modules)
    assert not list(Path().rglob("*.ckpt"))


def test_own_parts_are_checked_like_the_others(pages_command):
    for word, expected in (
        ("+model.neuron.treshold=2", "model.neuron.treshold: unknown key; did you mean"),
        ("model.neuron.threshold=high", "model.neuron.threshold: 'high' is of the wrong type"),
        ("dataset.sizes=3", "dataset.sizes: 3 is of the wrong type"),
        ("model.neuron._target_=my_package.neurons.Nothing", "my_package.neurons.Nothing"),
        ("model.neuron._target_=my_package.nowhere.Neuron", "my_package.nowhere.Neuron"),
    ):
        assert expected in str(pages_command(word).error)


def test_a_short_file_is_enough_for_a_neuron_that_takes_what_lif_takes(pages_command):
    """As the page says of `defaults: [lif, _self_]`, and that other arguments need the long one."""
    Path("my_package/leaky.py").write_text(
        "from snnexp.models import LIF\n\n\nclass MyLIF(LIF):\n    pass\n"
    )
    short = "defaults: [lif, _self_]\nneuron: {{_target_: my_package.{}}}\n"
    Path("my_conf/model/integrate.yaml").write_text(short.format("leaky.MyLIF"))
    assert pages_command().error is None
    Path("my_conf/model/integrate.yaml").write_text(short.format("neurons.IntegrateAndFire"))
    assert "model.neuron.beta: unknown key" in str(pages_command().error)


def test_help_lists_own_parts():
    text = console.help_text(["--help", "--config-dir", "my_conf"])
    for name, comment in (("integrate", "without a leak"), ("xor", "exactly one of two values")):
        assert re.search(rf"^  {name} +\S.*{comment}", text, re.M)


def test_several_packages_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("SNNEXP_ALLOW", "one, other")
    assert {"one.*", "other.*"} <= set(config.whitelist())
