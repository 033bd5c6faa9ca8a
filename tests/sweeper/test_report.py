"""What a sweep leaves: table, best trials with their commands, figures, HPARAMS; and trainings."""

import csv
import json
import shlex
from pathlib import Path

import hydra
import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts import report as script
from snnexp import cli, config, session
from snnexp.errors import RunError
from snnexp.sweeper import commands, figures, report, terminal
from snnexp.sweeper.study import Objective
from tests.conftest import TINY

FOLDER = Path("outputs/sweeps/s")
TWO = (
    "objectives=[{name: val/accuracy, direction: maximize},"
    "{name: val/synops_ac_per_sample, direction: minimize}]"
)


@pytest.fixture
def made(tmp_path, monkeypatch) -> tuple[optuna.Study, Path]:
    """A study of four points, of which two are not dominated, and a failed one."""
    monkeypatch.chdir(tmp_path)
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(
        study_name="s", storage=storage, directions=["maximize", "minimize"]
    )
    study.set_metric_names(["val/accuracy", "val/synops_ac_per_sample"])
    study.set_user_attr("command", ["model=lif"])
    rows = [(0.9, 50.0), (0.8, 20.0), (0.7, 60.0), (0.8, 30.0), None]
    for index, values in enumerate(rows):
        trial = study.ask()
        trial.suggest_float("optimizer.lr", 1e-3, 1e-1, log=True)
        trial.suggest_categorical("model", ["lif", "cuba_lif"])
        trial.set_user_attr("reason", "" if values else "by hand")
        trial.set_user_attr("seconds", index + 1.0)
        if values:
            trial.set_user_attr("by_seed", {"0": values, "1": [values[0] + 0.02, values[1] + 2]})
        study.tell(trial, values, state=None if values else TrialState.FAIL)
    record = {"id": "x", "study": "s", "storage": "sqlite"}
    (tmp_path / "study.json").write_text(json.dumps(record))
    return study, tmp_path


def test_interactive_figures_show_a_trials_parameters(made):
    folder = made[1]
    plot = ["seconds", "val/accuracy", "optimizer.lr"]
    assert script.main([str(folder), "--html", "--plot", *plot, "--clip", "0.001", "0.01"]) == 0
    text = (folder / "plots" / "scatter.html").read_text()
    lr = made[0].trials[0].params["optimizer.lr"]
    assert f"optimizer.lr = {lr}" in text and '"cmax":0.01' in text
    assert script.main([str(folder), "--html", "--no-figures"]) == 0
    assert (folder / "plots" / "pareto.html").exists()


def test_the_script_writes_table_best_figures_and_hparams(made, capsys):
    folder = made[1]
    assert script.main([str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "4 complete, 1 fail" in printed
    best = (folder / "best.txt").read_text()
    assert best.startswith("# trial 0\npython train.py model=lif ")
    assert best.count("# trial") == 2 and "# trial 1\n" in best
    # worst values seen, 0.7 and 60: from them 0.1 x 40 below 0.8, and 0.1 x 10 on top
    assert "hypervolume 5" in printed
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["hypervolume"]) for row in rows] == pytest.approx([2, 5, 5, 5, 5])
    assert float(rows[0]["val/synops_ac_per_sample sd"]) == pytest.approx(2**0.5)  # of 50, 52
    assert rows[4]["reason"] == "by hand" and rows[4]["val/accuracy"] == ""
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert {"pareto.png", "history.png", "importance_val_accuracy.png"} <= plots
    assert {"slices_val_accuracy.png", "parallel_val_synops_ac_per_sample.png"} <= plots
    events = EventAccumulator(str(folder / "tensorboard" / "0")).Reload()
    assert events.Scalars("val/accuracy")[0].value == pytest.approx(0.9)
    assert events.PluginTagToContent("hparams")
    assert {path.name for path in (folder / "tensorboard").iterdir() if path.is_dir()} == set(
        "0123"
    )


def test_any_two_quantities_against_a_third(made, capsys):
    study, folder = made
    limits = ["--x-range", "0", "5", "--clip", "20", "40"]
    names = ["seconds", "val/accuracy", "val/synops_ac_per_sample"]
    assert script.main([str(folder), "--plot", *names, *limits]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()
    panel = figures.scatter(study, *names, x_range=(0, 5), clip=(20, 40)).axes[0]
    (dots,) = panel.collections
    assert dots.get_offsets().tolist() == [[1, 0.9], [2, 0.8], [3, 0.7], [4, 0.8]]
    assert dots.get_clim() == (20, 40) and panel.get_xlim() == (0, 5)
    assert script.main([str(folder), "--plot", "beta", *names[1:]]) == 2
    assert "'beta' is no quantity; there are val/accuracy" in capsys.readouterr().err


def test_the_pareto_figure_shows_deviations_over_seeds(made):
    panel = figures.pareto(made[0]).axes[0]
    (bars,) = panel.containers
    vertical = bars.lines[2][1]
    (low, high) = vertical.get_segments()[0]  # of the most accurate: 0.9 and 0.92
    assert high[1] - low[1] == pytest.approx(2 * 0.02 / 2**0.5)


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no sweep's folder"):
        report.load(tmp_path)


def test_a_line_says_how_a_trial_ended_and_how_long_the_rest_takes(made, capsys):
    study, _ = made
    trials = study.get_trials()
    objectives = [Objective(name, "maximize") for name in study.metric_names or ()]
    terminal.print_trial(trials[0], trials, objectives, total=6)
    line = capsys.readouterr().out
    for part in ("trial 0", "complete", "val/accuracy 90.00%", "synops_ac_per_sample 50", "1.0 s"):
        assert part in line
    # four trials of 2.5 s on average, two are left, nothing else runs
    assert line.endswith("[4/6, about 5.0 s left]\n")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["sweep=yinyang_pareto", "model=cuba_lif", "decoder=last", "batch_size=50"],
            ["model=cuba_lif", "regularizer=[burst]", "batch_size=50", "trainer.max_epochs=10"],
        ),
        (  # keys that only the sweep's own choices bring
            ["sweep=mnist_pareto", "model.depth=2", "dataset.fraction=0.02"],
            ["model=lif_deep", "dataset=mnist", "model.depth=2", "dataset.fraction=0.02"],
        ),
        (
            ["sweep=yinyang_pareto", "regularizer.burst.factor=1e-3"],
            ["regularizer=[burst]", "regularizer.burst.factor=0.001"],
        ),
        (
            ["sweep=mnist_frugal", "dataset.size=16", "regularizer.upper_rate.factor=1.0"],
            ["dataset=mnist", "dataset.size=16", "regularizer.upper_rate.factor=1.0"],
        ),
        (  # texts that only quotes keep
            ["sweep=yinyang_pareto", "init_from='a \"null\"'", "hydra.sweeper.workers=1"],
            ['init_from="a \\"null\\""'],
        ),
        (["sweep=yinyang_pareto", "init_from='null'"], ['init_from="null"']),
    ],
)
def test_the_command_composes_what_the_sweep_ran(overrides, expected):
    with hydra.initialize_config_dir(config_dir=str(config.directory())):
        swept = hydra.compose("train", overrides=overrides, return_hydra_config=True)
    words = commands.base_words(swept, overrides)
    assert not any(word.startswith(("sweep", "hydra")) for word in words)
    assert set(expected) <= set(words)
    again = session.compose(words)
    for key in again:
        if key not in ("objectives", "callback", "logger"):
            assert again[key] == swept[key], key


@pytest.mark.parametrize("name", ["my_conf", 'my own, "odd" conf\'s'])
def test_the_command_finds_options_of_a_users_own(name, sweep, tmp_path):
    own = tmp_path / name
    (own / "decoder").mkdir(parents=True)
    (own / "decoder" / "mine.yaml").write_text("defaults: [last, _self_]\nscale: 2.0")
    options = ("hydra.sweeper.n_trials=1", "optimizer.lr=choice(0.5)", "decoder=mine")
    study = sweep(lambda cfg: cfg.decoder.scale, "--config-dir", name, *options)
    assert study.best_value == 2.0
    words = shlex.split(commands.command(study.user_attrs["command"], {}))[2:]
    assert "decoder=mine" in words
    assert session.compose(words).decoder.scale == 2.0


def test_a_command_is_quoted_for_the_shell():
    line = commands.command(["dataset.sizes={train: 2}"], {"model.hidden_sizes": "[8,4]"}, [0, 1])
    words = shlex.split(line)
    assert words[:3] == ["python", "train.py", "-m"]
    assert words[3:] == ["dataset.sizes={train: 2}", "model.hidden_sizes=[8,4]", "seed=0,1"]


def test_trainings_are_pruned_read_again_and_never_see_the_test_split(sweep):
    """Real trainings: the second of three is worse than the median and is ended early."""
    space = "optimizer.lr=choice(1e-2,1e-12)"
    options = ("hydra.sweeper.n_trials=3", "hydra.sweeper.pruner=median")
    cheap = ("+hydra.sweeper.pruner_options.n_startup_trials=1", "trainer.max_epochs=3")
    study = sweep(
        cli._task,
        *TINY,
        space,
        *options,
        *cheap,
        "objectives.0.name=val/loss",
        "objectives.0.direction=minimize",
    )
    done = study.get_trials(states=(TrialState.COMPLETE,))
    assert len(done) == 3
    for trial in done:
        summary = json.loads((FOLDER / str(trial.number) / "summary.json").read_text())
        assert summary["val/loss"] == trial.value
        assert not any(name.startswith("test/") for name in summary)
        assert trial.user_attrs["batches"] == summary["batches"] == 9  # 20 samples, 3 epochs
        assert set(trial.intermediate_values) == {1, 2, 3}
    for trial in study.get_trials(states=(TrialState.PRUNED,)):
        assert trial.user_attrs["reason"].startswith("after epoch ")
    saved = OmegaConf.load(FOLDER / "0" / ".hydra" / "config.yaml")
    assert saved.test is False
