"""What a user types: bad input gets one clear message before training, and nothing is lost.

All but two tests run in this process: a fresh one spends seconds on its imports.
"""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import snnexp
from snnexp import cli, evaluate, experiment, folders, session
from snnexp.datasets import IndexSampler
from snnexp.errors import ConfigError, RunError, UserError
from tests.conftest import TINY

ROOT = Path(__file__).resolve().parents[1]


class Trouble(pl.Callback):
    """Something happens at the second batch of epoch `epoch`, unless all is `calm`."""

    calm = False

    def __init__(self, *, kind: str, epoch: int):
        self.kind, self.epoch = kind, epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if not self.calm and (trainer.current_epoch, batch_idx) == (self.epoch, 1):
            getattr(self, self.kind)(pl_module.network.layers)

    def ctrl_c(self, layers) -> None:
        raise KeyboardInterrupt

    def terminate(self, layers) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def nan_in_readout(self, layers) -> None:
        layers["readout"].synapse.weight.data[0, 0] = float("nan")

    def nan_in_hidden(self, layers) -> None:
        layers["hidden1"].synapse.weight.data[0, 0] = float("nan")

    def fill_disk(self, layers) -> None:
        os.fsync = no_space


def no_space(*_) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def trouble(kind: str, epoch: int = 1) -> tuple[str, str]:
    """Overrides for a run of two epochs in which `kind` happens."""
    node = f"{{_target_: tests.test_cli.Trouble, kind: {kind}, epoch: {epoch}}}"
    return "trainer.max_epochs=2", f"+callback.trouble={node}"


@dataclass(frozen=True)
class Outcome:
    """The end of a command: what it printed, and the message that it ended with."""

    printed: str
    error: str | None

    @property
    def last_line(self) -> str:
        return (self.error or self.printed).strip().splitlines()[-1]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A folder of its own to stand in, and no traces in the process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNNEXP_ALLOW", "tests")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(cli.Folders, "sweep", None)
    monkeypatch.setattr(os, "fsync", os.fsync)
    sys.modules.pop("foreign_code", None)
    handler, root = signal.getsignal(signal.SIGTERM), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    signal.signal(signal.SIGTERM, handler)
    for added in set(root.handlers) - set(handlers):
        added.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable:
    """Runs `python train.py ...` in this process."""

    def run(*arguments: str, full_error: str = "0") -> Outcome:
        GlobalHydra.instance().clear()
        monkeypatch.setenv("HYDRA_FULL_ERROR", full_error)
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        monkeypatch.setattr(cli.Folders, "sweep", None)
        error = None
        try:
            cli.main()
        except SystemExit as end:
            assert isinstance(end.code, str), "a text: Python prints it last and exits with 1"
            error = end.code
        return Outcome(capsys.readouterr().out, error)

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete run of two epochs."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    session.run_composed([*TINY, "trainer.max_epochs=2"], folder)
    return folder


@pytest.fixture
def stopped(finished: Path, tmp_path: Path) -> Path:
    """The folder of a run that stopped before its end."""
    folder = shutil.copytree(finished, tmp_path / "stopped")
    (folder / "summary.json").unlink()
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, and every folder."""
    found = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in found}


def results(folder: Path) -> dict[str, float]:
    summary = json.loads((folder / "summary.json").read_text())
    return {name: x for name, x in summary.items() if name.startswith(("test/", "val/"))}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model=lfi", ["model: there is no option 'lfi'; did you mean 'lif'?"]),
        ("regularizer=[brust]", ["regularizer: there is no option 'brust'", "'burst'?"]),
        (
            "regularizer={readout:1}",
            ["regularizer: options are chosen by name, as in regularizer=["],
        ),
        ("energy={mine:{}}", ["energy: options are chosen by name, as in energy=["]),
        ("modle=lif", ["modle: unknown key; did you mean 'model'?"]),
        ("optimiser.lr=1", ["optimiser: unknown key; did you mean 'optimizer'?"]),
        ("model.neuron.beat=0.9", ["model.neuron.beat: unknown key; did you mean 'beta'?"]),
        ("model.droput=0.1", ["model.droput: unknown key; did you mean 'dropout'?"]),
        ("model.dropout=0.1", ["model.dropout: ", "to add it, write +model.dropout=0.1"]),
        ("dataset.sizes.trian=5", ["write +dataset.sizes.trian=5; did you mean 'train'?"]),
        ("model/synapse=delayed", ["model/synapse: ", "write +model/synapse=delayed"]),
        ("+model/norm=batch", ["model/norm: chosen twice; without +"]),
        ("backend/preset=ideal", ["backend/preset: the chosen backend", "backend=bss2_mock"]),
        ("encoder/augment=affine", ["encoder=augmented, encoder=grid"]),
        ("model/neuron=x", ["model/neuron: the chosen model has no such part"]),
        ("model/neuron/surogate=arctan", ["did you mean 'model/neuron/surrogate'?"]),
        ("loss=null", ["loss: there is no option null; known are cross_entropy, "]),
        ("model/norm=null", ["model/norm: there is no option null", "set model.norm=null"]),
        ("regularizer=null", ["regularizer: there is no option null", "choose regularizer=[]"]),
        ("experiment=null", ["experiment: there is no option null; leave the word out"]),
        ("+model.neuron.beat=0.9", ["model.neuron.beat: unknown key", "did you mean 'beta'?"]),
        ("batch_size=abc", ["batch_size: 'abc'", "a whole number"]),
        ("encoder.t_late=1.0", ["encoder.t_late: 1.0 s", "raise time.steps"]),
        ("optimizer.lr=-1", ["optimizer.lr: -1; it must be above 0"]),
        ("scheduler.total=size", ["scheduler", "'size'"]),
        ("trainer.gradient_clip_algorithm=x", ["trainer", "gradient_clip_algorithm"]),
        ("+trainer.limit_predict_batches=2.5", ["trainer: ", "2.5", "limit_predict_batches"]),
        ("decoder=spike_count", ["decoder: SpikeCount", "model/readout=lif"]),
        ("encoder=none", ["encoder: NoEncoder takes spikes", "encoder=latency"]),
        ("best.metric=val/acuracy", ["best.metric: 'val/acuracy'", "val/accuracy"]),
        ("scheduler.monitor=val_loss", ["scheduler.monitor: 'val_loss'", "val/loss"]),
        ("objectives.0.name=test/acuracy", ["objectives[0].name: 'test/acuracy'"]),
        ("init_from=nowhere", ["init_from", "nowhere"]),
        ("model", ["error: model: a word here is key=value, without spaces"]),
        ("model=lif,alif", ["model: 'lif,alif' are several", "begin a run for each by -m"]),
        ("regularizer=readout,burst", ["a list as in regularizer=[readout,burst]"]),
        ("--config-dir=nowhere", ["nowhere"]),
    ],
)
def test_bad_input_ends_with_its_message_before_training(command, override, expected):
    outcome = command(*TINY, "hydra.run.dir=out", override)
    assert outcome.error is not None and outcome.error.startswith("error: ")
    assert all(part in outcome.error for part in expected), outcome.error
    assert "Traceback" not in outcome.printed
    assert not list(Path().rglob("*.ckpt"))


def test_a_monitor_that_does_not_exist_is_refused_before_training(command):
    overrides = ("callback=[early_stopping]", "callback.early_stopping.monitor=val_loss")
    outcome = command(*TINY, *overrides)
    assert "callback.early_stopping.monitor: 'val_loss'" in str(outcome.error)


def test_a_regularizer_that_does_not_fit_names_its_key(command):
    outcome = command(*TINY, "regularizer=weights", "regularizer.weights.factor=[1.0]")
    assert "regularizer.weights.factor: 1 entries for 2 synapses" in str(outcome.error)


def test_several_faults_come_in_one_message(command):
    outcome = command(*TINY, "batch_size=0", "+model.neuron.treshold=1", "seed=x")
    for part in ("batch_size: 0", "model.neuron.treshold: unknown key", "seed: 'x'"):
        assert part in str(outcome.error)


def test_a_refused_command_can_be_corrected_in_its_folder(command):
    """The folder that Hydra made for it must not stand in the way."""
    for fault in ("seed=-1", "encoder.t_late=1.0"):
        assert command(*TINY, "hydra.run.dir=out", fault).error
    assert command(*TINY, "hydra.run.dir=out").error is None
    assert Path("out/summary.json").exists()


def test_hydra_full_error_asks_for_the_traceback(command):
    with pytest.raises(ConfigError):
        command(*TINY, "encoder.t_late=1.0", full_error="1")


FOREIGN = {
    "hydra callback": "hydra: {callbacks: {x: {_target_: foreign_code.Called}}}",
    "below hydra callback": (
        "hydra: {callbacks: {x: {_target_: snnexp.cli.Folders, "
        "y: {_target_: foreign_code.Called}}}}"
    ),
    "standard library": "hydra: {callbacks: {x: {_target_: snnexp.cli.os.mkdir, path: traces/x}}}",
    "handler": "hydra: {job_logging: {handlers: {x: {class: foreign_code.Called}}}}",
    "handler factory": "hydra: {job_logging: {handlers: {x: {(): foreign_code.Called}}}}",
    "log stream": (
        "hydra: {hydra_logging: {handlers: "
        "{x: {class: logging.StreamHandler, stream: ext://foreign_code.Called}}}}"
    ),
    "search path": "hydra: {searchpath: [pkg://foreign_code]}",
    "own environment": (
        "hydra: {job: {env_set: {SNNEXP_ALLOW: foreign_code}}}\n"
        "model: {init: {_target_: foreign_code.Called}}"
    ),
    "no folder check": (
        "hydra: {callbacks: {folders: null}, job: {env_set: {SNNEXP_ALLOW: foreign_code}}}\n"
        "model: {init: {_target_: foreign_code.Called}}"
    ),
    "environment of programs": "hydra: {job: {env_set: {PATH: programs}}}",
    "launcher": "hydra: {launcher: {_target_: foreign_code.Called}}",
    "sweeper": "hydra: {sweeper: {_target_: foreign_code.Called}}",
    "model": "model: {_target_: foreign_code.Called}",
    "below model": "model: {neuron: {surrogate: {_target_: foreign_code.Called}}}",
    "trainer": "trainer: {logger: {_target_: os.mkdir, path: traces/x}}",
    "callback": "callback: {x: {_target_: foreign_code.Called}}",
}


@pytest.mark.parametrize("flag", ["", "-m"])
@pytest.mark.parametrize("name", FOREIGN)
def test_an_experiment_file_of_a_stranger_runs_no_foreign_code(command, monkeypatch, name, flag):
    """`foreign_code` leaves a file in `traces` when it is imported, another when called."""
    Path("traces").mkdir()
    Path("foreign_code.py").write_text(
        "from pathlib import Path\nPath('traces/imported').touch()\n"
        "class Called:\n    def __init__(self, *_, **__): Path('traces/called').touch()\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("programs").mkdir()
    Path("programs/git").write_text("#!/bin/sh\n: > traces/called\n")
    Path("programs/git").chmod(0o755)
    file = Path("conf/experiment/stranger.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\n{FOREIGN[name]}\n")
    flags = [flag] if flag else []
    try:
        outcome = command(*TINY, *flags, "--config-dir=conf", "experiment=stranger")
    except (ValueError, RuntimeError):  # Hydra's own, of its logging and its plugins
        outcome = None
    assert not list(Path("traces").iterdir())
    assert "foreign_code" not in sys.modules
    if flag or name not in ("launcher", "sweeper"):  # which a single run does not use
        assert outcome is None or outcome.error
        assert not list(Path().rglob("*.ckpt"))


def test_an_experiment_cannot_drop_the_protection_of_a_complete_run(command, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/stranger.yaml").write_text(
        f"# @package _global_\nhydra: {{callbacks: {{folders: null}}, run: {{dir: {folder}}}}}\n"
    )
    before = contents(folder / "checkpoints"), (folder / "summary.json").read_bytes()
    assert command(*TINY, "--config-dir=conf", "experiment=stranger", "seed=5").error
    assert (contents(folder / "checkpoints"), (folder / "summary.json").read_bytes()) == before


def test_a_complete_run_is_never_touched(command, finished):
    before = contents(finished)
    again = (*TINY, "trainer.max_epochs=2")
    for arguments in (
        (*again, f"hydra.run.dir={finished}"),
        (*again, f"hydra.run.dir={finished}", "seed=3"),
        (f"resume={finished}",),
        (*again, "-m", f"hydra.sweep.dir={finished}", "seed=0,1"),
    ):
        outcome = command(*arguments)
        assert str(finished) in str(outcome.error), arguments
        assert contents(finished) == before
    with pytest.raises(RunError, match="complete"):
        snnexp.run([*again], finished)
    assert contents(finished) == before


def test_a_run_of_another_configuration_is_never_touched(command, stopped):
    before = contents(stopped)
    outcome = command(*TINY, "trainer.max_epochs=2", f"hydra.run.dir={stopped}", "seed=1")
    assert f"{stopped}: the folder holds a run of another configuration" in str(outcome.error)
    assert "hydra.run.dir" in outcome.last_line and f"resume={stopped}" in outcome.last_line
    assert contents(stopped) == before


def test_a_folder_where_another_process_runs_is_refused(command, stopped):
    table = (stopped / "metrics.csv").read_bytes()
    with folders.held(stopped):
        outcome = command(f"resume={stopped}")
        assert f"{stopped}: another process runs in this folder" in outcome.last_line
        assert "hydra.run.dir" in outcome.last_line
    assert (stopped / "metrics.csv").read_bytes() == table
    assert command(f"resume={stopped}").error is None


def test_a_folder_of_something_else_is_never_touched(command):
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("1")
    before = contents(Path("thesis"))
    for flag, extra in (("hydra.run.dir", ()), ("hydra.sweep.dir", ("-m",))):
        outcome = command(*TINY, *extra, f"{flag}=thesis")
        assert "thesis: the folder exists" in str(outcome.error)
        assert flag in outcome.last_line
    assert "thesis: this is no run's folder" in str(command("resume=thesis").error)
    assert contents(Path("thesis")) == before


def test_an_output_folder_that_cannot_be_made_is_named(command):
    """Below a regular file nobody can write, not even root; nor can anybody in /proc."""
    Path("file").write_text("kept")
    for place in ("file", "file/below", "/proc/run"):
        outcome = command(*TINY, f"hydra.run.dir={place}")
        assert outcome.last_line.startswith(f"error: {place}: ")
        assert "choose another with hydra.run.dir" in outcome.last_line
    assert Path("file").read_text() == "kept"


def test_a_full_disk_is_named_before_training(command, monkeypatch):
    monkeypatch.setattr(os, "fsync", no_space)
    outcome = command(*TINY, "hydra.run.dir=out")
    assert outcome.last_line.startswith("error: out: ")
    assert "No space left on device" in outcome.last_line
    assert not any(Path("out").iterdir())


def test_a_disk_that_fills_up_loses_no_checkpoint(command, monkeypatch):
    outcome = command(*TINY, *trouble("fill_disk"), "hydra.run.dir=out")
    assert "out/checkpoints/" in outcome.last_line
    assert "No space left on device" in outcome.last_line and "free space" in outcome.last_line
    assert torch.load("out/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    assert {path.name for path in Path("out/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    monkeypatch.undo()
    monkeypatch.setenv("SNNEXP_ALLOW", "tests")
    monkeypatch.setattr(Trouble, "calm", True)
    out = Path(outcome.last_line.split("/checkpoints")[0].split("error: ")[1])
    assert command(f"resume={out}").error is None


def test_a_summary_that_cannot_be_written_names_the_folder(command, monkeypatch):
    def refuse(*_) -> None:
        os.fsync = no_space

    monkeypatch.setattr(experiment, "_record_hyperparameters", refuse)
    outcome = command(*TINY, "hydra.run.dir=out")
    assert "out: " in outcome.last_line and "No space left" in outcome.last_line
    assert not Path("out/summary.json").exists()


@pytest.mark.parametrize(
    ("kind", "tensor"),
    [
        # nothing spikes into the readout here, so that its weight shows in the gradient first
        ("nan_in_readout", "the weights of hidden1"),
        ("nan_in_hidden", "the weights of hidden1"),
    ],
)
def test_training_that_diverges_stops_and_keeps_the_last_good_epoch(
    command, monkeypatch, finished, kind, tensor
):
    outcome = command(*TINY, *trouble(kind), "hydra.run.dir=out")
    assert f"the first bad tensor is {tensor}" in outcome.last_line
    assert "epoch 2" in outcome.last_line and "optimizer.lr" in outcome.last_line
    for name in ("best", "last"):
        saved = torch.load(f"out/checkpoints/{name}.ckpt", weights_only=True)
        assert saved["epoch"] == 0
        assert all(weight.isfinite().all() for weight in saved["state_dict"].values())
    monkeypatch.setattr(Trouble, "calm", True)
    assert command("resume=out").error is None
    assert results(Path("out")) == results(finished)


def test_an_infinite_loss_stops_the_run(command):
    outcome = command(*TINY, "optimizer.lr=1e38", "hydra.run.dir=out")
    assert "the loss is not finite at step 1 (epoch 1)" in outcome.last_line
    assert "the first bad tensor is the weights of" in outcome.last_line
    assert not Path("out/summary.json").exists()


@pytest.mark.parametrize("kind", ["ctrl_c", "terminate"])
def test_an_interrupted_run_says_how_to_go_on_and_ends_alike(command, monkeypatch, finished, kind):
    outcome = command(*TINY, *trouble(kind), "hydra.run.dir=out")
    assert outcome.last_line.startswith("error: interrupted; the last finished epoch is kept")
    assert outcome.last_line.endswith("continue with python train.py resume=out")
    assert torch.load("out/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    monkeypatch.setattr(Trouble, "calm", True)
    resumed = command("resume=out")
    assert resumed.error is None
    assert "continuing after epoch 1" in resumed.printed and "test" in resumed.printed
    assert results(Path("out")) == results(finished)


def test_the_same_command_continues_in_its_folder(command, monkeypatch, finished):
    arguments = (*TINY, *trouble("ctrl_c"), "hydra.run.dir=out")
    assert command(*arguments).error
    monkeypatch.setattr(Trouble, "calm", True)
    outcome = command(*arguments)
    assert outcome.error is None and "continuing after epoch 1" in outcome.printed
    assert results(Path("out")) == results(finished)


def test_an_interruption_as_an_epoch_begins_says_how_to_go_on(command, monkeypatch, finished):
    """Lightning, which closes what it was about to open, fails at that."""
    begin = IndexSampler.__iter__

    def interrupt(self):
        if self.shuffle and self.epoch == 1:
            raise KeyboardInterrupt
        return begin(self)

    arguments = (*TINY, "trainer.max_epochs=2", "hydra.run.dir=out")
    monkeypatch.setattr(IndexSampler, "__iter__", interrupt)
    assert command(*arguments).last_line.endswith("continue with python train.py resume=out")
    with pytest.raises(KeyboardInterrupt):
        snnexp.run([*TINY, "trainer.max_epochs=2"], "from_python")
    monkeypatch.setattr(IndexSampler, "__iter__", begin)
    assert command("resume=out").error is None
    assert results(Path("out")) == results(finished)


def test_an_interruption_before_the_first_epoch_says_so(command, monkeypatch):
    outcome = command(*TINY, *trouble("ctrl_c", epoch=0), "hydra.run.dir=out")
    assert "no epoch was finished" in outcome.last_line and "resume=out" in outcome.last_line
    monkeypatch.setattr(Trouble, "calm", True)
    assert command("resume=out").error is None


def test_the_command_that_goes_on_can_be_pasted(command, monkeypatch):
    outcome = command(*TINY, *trouble("ctrl_c"), "hydra.run.dir='my run, 2'")
    assert outcome.last_line.endswith("continue with python train.py 'resume=my run, 2'")
    monkeypatch.setattr(Trouble, "calm", True)
    assert command("resume=my run, 2").printed.endswith("tensorboard --logdir 'my run, 2'\n")


def test_an_interruption_while_all_is_loaded_has_no_traceback(command, stopped, monkeypatch):
    def interrupt(_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "saved_config", interrupt)
    assert command(f"resume={stopped}").error == "error: interrupted before the run began"


def test_a_run_needs_no_open_output(monkeypatch, tmp_path):
    """As a daemon is begun with, `>&-` in a shell."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", ["train.py", *TINY, "hydra.run.dir=out"])
    cli.main()
    assert (tmp_path / "out" / "summary.json").is_file()


def test_an_interrupted_multirun_names_the_job(command):
    outcome = command(*TINY, *trouble("ctrl_c"), "-m", "hydra.sweep.dir=sweep", "seed=0,1")
    assert outcome.last_line.endswith("resume=sweep/0")


def test_resume_takes_no_overrides(command, stopped):
    before = contents(stopped)
    outcome = command(f"resume={stopped}", "optimizer.lr=1", "resume=other")
    for part in (f"resume={stopped}", "optimizer.lr=1 resume=other", f"init_from={stopped}"):
        assert part in outcome.last_line
    assert contents(stopped) == before


def test_resume_refuses_what_the_check_refuses(command, stopped):
    """The saved configuration may come from a stranger too."""
    path = stopped / ".hydra" / "config.yaml"
    cfg = OmegaConf.load(path)
    cfg.model._target_ = "os.system"
    OmegaConf.save(cfg, path)
    for action in (
        lambda: command(f"resume={stopped}").error,
        lambda: evaluation_error(stopped),
        lambda: load_error(stopped),
    ):
        assert "model._target_: 'os.system' is not allowed" in str(action())


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "\0"])
def test_a_damaged_configuration_is_refused(command, stopped, text):
    (stopped / ".hydra" / "config.yaml").write_text(text)
    for error in (command(f"resume={stopped}").error, evaluation_error(stopped)):
        assert error, "a message, no traceback"


def test_python_gets_the_same_errors(stopped):
    for overrides in (["model=lfi"], ["model.neuron.beat=1"], ["batch_size=0"], ["("]):
        with pytest.raises(UserError):
            snnexp.run([*TINY, *overrides], "out")
        with pytest.raises(UserError):
            evaluate.evaluate(stopped, overrides)
    assert not Path("out").exists()


@pytest.mark.parametrize("row", [",,", "1,2,x"])
def test_a_damaged_table_is_named(command, stopped, row):
    table = stopped / "metrics.csv"
    table.write_text(f"epoch,step,val/loss\n0,0,1.5\n{row}")
    outcome = command(f"resume={stopped}")
    assert outcome.last_line.startswith(f"error: {table}: this is no table of epochs (")
    assert "remove it" in outcome.last_line
    table.unlink()
    assert command(f"resume={stopped}").error is None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("hydra.run.dir=there", "the folder is an argument: snnexp.run([...], 'there')"),
        ("hydra.job.chdir=true", "only the command line reads hydra.job.chdir; leave it out, or"),
        ("hydra/sweeper=snnexp", "only the command line reads hydra/sweeper"),
        ("sweep=yinyang_pareto", "only the command line reads sweep"),
    ],
)
def test_python_is_told_what_only_the_command_line_reads(override, expected):
    with pytest.raises(ConfigError) as caught:
        snnexp.run([*TINY, override])
    assert str(caught.value).startswith(f"{override}: ") and expected in str(caught.value)
    assert not Path("outputs").exists()


def test_one_text_is_no_list_of_overrides():
    with pytest.raises(ConfigError, match=r"overrides are a list, as in run\(\['seed=1'\]\)"):
        snnexp.run("seed=1")


def test_another_architecture_is_refused(command, stopped, tmp_path):
    session.run_composed([*TINY, "model.hidden_sizes=[7]"], tmp_path / "other")
    for name in ("last", "best"):
        shutil.copy(tmp_path / f"other/checkpoints/{name}.ckpt", stopped / "checkpoints")
    kept = contents(stopped / "checkpoints")
    for message in (
        command(f"resume={stopped}").error,
        command(*TINY, f"init_from={stopped}").error,
        evaluation_error(stopped),
        load_error(stopped),
    ):
        assert "another architecture" in str(message)
        assert "hidden1.synapse.weight has shape (7, 5) there and (6, 5)" in str(message)
    assert contents(stopped / "checkpoints") == kept


class Pickled:
    """Makes the folder `unpickled` when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def damage(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_bytes(b"hello world")
    elif kind == "pickled":
        torch.save({"state_dict": Pickled()}, path)
    elif kind == "tensor":
        torch.save(torch.zeros(3), path)
    elif kind == "number":
        torch.save({"state_dict": 3, "epoch": 1}, path)
    elif kind == "weights alone":
        saved = torch.load(path, weights_only=True)
        torch.save({"state_dict": saved["state_dict"]}, path)
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "pickled", "tensor", "number"])
def test_a_bad_checkpoint_is_refused_by_name_and_never_unpickled(command, stopped, kind):
    for name in ("last", "best"):
        damage(stopped / "checkpoints" / f"{name}.ckpt", kind)
    kept = contents(stopped / "checkpoints")
    for name, message in (
        ("last", command(f"resume={stopped}").error),
        ("best", command(*TINY, f"init_from={stopped}").error),
        ("best", evaluation_error(stopped)),
        ("best", load_error(stopped)),
    ):
        assert f"{stopped}/checkpoints/{name}.ckpt: " in str(message)
    assert not Path("unpickled").exists()
    assert contents(stopped / "checkpoints") == kept


def test_the_pickle_trap_works():
    """Else the test above would prove nothing."""
    torch.save({"state_dict": Pickled()}, "pickle.ckpt")
    torch.load("pickle.ckpt", weights_only=False)
    assert Path("unpickled").exists()


def test_a_checkpoint_that_cannot_be_resumed_is_refused(command, stopped):
    damage(stopped / "checkpoints" / "last.ckpt", "weights alone")
    assert f"{stopped}/checkpoints/last.ckpt: " in str(command(f"resume={stopped}").error)


def test_a_missing_checkpoint_is_named(command, stopped):
    damage(stopped / "checkpoints" / "best.ckpt", "missing")
    for message in (
        command(*TINY, f"init_from={stopped}").error,
        evaluation_error(stopped),
        load_error(stopped),
    ):
        assert f"{stopped}/checkpoints/best.ckpt: there is no checkpoint" in str(message)


def evaluation_error(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        evaluate.evaluate(folder, [])
    return str(caught.value)


def load_error(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        snnexp.load(folder)
    return str(caught.value)


def test_init_from_a_folder_that_is_none_names_key_and_folder(command):
    Path("thesis").mkdir()
    for place in ("nowhere", "thesis"):
        error = str(command(*TINY, f"init_from={place}", "hydra.run.dir=out").error)
        assert "init_from" in error and place in error
        assert not Path("out/checkpoints").exists()


def test_init_from_a_checkpoint_names_its_runs_folder(command, stopped):
    path = stopped / "checkpoints" / "best.ckpt"
    error = str(command(*TINY, f"init_from={path}").error)
    way = f"give the folder of a run, such as init_from={stopped}"
    assert error == f"error: init_from: {path} is a file; {way}"
    error = str(command(*TINY, "init_from=nowhere").error)
    assert error == "error: init_from: nowhere does not exist; give the folder of a run"


def test_a_multirun_gives_a_folder_a_job_and_a_table(command):
    arguments = ("-m", "model=lif,cuba_lif", "seed=0,1", "hydra.sweep.dir=sweep")
    outcome = command(*TINY, *arguments)
    assert outcome.error is None
    jobs = {path.parent.name for path in Path("sweep").glob("*/summary.json")}
    assert jobs == {"0", "1", "2", "3"}
    seeds = [json.loads(Path(f"sweep/{job}/summary.json").read_text())["seed"] for job in "0123"]
    assert seeds == [0, 1, 0, 1]
    table = outcome.printed.split("saved in sweep/3")[1]
    for part in ("model=lif", "model=cuba_lif", "accuracy", "±", "multirun in sweep"):
        assert part in table


def test_a_multirun_reports_its_finished_jobs_when_one_fails(command):
    outcome = command(*TINY, "-m", "seed=-1,1", "hydra.sweep.dir=sweep")
    assert "seed: -1; it must be a whole number of at least 0" in outcome.last_line
    assert Path("sweep/1/summary.json").exists()
    assert "multirun in sweep" in outcome.printed


def test_a_sweep_without_m_is_refused(command):
    outcome = command("sweep=yinyang_pareto")
    assert outcome.last_line.startswith("error: sweep=yinyang_pareto: a sweep is many runs")
    assert outcome.last_line.endswith("python train.py -m sweep=yinyang_pareto")
    assert not Path("outputs").exists()


def test_several_processes_are_refused_in_a_multirun(command):
    arguments = ("-m", "trainer=ddp", "backend.devices=2", "hydra.sweep.dir=sweep")
    outcome = command(*TINY, *arguments)
    assert "trainer.strategy: 'ddp' with backend.devices: 2" in outcome.last_line
    assert "cannot be part of a multirun" in outcome.last_line


def test_a_run_may_leave_the_test_split_unread(command):
    assert command(*TINY, "test=false", "hydra.run.dir=out").error is None
    summary = json.loads(Path("out/summary.json").read_text())
    assert "val/accuracy" in summary
    assert not any(name.startswith("test/") for name in summary)


def test_the_composed_configuration_can_be_shown(command):
    shown = OmegaConf.create(command(*TINY, "model=cuba_lif", "--cfg", "job").printed)
    assert shown == session.compose([*TINY, "model=cuba_lif"])
    assert not list(Path().iterdir())


def python(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_help_lists_every_option_with_a_line_and_imports_no_torch():
    code = (
        "import sys; sys.argv = ['train.py', '--help']; import snnexp.cli; snnexp.cli.main(); "
        "sys.exit(str({'torch', 'pytorch_lightning', 'optuna'} & set(sys.modules)))"
    )
    help = python("-c", code)
    assert help.stderr.strip() == "set()"
    groups: dict[str, dict[str, str]] = {}
    group = ""
    for line in help.stdout.splitlines():
        if line.startswith("  "):
            name, _, text = line.strip().partition(" ")
            groups.setdefault(group, {})[name] = text.strip()
        else:
            group = line
    for path in (ROOT / "conf").rglob("*.yaml"):
        where = path.parent.relative_to(ROOT / "conf").as_posix()
        if where != "." and not where.startswith("hydra"):
            assert groups[where][path.stem], f"{path} opens with no comment"


def test_a_fault_in_a_fresh_process_is_the_last_line_and_the_exit_code():
    ended = python("train.py", "model.neuron.beat=1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and "model.neuron.beat" in ended.stderr
