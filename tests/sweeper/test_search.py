"""What becomes of trials: states, reasons, folders, resume, refusals."""

import csv
import re
import shlex
import shutil
import sys
from pathlib import Path

import optuna
import pytest
from hydra.core.hydra_config import HydraConfig
from optuna.trial import TrialState

from snnexp.errors import ConfigError, RunError
from snnexp.sweeper import commands, report

LR = "optimizer.lr=interval(0.1,1)"
FOLDER = Path("outputs/sweeps/s")
TWO = (
    "objectives=[{name: val/accuracy, direction: maximize},"
    "{name: val/synops_ac_per_sample, direction: minimize}]"
)
WHEN = """+hydra.sweeper.conditions={model.neuron.beta: {when: "model == 'lif'"}}"""
PAGE = Path(__file__).resolve().parents[2] / "docs" / "sweeps.md"


def objective(cfg) -> float:
    return cfg.optimizer.lr


def trials(*numbers: str) -> str:
    return f"hydra.sweeper.n_trials={','.join(numbers)}"


def test_a_study_goes_on_to_its_number_of_completed_trials(sweep):
    first = [t.params for t in sweep(objective, LR, trials("3")).trials]
    kept = {path: path.read_bytes() for path in FOLDER.glob("*/.hydra/*")}
    study = sweep(objective, LR, trials("5"))
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 5
    assert [t.params for t in study.trials[:3]] == first
    assert {path.name for path in FOLDER.glob("[0-9]*")} == set("01234")
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert len({t.value for t in study.trials}) == 5, "a resumed sampler draws new points"
    assert len(sweep(objective, LR, trials("5")).trials) == 5, "nothing is left to do"


def test_every_end_has_its_state_and_reason_and_the_sweep_goes_on(sweep):
    endings = iter(
        [
            *("raises", "nan", "none", "two", "pruned", "exits"),
            *("fine", "fine"),
        ]
    )

    def task(cfg):
        match next(endings):
            case "raises":
                raise ZeroDivisionError("by hand")
            case "nan":
                return float("nan")
            case "none":
                return None
            case "two":
                return 1.0, 2.0
            case "pruned":
                raise optuna.TrialPruned("after epoch 3")
            case "exits":
                raise SystemExit("for good")
        return 0.5

    study = sweep(task, LR, trials("2"), "hydra.sweeper.max_failure_rate=1")
    told = [(t.state.name, t.user_attrs["reason"]) for t in study.trials]
    assert told == [
        ("FAIL", "ZeroDivisionError: by hand"),
        ("FAIL", "val/accuracy is nan"),
        ("FAIL", "val/accuracy is missing"),
        ("FAIL", "2 values were returned for 1 objectives"),
        ("PRUNED", "after epoch 3"),
        ("FAIL", "SystemExit: for good"),
        ("COMPLETE", ""),
        ("COMPLETE", ""),
    ]
    with (FOLDER / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["state"], row["reason"]) for row in rows] == told
    assert [row["val/accuracy"] for row in rows[-2:]] == ["0.5", "0.5"]


def test_too_many_failures_end_the_sweep(sweep):
    def task(cfg):
        raise ValueError("always")

    # of fewer than 10 trials a rate counts as if they were 10: the third of them is above 0.2
    with pytest.raises(RunError, match=r"3 of 3 trials failed.*max_failure_rate.*always"):
        sweep(task, LR, trials("5"), "hydra.sweeper.max_failure_rate=0.2")


def test_too_many_failures_end_a_grid_too(sweep):
    """All of its trials are queued before the first one runs."""

    def task(cfg):
        raise ValueError("always")

    grid = ("batch_size=range(1,9)", "hydra.sweeper.sampler=grid")
    with pytest.raises(RunError, match="3 of 3 trials failed"):
        sweep(task, *grid, "hydra.sweeper.max_failure_rate=0.2")


def test_a_new_start_forgives_earlier_failures(sweep):
    test_too_many_failures_end_the_sweep(sweep)
    study = sweep(objective, LR, trials("2"), "hydra.sweeper.max_failure_rate=0.2")
    assert [t.state.name for t in study.trials] == ["FAIL"] * 3 + ["COMPLETE"] * 2


def test_objectives_are_means_over_seeds(sweep):
    seen = []

    def task(cfg):
        seen.append((HydraConfig.get().runtime.output_dir, cfg.test))
        return cfg.optimizer.lr + cfg.seed

    study = sweep(task, LR, trials("1"), "hydra.sweeper.seeds=[1,2,6]")
    (trial,) = study.trials
    assert trial.value == pytest.approx(trial.params["optimizer.lr"] + 3)  # (1 + 2 + 6) / 3
    places = [Path(folder).relative_to(FOLDER.resolve()).as_posix() for folder, _ in seen]
    assert places == ["0/seed_1", "0/seed_2", "0/seed_6"]
    assert not any(test for _, test in seen), "trials do not read the test split"
    with (FOLDER / "trials.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["val/accuracy sd"]) == pytest.approx(7**0.5)  # of 1, 2, 6
    assert (FOLDER / "best.txt").read_text().rstrip().endswith("seed=1,2,6")


def test_a_grid_is_every_combination_once(sweep):
    arguments = (
        "model=choice(lif,cuba_lif)",
        "batch_size=range(1,4)",
        "hydra.sweeper.sampler=grid",
    )
    ran = []

    def task(cfg):
        ran.append(cfg.batch_size)
        return 0.0

    study = sweep(task, *arguments)
    found = {(t.params["model"], t.params["batch_size"]) for t in study.trials}
    assert found == {(model, size) for model in ("lif", "cuba_lif") for size in (1, 2, 3)}
    assert len(study.trials) == len(ran) == 6
    sweep(task, *arguments)
    assert len(ran) == 6, "the same command again has nothing to do"


def test_what_costs_too_much_is_pruned_before_it_runs(sweep):
    ran = []

    def task(cfg):
        ran.append(cfg.batch_size * cfg.time.steps)
        return 0.0

    study = sweep(
        *(task, "batch_size=choice(1,100)", "time.steps=choice(60,100)", trials("4")),
        "hydra.sweeper.prune_if='batch_size * time.steps > 100'",
    )
    assert set(ran) == {60, 100}
    pruned = [t for t in study.trials if t.state == TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        assert trial.user_attrs["reason"] == "before the run: batch_size * time.steps > 100"
        assert trial.params["batch_size"] == 100


def page_words() -> list[str]:
    """The command of the page's own search, and the word on costs, as a shell hands them over."""
    text = PAGE.read_text()
    (command,) = re.findall(r"^    (python .*study=mine(?:.*\\\n)*.*)$", text, re.MULTILINE)
    (rule,) = re.findall(r'`("hydra.sweeper.prune_if=.*?")`', text)
    return shlex.split(f"{command} {rule}".replace("\\\n", ""))


def test_the_pages_own_search_runs_as_it_is_typed(sweep):
    own = ("hydra/sweeper=", "hydra.sweeper.study=", "hydra.sweeper.n_trials=")
    words = [word for word in page_words()[3:] if not word.startswith(own)]
    assert len(words) == 6
    seen = []

    def task(cfg):
        seen.append((cfg.model.neuron._target_, cfg.model.hidden_sizes[0]))
        return 0.0

    study = sweep(task, *words, trials("12"))
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert {trial.params["model"] for trial in study.trials} == {"lif", "cuba_lif"}
    for trial, (neuron, size) in zip(done, seen, strict=True):
        is_lif = trial.params["model"] == "lif"
        assert neuron == ("snnexp.models.LIF" if is_lif else "snnexp.models.CubaLIF")
        assert ("model.neuron.beta" in trial.params) == is_lif
        assert size == trial.params["model.hidden_sizes.0"] and size * 60 <= 4500
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert pruned and len(pruned) + len(done) == len(study.trials)
    assert all(trial.params["model.hidden_sizes.0"] > 75 for trial in pruned)  # 75 x 60 steps


def test_the_pages_conditions_of_a_file_hold(sweep):
    (line,) = re.findall(r"`conditions: (\{.*?\}\})`", PAGE.read_text(), re.DOTALL)
    space = ("time.steps=choice(50,90)", "model.hidden_sizes.0=int(interval(40,200))")
    study = sweep(
        *(lambda cfg: 0.0, *space, "model=choice(lif,cuba_lif)"),
        *("model.neuron.beta=interval(0.8,1)", trials("20")),
        f"+hydra.sweeper.conditions={' '.join(line.split())}",
    )
    assert {t.params["time.steps"] for t in study.trials} == {50, 90}
    for trial in study.trials:
        assert trial.params["model.hidden_sizes.0"] * trial.params["time.steps"] <= 4500
        assert ("model.neuron.beta" in trial.params) == (trial.params["model"] == "lif")


def test_a_trial_whose_bounds_leave_nothing_fails_and_the_sweep_goes_on(sweep):
    narrow = "+hydra.sweeper.conditions.batch_size.low='time.steps'"
    space = ("time.steps=choice(60,100)", "batch_size=int(interval(1,70))")
    study = sweep(lambda cfg: 0.0, *space, narrow, trials("2"), "hydra.sweeper.max_failure_rate=1")
    for trial in study.trials:
        if trial.params["time.steps"] == 60:
            assert trial.state == TrialState.COMPLETE and trial.params["batch_size"] >= 60
        else:
            assert trial.state == TrialState.FAIL
            assert "batch_size: nothing is left between 100 and 70" in trial.user_attrs["reason"]
    assert {t.params["time.steps"] for t in study.trials} == {60, 100}, "both were drawn"


def test_another_definition_under_the_same_name_is_refused(sweep):
    sweep(objective, LR, trials("1"))
    for other, named in (
        (("optimizer.lr=interval(0.1,2)",), r"params: .*interval\(0.1,1\).*interval\(0.1,2\)"),
        ((LR, "batch_size=7"), "batch_size: 100 there, 7 here"),
        ((LR, TWO), "objectives: .*maximize val/accuracy"),
        ((LR, "hydra.sweeper.seeds=[0]"), "seeds: None there, .0. here"),
    ):
        with pytest.raises(ConfigError, match=named):
            sweep(objective, *other, trials("1"))


def test_folder_and_storage_belong_together(sweep):
    sweep(objective, LR, trials("2"))
    (FOLDER / "study.db").unlink()
    with pytest.raises(RunError, match="do not belong together"):
        sweep(objective, LR, trials("3"))
    assert {path.name for path in FOLDER.glob("[0-9]*")} == {"0", "1"}


@pytest.mark.parametrize("text", ["", "[]", '{"id": "1"}'])
def test_a_folder_that_says_of_no_study_is_named(sweep, text):
    sweep(objective, LR, trials("1"))
    (FOLDER / "study.json").write_text(text)
    message = r"^outputs/sweeps/s/study\.json: this says of no study .*hydra\.sweeper\.study$"
    with pytest.raises(RunError, match=message):
        sweep(objective, LR, trials("2"))
    with pytest.raises(RunError, match=message):
        report.load(FOLDER)


def test_a_folder_of_something_else_is_refused(sweep):
    FOLDER.mkdir(parents=True)
    (FOLDER / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="holds no study"):
        sweep(objective, LR)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hydra.sweeper.sampler=tep"], "hydra.sweeper.sampler: 'tep'.*did you mean 'tpe'"),
        (["hydra.sweeper.sampler=BaseSampler"], "hydra.sweeper.sampler: 'BaseSampler'"),
        (["+hydra.sweeper.sampler_options.n_startup=3"], "sampler_options.n_startup: unknown"),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials: 0; .*at least 1"),
        (["hydra.sweeper.study=null"], "hydra.sweeper.study: None"),
        (["hydra.sweeper.max_failure_rate=2"], "max_failure_rate: 2; it must be from 0 to 1"),
        (["hydra.sweeper.storage=sqllite"], "hydra.sweeper.storage: 'sqllite'"),
        (["hydra.sweeper.storage=sqlite:////no/where.db"], "hydra.sweeper.storage: .*no/where.db"),
        (["hydra.sweeper.reference_point=[0,1]"], "reference_point: .*give 1 numbers"),
        (["hydra.sweeper.pruner=medain"], "hydra.sweeper.pruner: 'medain'.*'median'"),
        ([TWO, "hydra.sweeper.pruner=median"], "one objective only"),
        (["hydra.sweeper.pruner=median", "hydra.sweeper.seeds=[0,1]"], "one seed a trial"),
        (["objectives.0.name=test/accuracy"], "never sees the test split"),
        (["optimizer.lr=interval(1,0.1)"], r"optimizer.lr=interval\(1,0.1\): the first bound"),
        (["+hydra.sweeper.params={batch_size: 'interval(1,2,3)'}"], "too many positional"),
        (["optimizer.lr=tag(log,interval(0,1))"], "must begin above 0"),
        (["optimizer.lr=tag(lgo,interval(0.1,1))"], "the tag 'lgo' is unknown"),
        (
            ["model=lif,cuba_lif", "model.neuron.beta=interval(0.8,1)"],
            r"beta: unknown key.*this is with model=cuba_lif: .*conditions={model.neuron.beta: {",
        ),
        (
            ["model=lif,cuba_lif", "model.neuron.beat=interval(0,1)", WHEN.replace("beta", "beat")],
            "model.neuron.beat: unknown key",
        ),
        (
            ["model.neuron.beta=interval(0,1)", WHEN.replace("model ==", "modle ==")],
            "beta.when: .*modle",
        ),
        (["model.neuron.beat=interval(0,1)"], "model.neuron.beat: unknown key.*'beta'"),
        (["model=lif,cuba"], "model: there is no option 'cuba'"),
        (["batch_size=interval(0.5,1)"], "batch_size: 0.5; it must be a whole number"),
        (["hydra.sweeper.sampler=grid"], "finite number of values, which a grid needs"),
        (["+hydra.sweeper.conditions.lr={high: '1'}"], "conditions.lr: no parameter"),
        (["+hydra.sweeper.params={optimizer.beta: '0.3'}"], "optimizer.beta=0.3: give interval"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(sweep, overrides, message):
    ran = []
    with pytest.raises((ConfigError, RunError), match=message):
        sweep(lambda cfg: ran.append(cfg), LR, *overrides)
    assert not ran and not (FOLDER / "study.db").exists()


def test_what_is_refused_leaves_no_study_behind(sweep, monkeypatch):
    def refuse(*_):
        raise ConfigError("no command composes it")

    with monkeypatch.context() as changed:
        changed.setattr(commands, "base_words", refuse)
        with pytest.raises(ConfigError, match="no command composes it"):
            sweep(objective, LR, "batch_size=7")
    assert not FOLDER.exists()
    assert len(sweep(objective, LR, trials("1")).trials) == 1, "the name is still free"


def test_what_is_typed_replaces_what_the_sweeps_file_says(sweep):
    seen = []

    def task(cfg):
        seen.append((cfg.model.depth, cfg.dataset.fraction, cfg.time.steps))
        return 0.5, 1.0

    study = sweep(
        *(task, "sweep=mnist_pareto", "model.depth=1", "dataset.fraction=0.02", "time.steps=11"),
        trials("2"),
    )
    assert seen and set(seen) == {(1, 0.02, 11)}
    searched = {"model.width", "model.neuron.beta", "optimizer.lr"}
    assert all(set(trial.params) == searched for trial in study.trials)
    best = (FOLDER / "best.txt").read_text()
    assert " model=lif_deep " in best and " dataset.fraction=0.02 " in best


@pytest.mark.parametrize("as_lightning_does", [False, True])
def test_an_interrupted_trial_is_the_next_one(sweep, as_lightning_does):
    def task(cfg):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if as_lightning_does:
                sys.exit(1)
            raise

    with pytest.raises(RunError, match="interrupted; nothing is lost, the same command goes on"):
        sweep(task, LR, trials("2"))
    study = sweep(objective, LR, trials("2"))
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2


def test_a_study_moves_with_its_folder(sweep, tmp_path, monkeypatch):
    sweep(objective, LR, trials("2"))
    (tmp_path / "elsewhere").mkdir()
    shutil.move("outputs", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(monkeypatch, "chdir", lambda _: None)
    assert len(sweep(objective, LR, trials("3")).trials) == 3
