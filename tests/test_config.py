"""A configuration that cannot be run is refused before anything is built, and the message helps."""

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from snnexp import config, experiment
from snnexp.errors import ConfigError

EULER = ("model=cuba_lif", "model.neuron.method=euler")


def refusal(compose, *overrides: str) -> str:
    """The message that refuses a configuration, by its check or by a constructor."""
    cfg = compose(*overrides)
    with pytest.raises(ConfigError) as caught:
        config.check(cfg)
        experiment.build(cfg)
    return str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=lif"],
        ["model=cuba_lif"],
        ["model/readout=lif", "decoder=spike_count", "loss=mse_count"],
        ["regularizer=[burst,weights]", "scheduler=one_cycle", "callback=[figures]"],
        ["logger=[tensorboard]", "+logger.tensorboard.max_queue=5"],  # one of its **kwargs: Any
    ],
)
def test_a_sound_configuration_passes(compose, overrides):
    assert config.check(compose(*overrides)) is None


@pytest.mark.parametrize(
    ("override", "key", "meant"),
    [
        ("+sede=1", "sede", "seed"),
        ("+model.neuron.treshold=1", "model.neuron.treshold", "threshold"),
        ("+model.neuron.surrogate.slpe=1", "model.neuron.surrogate.slpe", "slope"),
        ("+model.hiden_sizes=[3]", "model.hiden_sizes", "hidden_sizes"),
        ("+optimizer.weight_deacy=1", "optimizer.weight_deacy", "weight_decay"),
        ("+scheduler.schedule.eta_mn=1", "scheduler.schedule.eta_mn", "eta_min"),
        ("+trainer.max_epoch=1", "trainer.max_epoch", "max_epochs"),
        ("+logger.table.savedir=x", "logger.table.savedir", None),
        ("+time.stps=1", "time.stps", "steps"),
        ("+best.metrc=x", "best.metrc", "metric"),
        ("+optimizer.learning_rate=1", "optimizer.learning_rate", None),
    ],
)
def test_a_misspelt_key_is_named_with_the_one_that_was_meant(compose, override, key, meant):
    message = refusal(compose, override)
    assert message.startswith(f"{key}: unknown key")
    if meant:
        assert f"did you mean {meant!r}?" in message


def test_without_a_similar_key_the_known_ones_are_listed(compose):
    message = refusal(compose, "+optimizer.learning_rate=1")
    assert "known are" in message and "lr," in message and "weight_decay" in message


def test_a_time_of_ones_own_is_a_key_if_something_reads_it(compose):
    assert config.check(compose("+time.gap=0.0", "encoder.t_bias=${time.gap}")) is None


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("precision", "backend.precision"),
        ("callbacks", "callback=[...]"),
        ("num_nodes", "backend.devices, on one machine"),
    ],
)
def test_what_the_trainer_is_given_is_set_elsewhere(compose, name, place):
    message = refusal(compose, f"+trainer.{name}=3")
    assert message == f"trainer.{name}: unknown key; it is set by {place}"


@pytest.mark.parametrize(
    "key",
    ["model.neuron.size", "model.neuron.dt", "model.num_inputs", "trainer.callbacks"],
)
def test_what_the_code_fills_in_cannot_be_set(compose, key):
    """It would be overwritten without a word."""
    assert refusal(compose, f"+{key}=3").startswith(f"{key}: unknown key")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("batch_size=abc", "batch_size: 'abc'; it must be a whole number"),
        ("time.steps=2.5", "time.steps: 2.5; it must be a whole number"),
        ("model.hidden_sizes=120", "model.hidden_sizes: 120 is of the wrong type"),
        ("model.neuron=rf", "model.neuron: 'rf' is of the wrong type; it must be a node"),
        ("model.readout=li", "model.readout: 'li' is of the wrong type; it must be a node"),
        ("model.neuron.threshold=high", "model.neuron.threshold: 'high' is of the wrong type"),
        ("model.neuron.recurrent=3", "model.neuron.recurrent: 3 is of the wrong type"),
        ("optimizer.lr=fast", "optimizer.lr: 'fast' is of the wrong type; it must be a number"),
        ("trainer.max_epochs=[1]", "trainer.max_epochs: [1]"),
        ("trainer.deterministic=maybe", "trainer.deterministic: 'maybe' is of the wrong type"),
        ("dataset.sizes=null", "dataset.sizes: None is of the wrong type"),
        ("best=3", "best: 3"),
        ("init_from=3", "init_from: 3"),
        ("objectives=3", "objectives: 3"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(compose, override, expected):
    assert expected in refusal(compose, override)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["time.dt=-1e-3"], "time.dt: -0.001 s; it must be a finite number above 0"),
        (["time.dt=inf"], "time.dt: inf s"),
        (["time.steps=0"], "time.steps: 0; it must be a whole number of at least 1"),
        (["batch_size=0"], "batch_size: 0; it must be a whole number of at least 1"),
        (["eval_batch_size=-1"], "eval_batch_size: -1"),
        (["seed=-1"], "seed: -1; it must be a whole number of at least 0"),
        (["model.hidden_sizes=[]"], "model.hidden_sizes: []; give at least one layer"),
        (["model.hidden_sizes=[3,0]"], "model.hidden_sizes: 0; it must be a whole number"),
        (["model.neuron.beta=1.5"], "model.neuron.beta: 1.5; it must lie between 0 and 1"),
        (["model.readout.beta=-0.1"], "model.readout.beta: -0.1; it must lie between 0 and 1"),
        (["model.neuron.threshold=-1"], "model.neuron.threshold: -1; it must be a finite number"),
        (["model.neuron.reset=zer"], "model.neuron.reset: 'zer'; choose one of subtract"),
        (["model.neuron.surrogate.slope=0"], "model.neuron.surrogate.slope: 0; it must be"),
        (["model.init.std=-1"], "model.init.std: -1; it must not be negative"),
        ([*EULER, "model.neuron.tau_syn=1e-4"], "model.neuron.tau_syn: 0.0001 s is below time.dt"),
        (["encoder.t_late=1.0"], "encoder.t_late: 1.0 s lies beyond the grid"),
        (["encoder=poisson", "encoder.max_rate=5000"], "encoder.max_rate: 5000 Hz is above"),
        (["decoder.scale=0"], "decoder.scale: 0; it must be a finite number above 0"),
        (["loss.label_smoothing=2"], "loss.label_smoothing: 2; it must lie between 0 and 1"),
        (["regularizer=burst", "regularizer.burst.factor=-1"], "regularizer.burst.factor: -1"),
        (["scheduler.interval=week"], "scheduler.interval: 'week'; choose one of step, epoch"),
        (["dataset.sizes.train=0"], "dataset.sizes.train: 0; it must be a whole number"),
        (["+dataset.sizes.trian=3"], "dataset.sizes"),
        (["~dataset.sizes.val"], "dataset.sizes"),
        (["dataset.radius_big=2"], "dataset.radius_big: 2; it must be at most 0.5"),
        (["backend.precision=half"], "backend.precision: 'half'; choose one of 32-true"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs: -1"),
        (["trainer.max_epochs=null"], "trainer.max_epochs: None"),
        (["trainer.limit_train_batches=0"], "trainer.limit_train_batches: 0"),
        (["best.metric=test/accuracy"], "best.metric: 'test/accuracy'"),
        (["best.mode=high"], "best.mode: 'high'; choose max or min"),
        (["objectives=[{name: val/loss, direction: up}]"], "objectives[0].direction: 'up'"),
        (
            ["optimizer=lion", "optimizer.betas=[0.9]"],
            "optimizer.betas: [0.9]; give two",
        ),
        (
            ["model/readout=lif", "decoder=first_spike", "loss=first_spike", "time.steps=1000"],
            "loss.tau_late: 0.0064 s; an output that does not spike in 1 s would cost",
        ),
        (["optimizer.betas=[0.9]"], "it must be a list of 2, each entry a number"),
        (["model=cuba_lif", "backend=bss2_mock", "backend.precision=64-true"], "choose 32-true"),
        (["objectives=[{name: 3, direction: maximize}]"], "objectives[0].name: 3"),
        (
            ["test=false", "objectives.0.name=test/accuracy"],
            "objectives[0].name: 'test/accuracy', but test: false leaves the test split unread; "
            "choose 'val/accuracy', or set test=true",
        ),
        (
            ["callback=[early_stopping]", "callback.early_stopping.monitor=test/loss"],
            "callback.early_stopping.monitor: 'test/loss', but the test split is read once, after "
            "training; choose 'val/loss'",
        ),
        (
            ["scheduler=plateau", "scheduler.monitor=test/accuracy"],
            "scheduler.monitor: 'test/accuracy', but the test split is read once",
        ),
        (
            ["scheduler=plateau", "trainer.check_val_every_n_epoch=2", "trainer.max_epochs=4"],
            "scheduler.monitor: 'val/accuracy', but with trainer.check_val_every_n_epoch: 2 it is "
            "not measured after each epoch",
        ),
        (
            ["scheduler=plateau", "scheduler.interval=step"],
            "scheduler.interval: 'step', but this schedule watches 'val/accuracy', which is "
            "measured once an epoch; set scheduler.interval=epoch",
        ),
        (["scheduler=plateau", "scheduler.monitor=null"], "scheduler.monitor: null, but this"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_full_key(compose, overrides, expected):
    assert expected in refusal(compose, *overrides)


def test_messages_state_the_unit_and_the_way_out(compose):
    late = refusal(compose, "encoder.t_late=1.0")
    assert "0.059 s" in late, "the last of 60 steps of 1 ms begins there"
    assert "raise time.steps" in late
    short = refusal(compose, *EULER, "model.neuron.tau_syn=1e-4")
    assert "time.dt = 0.001 s" in short and "method: exponential" in short
    assert "at most 1000 Hz" in refusal(compose, "encoder=poisson", "encoder.max_rate=5000")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("encoder=none", ["encoder: NoEncoder takes spikes", "yields values", "encoder=latency"]),
        ("decoder=spike_count", ["decoder: SpikeCount", "does not spike", "model/readout=lif"]),
        ("loss=mse_count", ["loss: MSECount", "does not spike", "model/readout=lif"]),
        ("model.neuron=${model.readout}", ["model.neuron: LI does not spike", "the readout"]),
        ("model.init.mean=[1.0]", ["model.init.mean: 1 entries for 2 layers"]),
    ],
)
def test_stages_that_do_not_fit_are_refused(compose, override, expected):
    message = refusal(compose, override)
    assert all(part in message for part in expected), message


def test_all_faults_come_in_one_message(compose):
    message = refusal(
        compose,
        "batch_size=0",
        "time.dt=-1",
        "+model.neuron.treshold=1",
        "optimizer._target_=os.system",
        "model.hidden_sizes=120",
        "~model.neuron.beta",
    )
    for key in (
        "batch_size: 0",
        "time.dt: -1 s",
        "model.neuron.treshold: unknown key; did you mean 'threshold'?",
        "optimizer._target_: 'os.system' is not allowed",
        "model.hidden_sizes: 120 is of the wrong type",
        "model.neuron.beta: missing",
    ):
        assert key in message


@pytest.mark.parametrize("key", ["model", "seed", "time", "best", "objectives"])
def test_a_missing_key_is_named(compose, key):
    cfg = compose()
    OmegaConf.set_struct(cfg, False)
    del cfg[key]
    with pytest.raises(ConfigError, match=rf"(?m)^{key}: missing$"):
        config.check(cfg)


def test_an_interpolation_to_nowhere_is_named(compose):
    assert "decoder.scale" in refusal(compose, "decoder.scale=${nowhere}")


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `foreign_code` that leaves files in the returned folder if imported or called."""
    traces = tmp_path / "traces"
    traces.mkdir()
    (tmp_path / "foreign_code.py").write_text(
        "from pathlib import Path\n"
        f"traces = Path({str(traces)!r})\n"
        "(traces / 'imported').touch()\n"
        "class Called:\n"
        "    def __init__(self, **_):\n"
        "        (traces / 'called').touch()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "foreign_code", raising=False)
    return traces


FOREIGN = "{_target_: foreign_code.Called}"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model._target_=foreign_code.Called", "model"),
        ("model.neuron._target_=foreign_code.Called", "model.neuron"),
        ("model.neuron.surrogate._target_=foreign_code.Called", "model.neuron.surrogate"),
        ("dataset._target_=foreign_code.Called", "dataset"),
        ("optimizer._target_=foreign_code.Called", "optimizer"),
        ("scheduler.schedule._target_=foreign_code.Called", "scheduler.schedule"),
        (f"+regularizer.x={FOREIGN}", "regularizer.x"),
        (f"+callback.x={FOREIGN}", "callback.x"),
        (f"+logger.x={FOREIGN}", "logger.x"),
        (f"+x={FOREIGN}", "x"),
        (f"seed={FOREIGN}", "seed"),
        (f"init_from={FOREIGN}", "init_from"),
        (f"+trainer.logger={FOREIGN}", "trainer.logger"),
        (f"+model.neuron.x=[[{{y: {FOREIGN}}}]]", "model.neuron.x[0][0].y"),
        ("model._target_=${best.mode} best.mode=foreign_code.Called", "model"),
    ],
)
def test_a_foreign_target_is_refused_unseen(compose, foreign, monkeypatch, override, key):
    monkeypatch.delenv("SNNEXP_ALLOW", raising=False)
    overrides = override.split() if override.startswith("model._target_=$") else [override]
    message = refusal(compose, *overrides)
    assert f"{key}._target_: 'foreign_code.Called' is not allowed" in message
    assert "SNNEXP_ALLOW=my_package" in message
    assert not list(foreign.iterdir())
    assert "foreign_code" not in sys.modules


@pytest.mark.parametrize("target", ["foreign_code.Called", "snnexp.callbacks.Nothing"])
def test_a_callback_is_looked_up_only_if_it_may_be(compose, foreign, monkeypatch, target):
    """With `test=false` each is, which must neither import what is foreign nor end the check."""
    monkeypatch.delenv("SNNEXP_ALLOW", raising=False)
    message = refusal(compose, "test=false", f"+callback.x={{_target_: {target}}}")
    assert message.startswith(f"callback.x._target_: {target!r} ") and "\n" not in message
    assert not list(foreign.iterdir())


def test_the_trap_for_foreign_code_works(compose, foreign, monkeypatch):
    """Else the test above would prove nothing."""
    monkeypatch.setenv("SNNEXP_ALLOW", "another, foreign_code")
    config.instantiate(OmegaConf.create({"_target_": "foreign_code.Called"}))
    assert {path.name for path in foreign.iterdir()} == {"imported", "called"}


def test_another_package_is_not_allowed_by_its_prefix(compose, foreign, monkeypatch):
    monkeypatch.setenv("SNNEXP_ALLOW", "foreign")
    assert "is not allowed" in refusal(compose, "model._target_=foreign_code.Called")
    assert not list(foreign.iterdir())


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "hydra.utils.get_method",
        "pytorch_lightning.Trainer.load_from_checkpoint",
        "pytorch_lightning.trainer.trainer.Trainer.fit",
        "pytorch_lightning.LightningModule",
        "torch.load",
        "torch.optim.os.system",
        "torch.optim.lr_scheduler.math.sqrt",
        "torch.optim.lr_scheduler.LRScheduler.load_state_dict",
        "pytorch_lightning.callbacks.callback.Callback.on_fit_start",
        "pytorch_lightning.loggers.logger.os.system",
        "snnexp",
        "snnexp.run",
        "snnexp.load",
        "snnexp.cli.main",
        "snnexp.cli.os.system",
        "snnexp.cli.hydra.utils.get_method",
        "snnexp.config.instantiate",
        "snnexp.folders.claim",
        "snnexp.models.neuron.nn.Linear",
        "snnexp.models.neuron.torch.load",
        "snnexp.models.Nothing",
        "snnexp.nothing.LIF",
        "snnexp.models.LIF.scan",
        "__import__",
        ".",
        "",
    ],
)
def test_only_classes_that_are_meant_can_be_named(compose, target):
    message = refusal(compose, f"model.neuron._target_='{target}'")
    assert message.startswith(f"model.neuron._target_: {target!r} ")


def test_instantiate_refuses_what_the_check_has_not_seen(foreign):
    with pytest.raises(ConfigError, match="foreign_code"):
        config.instantiate(OmegaConf.create({"_target_": "foreign_code.Called"}))
    assert not list(foreign.iterdir())


def test_delays_of_values_that_are_no_spikes_are_refused(compose):
    """Without delays of the inputs the same configuration is sound."""
    given = ("encoder=constant", "model/delays=fixed")
    assert refusal(compose, *given).startswith(
        "model.delays.inputs: true, but Constant gives values, which have no spikes to delay; set "
        "it to false"
    )
    experiment.build(compose(*given, "model.delays.inputs=false"))
