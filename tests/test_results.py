"""Runs made up on disk with known numbers: the tables, the pairing and the three scripts."""

import csv
import importlib.util
import json
import math
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from snnexp import comparison, results
from snnexp.errors import ConfigError, RunError

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def load(name):
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


summarize, compare, reproduce = load("summarize"), load("compare"), load("reproduce")
frontier = load("frontier")
robustness, overlay = load("robustness"), load("overlay")


def configuration(seed=0, model="Lif", **changes):
    return {
        "seed": seed,
        "time": {"dt": 0.001, "steps": 10},
        "model": {"_target_": f"snnexp.models.{model}", "hidden": [10], "dt": "${time.dt}"},
        "dataset": {"_target_": "snnexp.datasets.YinYang", "seed": "${seed}"},
        **changes,
    }


def write_run(folder, accuracy=None, *, config=None, overrides=(), summary=None, curve=()):
    """A run's folder; without an accuracy it is incomplete."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(config or configuration()))
    (folder / ".hydra" / "overrides.yaml").write_text(OmegaConf.to_yaml(list(overrides)))
    rows = [f"{epoch},{value}\n" for epoch, value in enumerate(curve)]
    (folder / "metrics.csv").write_text("epoch,val/accuracy\n" + "".join(rows))
    if accuracy is not None:
        values = {"test/accuracy": accuracy, "device": "cpu", "versions": {"torch": "2.0"}}
        (folder / "summary.json").write_text(json.dumps(values | (summary or {})))
    return folder


def write_variant(folder, accuracies, model="Lif", overrides=(), **summary):
    """One run a seed."""
    for seed, accuracy in accuracies.items():
        write_run(
            folder / str(seed),
            accuracy,
            config=configuration(seed, model),
            overrides=[*overrides, f"seed={seed}"],
            summary=summary,
            curve=(0.3, 0.5 + seed / 100, accuracy),
        )
    return folder


# reading and grouping


def test_finds_complete_and_incomplete_runs_once(tmp_path):
    for job in (0, 2, 10):
        write_run(tmp_path / "multirun" / str(job), 0.5, config=configuration(job))
    write_run(tmp_path / "killed")
    folders = [tmp_path, tmp_path / "multirun"]
    runs, unfinished = results.find_runs(folders)
    assert [run.folder.name for run in runs] == ["0", "2", "10"]
    assert [folder.name for folder in unfinished] == ["killed"]
    assert results.find_runs([tmp_path / "nowhere"]) == ([], [])
    folders = [tmp_path / "multirun" / job for job in ("2", "0")]
    assert [run.folder for run in results.find_runs(folders)[0]] == folders


def test_a_run_is_read_resolved(tmp_path):
    folder = write_run(tmp_path / "x", 0.5, config=configuration(7), overrides=["model=lif"])
    run = results.read_run(folder)
    assert (run.seed, run.overrides) == (7, ("model=lif",))
    assert (run.config["model"]["dt"], run.config["dataset"]["seed"]) == (0.001, 7)


def test_seed_and_reference_do_not_tell_variants_apart(tmp_path):
    write_run(tmp_path / "0", 0.5, config=configuration(0))
    write_run(tmp_path / "1", 0.5, config=configuration(1, reference={"value": 1}))
    write_run(tmp_path / "2", 0.5, config=configuration(1, time={"dt": 0.002, "steps": 10}))
    groups = results.describe_groups(results.find_runs([tmp_path])[0])
    assert [len(group.runs) for group in groups] == [2, 1]


def test_the_fingerprint_ignores_the_order_of_keys_but_not_a_value():
    assert results.fingerprint({"a": 1, "b": 2}) == results.fingerprint({"b": 2, "a": 1})
    assert results.fingerprint({"a": 1}) != results.fingerprint({"a": 2})


def test_the_newest_run_of_a_seed_counts(tmp_path):
    for name, accuracy, finished in (("a", 0.9, "2026-02-01"), ("b", 0.1, "2026-01-01")):
        write_run(tmp_path / name, accuracy, summary={"finished": finished})
    (group,) = results.describe_groups(results.find_runs([tmp_path])[0])
    assert (group.values("test/accuracy"), group.repeats) == ({0: 0.9}, 1)
    assert "older ones left out: 1" in results.table([group], ["test/accuracy"]).caption


def test_what_energy_is_estimated_for_does_not_tell_variants_apart(tmp_path):
    write_run(tmp_path / "0", 0.5, config=configuration(0, energy={}))
    write_run(tmp_path / "1", 0.5, config=configuration(1, energy={"loihi": {"ac": 1e-12}}))
    (group,) = results.describe_groups(results.find_runs([tmp_path])[0])
    assert group.values("test/accuracy") == {0: 0.5, 1: 0.5}


def test_a_metric_that_some_seeds_lack_is_counted_by_those_that_have_it(tmp_path, capsys):
    """Neither a missing value nor `true` is a number."""
    for seed, found in enumerate(({"extra": 1.0}, {"extra": 3.0}, {"extra": True}, {})):
        write_run(tmp_path / str(seed), 0.5, config=configuration(seed), summary=found)
    file = tmp_path / "table.csv"
    assert summarize.main([str(tmp_path), "--metric", "extra", "--csv", str(file)]) == 0
    assert "2.0 ± 1.4 (n=2)" in capsys.readouterr().out
    (row,) = csv.DictReader(file.open())
    assert list(row) == ["configuration", "n", "extra mean", "extra sd", "extra n"]
    assert (row["n"], row["extra mean"], row["extra n"]) == ("4", "2.0", "2")
    assert float(row["extra sd"]) == pytest.approx(2**0.5)


def label(tmp_path, *variants):
    for index, (config, overrides) in enumerate(variants):
        write_run(tmp_path / str(index), 0.5, config=config, overrides=overrides)
    return [group.label for group in results.describe_groups(results.find_runs([tmp_path])[0])]


def test_groups_are_labelled_by_the_overrides_that_differ(tmp_path):
    shared = ["dataset=yinyang", "seed=1"]
    labels = label(
        tmp_path,
        (configuration(model="Lif"), shared),
        (configuration(model="Alif"), [*shared, "model=alif"]),
    )
    assert labels == ["default", "model=alif"]


def test_groups_with_the_same_overrides_are_labelled_by_their_settings(tmp_path):
    other_model = configuration(model="Alif")
    other_model["model"]["beta"] = 1.6
    labels = label(
        tmp_path,
        (configuration(), ["dataset=yinyang"]),
        (other_model, ["dataset=yinyang"]),
        (configuration(time={"dt": 0.001, "steps": 20}), ["dataset=yinyang"]),
    )
    assert labels == [
        "model=Lif time.steps=10",
        "model=Alif time.steps=10",
        "model=Lif time.steps=20",
    ]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("summary.json", "{", "delete this file alone.*with python train.py resume=.*/x$"),
        ("summary.json", "1", "summary.json: cannot be read"),
        (".hydra/config.yaml", "a: [", "config.yaml: cannot be read"),
        (".hydra/config.yaml", "- 1", "no whole number as seed"),
        (".hydra/overrides.yaml", "[", "overrides.yaml: cannot be read"),
        (".hydra/config.yaml", "a: 1", "no whole number as seed"),
        (".hydra/config.yaml", "seed: 1\na: ${b}", "cannot be read"),
    ],
)
def test_a_broken_file_is_named(tmp_path, file, text, message):
    (write_run(tmp_path / "x", 0.5) / file).write_text(text)
    with pytest.raises(RunError, match=message):
        results.find_runs([tmp_path])


# numbers


def test_mean_and_sample_deviation():
    found = comparison.summarize([0.94, 0.96, 0.98])
    assert (found.mean, found.deviation, found.count) == (
        pytest.approx(0.96),
        pytest.approx(0.02),
        3,
    )
    assert comparison.summarize([0.5]).deviation is None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.94, 0.96, 0.98], "0.960 ± 0.020"),
        ([100, 200], "150 ± 71"),
        ([123456.0], "123456"),
        ([0.5, 0.5], "0.5 ± 0"),
        ([math.nan, 0.5], "nan ± nan"),
        ([math.inf, -math.inf], "nan ± nan"),
    ],
)
def test_a_statistic_shows_two_digits_of_its_deviation(values, text):
    assert str(comparison.summarize(values)) == text


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_t_quantile_against_tables(degrees, quantile):
    assert comparison.t_quantile(0.975, degrees) == pytest.approx(quantile, abs=5e-4)


def test_t_quantile_of_one_degree_is_the_cauchy_distribution():
    assert comparison.t_quantile(0.95, 1) == pytest.approx(math.tan(math.pi * 0.45), rel=1e-9)
    assert comparison.t_quantile(0.5, 5) == pytest.approx(0, abs=1e-9)


def test_paired_difference_by_hand():
    """Differences 1, 2, 3, 4: mean 2.5, deviation sqrt(5/3), t(3) = 3.182."""
    a, b = {0: 2, 1: 4, 2: 6, 3: 8, 9: 50}, {0: 1, 1: 2, 2: 3, 3: 4, 7: -50}
    found = comparison.paired_difference(a, b)
    width = 3.182446 * math.sqrt(5 / 3) / 2
    assert found.interval == pytest.approx((2.5 - width, 2.5 + width), rel=1e-6)
    assert (found.seeds, found.unpaired_a, found.unpaired_b) == ((0, 1, 2, 3), (9,), (7,))


def test_one_common_seed_has_no_interval_and_none_is_an_error():
    assert comparison.paired_difference({0: 1.0}, {0: 0.5}).interval is None
    with pytest.raises(RunError, match=r"A has 0, B has 1, 2; run both with the same seeds"):
        comparison.paired_difference({0: 1.0}, {1: 0.5, 2: 0.5})


def test_seeds_needed():
    """With mean = deviation, t(n - 1) / sqrt(n) is 1.05 for n = 6 and 0.92 for n = 7."""
    assert comparison.seeds_needed(comparison.Statistic(-1.0, 1.0, 2)) == 7
    assert comparison.seeds_needed(comparison.Statistic(0.0, 1.0, 2)) is None
    assert comparison.seeds_needed(comparison.Statistic(1e-6, 1.0, 2)) is None
    assert comparison.seeds_needed(comparison.Statistic(math.nan, math.nan, 2)) is None
    assert comparison.seeds_needed(comparison.Statistic(0.0195, 1.0, 2)) is None  # 10,103


@pytest.mark.parametrize("mean", [1.0, -0.5, 0.2, 0.1])
def test_as_many_seeds_as_needed_tell_and_one_less_does_not(mean):
    count = comparison.seeds_needed(comparison.Statistic(mean, 1.0, 2))
    widths = [comparison.t_quantile(0.975, n - 1) / math.sqrt(n) for n in (count - 1, count)]
    assert widths[1] < abs(mean) <= widths[0]


# summarize.py


def test_summarize(tmp_path, capsys):
    write_variant(
        tmp_path / "a", {0: 0.94, 1: 0.96, 2: 0.98}, overrides=["regularizer=[readout,burst]"]
    )
    write_variant(tmp_path / "b", {0: 0.5}, "Alif", **{"seconds/total": 12.5})
    killed = write_run(tmp_path / "killed")
    file = tmp_path / "new" / "table.csv"
    assert summarize.main([str(tmp_path), "--csv", str(file)]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    (row,) = [line for line in lines if "regularizer=[readout,burst]" in line]
    assert re.split(r"\s{2,}", row)[1:] == ["3", "0.960 ± 0.020", "-"]
    assert lines[-2].startswith("1 run is incomplete")
    assert lines[-1] == f"  python train.py resume={killed}"
    first, second = csv.DictReader(file.open())
    assert float(first["test/accuracy sd"]) == pytest.approx(0.02)
    assert (second["n"], second["test/accuracy sd"], second["seconds/total mean"]) == (
        "1",
        "",
        "12.5",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: no complete run there; start one: python train.py"),
        (["killed"], "continue an incomplete one:\npython train.py resume=killed"),
        (["a", "--metric", "test/acuracy"], "metric 'test/acuracy': .*choose test/accuracy"),
    ],
)
def test_summarize_refuses(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write_run(Path("killed"))
    write_run(Path("a"), 0.5)
    assert summarize.main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)


# compare.py


def run_compare(tmp_path, *arguments):
    plot = tmp_path / "plots" / "curves.png"
    status = compare.main([*map(str, arguments), "--plot", str(plot)])
    return status, plot


def test_compare_tells_the_better(tmp_path, capsys):
    a = write_variant(tmp_path / "a", {0: 0.91, 1: 0.92, 2: 0.93, 3: 0.9}, "Alif")
    b = write_variant(tmp_path / "b", {0: 0.81, 1: 0.83, 2: 0.82, 7: 0.1})
    status, plot = run_compare(tmp_path, a, b)
    out = capsys.readouterr().out
    assert status == 0 and plot.read_bytes().startswith(b"\x89PNG")
    assert "A: 0.920 ± 0.010" in out and "(model=Alif)" in out
    # differences 0.10, 0.09, 0.11: 0.1 ± 4.303 * 0.01 / sqrt(3)
    assert "A - B: 0.100 ± 0.010, 95 % interval [0.07516, 0.1248]" in out
    assert "only A has seed 3: left out" in out and "only B has seed 7: left out" in out
    assert "A is better, by 0.1 over 3 seeds." in out
    run_compare(tmp_path, b, a)
    assert "B is better, by 0.1 over 3 seeds." in capsys.readouterr().out


@pytest.mark.parametrize(("size", "notes"), [(100, False), (200, True)])
def test_compare_notes_that_the_data_are_not_the_same(tmp_path, capsys, size, notes):
    for name, own in (("a", 100), ("b", size)):
        data = {"_target_": "snnexp.datasets.YinYang", "size": own}
        for seed in (0, 1):
            config = configuration(seed, dataset=data)
            write_run(tmp_path / name / str(seed), 0.5 + seed / 10, config=config)
    assert run_compare(tmp_path, tmp_path / "a", tmp_path / "b")[0] == 0
    note = "which pairing supposes: A dataset.size=100, B dataset.size=200\n"
    assert (note in capsys.readouterr().out) == notes


@pytest.mark.parametrize(
    ("metric", "options", "winner"),
    [
        ("test/loss", [], "B"),
        ("test/loss", ["--direction", "maximize"], "A"),
        ("test/accuracy_low", [], "A"),
        ("test/accuracy_sd", [], "B"),
        ("test/accuracy_chips_sd", [], "B"),
    ],
)
def test_compare_knows_what_is_better(tmp_path, capsys, metric, options, winner):
    for name, offset in (("a", 1.0), ("b", 0.0)):
        for seed in (0, 1):
            loss = {metric: offset + seed / 100}
            write_run(tmp_path / name / str(seed), 0.5, config=configuration(seed), summary=loss)
    run_compare(tmp_path, tmp_path / "a", tmp_path / "b", "--metric", metric, *options)
    assert f"{winner} is better" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ({0: math.nan, 1: 0.5}, {0: 0.5, 1: 0.5}, "a value is not a finite number"),
        ({0: 0.6}, {0: 0.5}, "one common seed gives no interval; run at least 2 more seeds"),
        ({0: 0.5, 1: 0.5}, {0: 0.5, 1: 0.5}, "over 2 seeds there is no difference at all"),
        ({0: 1.0, 1: 0.0, 2: 0.5}, {0: 0.0, 1: 0.0, 2: 0.0}, r"roughly 4 more seeds .*\(7 in all"),
    ],
)
def test_compare_says_when_it_cannot_tell(tmp_path, capsys, a, b, sentence):
    places = [write_variant(tmp_path / name, own) for name, own in (("a", a), ("b", b))]
    assert run_compare(tmp_path, *places)[0] == 0
    assert re.search(f"cannot be told.*{sentence}", capsys.readouterr().out)


def test_compare_selects_within_a_multirun(tmp_path, capsys):
    for name in ("Lif", "Alif"):
        write_variant(
            tmp_path / "x" / name, {0: 0.5, 1: 0.6}, name, overrides=[f"model={name.lower()}"]
        )
    x = tmp_path / "x"
    assert run_compare(tmp_path, f"{x}:model=lif", f"{x}:model=alif")[0] == 0
    assert run_compare(tmp_path, x, x)[0] == 2
    error = capsys.readouterr().err
    assert "holds 2 configurations" in error
    assert error.endswith(f"choose one by an override, as {x}:model=alif does\n")
    assert run_compare(tmp_path, f"{x}:model=li", x)[0] == 2
    assert "known are model=alif, model=lif" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "way"),
    [
        (
            {"A": ["model=lif", "time.steps=20"], "B": ["model=lif"]},
            "by an override, as {x}:time.steps=20 does",
        ),
        ({"A": [], "B": []}, "by its folder; {x}/A/0 is a run of the first one"),
    ],
)
def test_compare_says_how_to_choose_one_of_several(tmp_path, capsys, words, way):
    x = tmp_path / "x"
    for steps, (name, own) in enumerate(words.items(), start=20):
        config = configuration(0, time={"dt": 0.001, "steps": steps})
        write_run(x / name / "0", 0.5, config=config, overrides=[*own, "seed=0"])
    assert run_compare(tmp_path, x, x)[0] == 2
    assert capsys.readouterr().err.endswith(f"choose one {way.format(x=x)}\n")


def test_compare_without_a_common_seed(tmp_path, capsys):
    places = [write_variant(tmp_path / str(seed), {seed: 0.5}) for seed in (0, 1)]
    status, plot = run_compare(tmp_path, *places)
    assert status == 2 and not plot.exists()
    assert "no common seed: A has 0, B has 1" in capsys.readouterr().err


def test_only_curves_of_common_seeds_are_drawn(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(compare, "_draw", lambda axes, curves, *rest: drawn.append(curves))
    a = write_variant(tmp_path / "a", {0: 0.9, 1: 0.8})
    b = write_variant(tmp_path / "b", {1: 0.7, 2: 0.6})
    compare.plot(compare.select(str(a)), compare.select(str(b)), tmp_path / "x.png")
    assert drawn == [[{0: 0.3, 1: 0.51, 2: 0.8}], [{0: 0.3, 1: 0.51, 2: 0.7}]]


def test_compare_takes_runs_with_all_of_the_named_overrides(tmp_path):
    for name, words in (("0", ["a=1", "b=1"]), ("1", ["a=1", "+b=2"]), ("2", ["a=2", "+b=2"])):
        write_run(tmp_path / name, 0.5, config=configuration(model=name), overrides=words)
    (run,) = compare.select(f"{tmp_path}:a=1:b=2").runs
    assert run.folder.name == "1"


def test_the_mean_curve_ends_with_the_shortest_seed(tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    compare._draw(axes, [{0: 0.0, 1: 0.4, 2: 0.8}, {0: 0.2, 1: 0.6}], "A", "C0")
    mean = axes.lines[-1]
    assert list(mean.get_xdata()) == [0, 1]
    assert list(mean.get_ydata()) == pytest.approx([0.1, 0.5])


# reproduce.py

REFERENCE = {
    "source": "a paper",
    "seeds": [0, 1],
    "metric": "test/accuracy",
    "value": 0.9,
    "tolerance": 0.05,
}


class Trainer:
    """Stands for the command line: writes a run of `steps` steps, or fails for some seeds."""

    def __init__(self, root, accuracies, steps=10):
        self.root, self.accuracies, self.steps = root, accuracies, steps
        self.commands = []

    def __call__(self, command):
        self.commands.append(command)
        values = dict(word.split("=", 1) for word in command[2:])
        seed = int(values["seed"])
        if seed not in self.accuracies:
            return 1
        config = configuration(seed, time={"dt": 0.001, "steps": self.steps})
        write_run(self.root / values["hydra.run.dir"], self.accuracies[seed], config=config)
        return 0


def plan(root, *, steps=10, only=None, **reference):
    """The plan of experiment `toy`, composed here instead of from `conf/`."""
    cfg = OmegaConf.create(
        configuration(time={"dt": 0.001, "steps": steps}, reference=REFERENCE | reference)
    )
    return reproduce.prepare("toy", only, [], root / "results", lambda name, extra: cfg)


def test_the_readmes_table_has_the_means_of_current_rows(tmp_path):
    with pytest.raises(RunError, match="toy: no current row"):
        reproduce.tell([plan(tmp_path)])
    reproduce.reproduce([plan(tmp_path)], tmp_path, Trainer(tmp_path, {0: 0.9, 1: 0.92}))
    head, rule, row = reproduce.tell([plan(tmp_path)])
    assert head.count("|") == rule.count("|") == row.count("|") == 8
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["`experiment=toy`", "91.00 ± 1.41 %", "2"]  # 2 / sqrt(2)


def test_reproduce_runs_each_seed_once(tmp_path, capsys):
    trainer = Trainer(tmp_path, {0: 0.9, 1: 0.92})
    assert reproduce.reproduce([plan(tmp_path)], tmp_path, trainer) == 0
    assert trainer.commands[1][1:] == [
        "train.py",
        "experiment=toy",
        "seed=1",
        "hydra.run.dir=outputs/reproduce/toy/1",
    ]
    out = capsys.readouterr().out
    assert "0.910 ± 0.014" in out and "within" in out
    first, second = csv.DictReader((tmp_path / "results" / "toy.csv").open())
    assert (first["value"], second["value"]) == ("0.9", "0.92")
    assert (first["device"], first["torch"], len(first["configuration"])) == ("cpu", "2.0", 12)
    assert reproduce.reproduce([plan(tmp_path)], tmp_path, trainer) == 0
    assert len(trainer.commands) == 2  # the rows were used
    assert reproduce.reproduce([plan(tmp_path, only=(0, 1))], tmp_path, Trainer(tmp_path, {})) == 0


def test_a_complete_folder_is_read_and_not_run(tmp_path):
    write_run(tmp_path / "outputs/reproduce/toy/0", 0.9)
    trainer = Trainer(tmp_path, {})
    assert reproduce.reproduce([plan(tmp_path, only=(0,))], tmp_path, trainer) == 0
    assert trainer.commands == []


@pytest.mark.parametrize(
    ("accuracies", "reference", "status"),
    [
        ({0: 0.84, 1: 0.85}, {}, 1),
        ({0: 0.84, 1: 0.86}, {}, 0),  # the mean counts, and the edge is inside
        ({0: 0.99, 1: 0.99}, {}, 0),
        ({0: 0.99, 1: 0.99}, {"direction": "minimize"}, 1),
        ({0: 0.1, 1: 0.1}, {"direction": "minimize"}, 0),
        ({0: math.nan, 1: 0.9}, {}, 1),
        ({0: 0.9}, {}, 1),  # seed 1 fails
        ({}, {}, 1),
    ],
)
def test_the_exit_status_is_the_verdict(tmp_path, accuracies, reference, status):
    trainer = Trainer(tmp_path, accuracies)
    assert reproduce.reproduce([plan(tmp_path, **reference)], tmp_path, trainer) == status


def test_a_failed_seed_is_named_and_has_no_row(tmp_path, capsys):
    trainer = Trainer(tmp_path, {1: 0.9})
    reproduce.reproduce([plan(tmp_path)], tmp_path, trainer)
    out = capsys.readouterr().out
    assert "toy, seed 0: failed with exit status 1" in out
    assert "1 of 2 seeds failed" in out
    assert len(list(csv.DictReader((tmp_path / "results" / "toy.csv").open()))) == 1


def test_rows_and_folders_of_another_configuration_are_not_used(tmp_path, capsys):
    reproduce.reproduce([plan(tmp_path)], tmp_path, Trainer(tmp_path, {0: 0.1, 1: 0.1}))
    changed, trainer = plan(tmp_path, steps=20), Trainer(tmp_path, {0: 0.9, 1: 0.9}, steps=20)
    assert reproduce.reproduce([changed], tmp_path, trainer) == 0
    out = capsys.readouterr().out
    assert "the rows of seed 0, 1" in out and "another configuration" in out
    place = f"hydra.run.dir=outputs/reproduce/toy/0-{changed.fingerprint}"
    assert trainer.commands[0][-1] == place
    rows = list(csv.DictReader((tmp_path / "results" / "toy.csv").open()))
    assert len({row["configuration"] for row in rows}) == 2 and len(rows) == 4


def test_a_run_of_another_configuration_than_composed_fails(tmp_path, capsys):
    trainer = Trainer(tmp_path, {0: 0.9, 1: 0.9}, steps=11)
    assert reproduce.reproduce([plan(tmp_path)], tmp_path, trainer) == 1
    assert "is of another configuration" in capsys.readouterr().out


def test_a_metric_that_no_run_has_is_an_error(tmp_path):
    trainer = Trainer(tmp_path, {0: 0.9, 1: 0.9})
    with pytest.raises(RunError, match=r"'test/acc': .*choose test/accuracy"):
        reproduce.reproduce([plan(tmp_path, metric="test/acc")], tmp_path, trainer)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", ",".join(reproduce.COLUMNS) + "\ntoy,x,y\n"])
def test_a_foreign_csv_is_refused_before_a_run(tmp_path, text):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "toy.csv").write_text(text)
    trainer = Trainer(tmp_path, {0: 0.9, 1: 0.9})
    with pytest.raises(RunError, match=r"toy\.csv"):
        reproduce.reproduce([plan(tmp_path)], tmp_path, trainer)
    assert trainer.commands == []


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"seeds": []}, r"reference\.seeds: \[\]"),
        ({"seeds": [0, 0]}, r"reference\.seeds"),
        ({"value": "0.9 %"}, r"reference\.value: '0\.9 %'"),
        ({"tolerance": -1}, r"reference\.tolerance: -1"),
        ({"direction": "up"}, "choose maximize or minimize"),
        ({"tol": 1}, "tol: unknown; give source, seeds"),
    ],
)
def test_a_bad_reference_is_refused(tmp_path, reference, message):
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, **reference)


def test_an_experiment_without_a_reference_is_refused(tmp_path):
    cfg = OmegaConf.create(configuration())
    with pytest.raises(ConfigError, match=r"toy\.yaml, reference: None; give source, seeds"):
        reproduce.prepare("toy", None, [], tmp_path, lambda name, extra: cfg)


def test_unknown_experiments_and_own_overrides_exit_with_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "yinyang_bss2.yaml").touch()
    monkeypatch.setattr(reproduce.config, "directory", lambda: tmp_path)
    assert reproduce.main(["yinyang_bss"]) == 2
    assert "experiment=yinyang_bss: unknown; choose yinyang_bss2" in capsys.readouterr().err
    assert reproduce.main(["yinyang_bss2", "--", "seed=3"]) == 2
    assert "--seeds" in capsys.readouterr().err


def test_composing_gives_the_configuration_that_a_run_stores(tmp_path, monkeypatch):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "train.yaml").write_text(
        "defaults: [_self_, {experiment: null}]\nseed: 1\ntime: {dt: 1e-3, steps: 2}\n"
    )
    (tmp_path / "experiment" / "toy.yaml").write_text(
        "# @package _global_\ntime: {steps: 3}\nreference: {value: 1}\n"
    )
    monkeypatch.setattr(reproduce.config, "directory", lambda: tmp_path)
    cfg = reproduce.compose("toy", ["time.dt=0.01"])
    assert results.setting_of(cfg) == {"time": {"dt": 0.01, "steps": 3}}
    with pytest.raises(ConfigError, match="cannot be composed"):
        reproduce.compose("toy", ["tiem=1"])


def test_robustness_takes_chips_one_by_one_and_leaves_floats_out(tmp_path, capsys):
    def chip(way):
        preset = {"name": "delgrad"}
        return configuration(backend={"level": "chip", "training": way, "preset": preset})

    several = {"test/accuracy_chips": [0.8, 0.9]}
    write_run(tmp_path / "0", 0.85, config=chip("float"), summary=several)
    write_run(tmp_path / "1", 0.94, config=chip("in_the_loop"))
    write_run(tmp_path / "2", 0.96, config=chip("in_the_loop"))
    write_run(tmp_path / "3", 0.1, config=configuration(backend={"level": "reference"}))
    figure = tmp_path / "chips.png"
    files = ["--csv", str(tmp_path / "new" / "table.csv"), "--figure", str(figure)]
    assert robustness.main([str(tmp_path), *files]) == 0
    assert figure.stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "85.00 ± 7.07 (2)" in shown and "95.00 ± 1.41 (2)" in shown
    rows = (tmp_path / "new" / "table.csv").read_text().splitlines()
    assert rows[1].endswith(",2,0.8 0.9")
    assert [row.split(",")[:2] for row in rows[1:]] == [
        ["delgrad", "float"],
        ["delgrad", "in_the_loop"],
    ]
    assert robustness.main([str(tmp_path / "nowhere")]) == 2


def test_overlay_draws_finished_runs_from_disk(tmp_path, capsys, monkeypatch):
    """Two runs of different length; what is drawn is what their tables say."""
    drawn = []
    monkeypatch.setattr(
        overlay.figures,
        "accuracy_overlay",
        lambda *given: drawn.append(given) or Figure(),
    )
    source = {"dataset/source": "made SHD"}
    one = write_run(tmp_path / "one", 0.5, curve=(0.05, 0.5, 0.9), summary=source)
    two = write_run(tmp_path / "two", 0.5, curve=(0.05, 0.4), summary=source)
    plot = tmp_path / "new" / "figure.png"
    assert overlay.main([str(one), str(two), "--labels", "A", "B", "--plot", str(plot)]) == 0
    curves = {"A": {0: 0.05, 1: 0.5, 2: 0.9}, "B": {0: 0.05, 1: 0.4}}
    assert drawn == [(curves, 0.9, "made SHD")]
    assert plot.stat().st_size > 1000 and "figure.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{done}", "{begun}"], "begun: no finished run; it has no summary.json"),
        (["{done}", "{empty}"], "empty: no validation accuracies in metrics.csv"),
        (["{done}", "{done}"], "for 2 runs; give each one of its own"),
        (["{done}", "--labels", "A", "B"], "for 1 runs; give each one of its own"),
        (["{done}", "--line", "90"], "--line: 90.0; it must lie between 0 and 1"),
    ],
)
def test_overlay_refuses(tmp_path, capsys, arguments, message):
    places = {
        "done": write_run(tmp_path / "done", 0.5, curve=(0.1, 0.5)),
        "begun": write_run(tmp_path / "begun", curve=(0.1,)),
        "empty": write_run(tmp_path / "empty", 0.5),
    }
    plot = tmp_path / "figure.png"
    words = [word.format(**places) for word in arguments]
    assert overlay.main([*words, "--plot", str(plot)]) == 2
    assert message in capsys.readouterr().err
    assert not plot.exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (compare, ["A", "B", "--plot"]),
        (overlay, ["A", "--plot"]),
        (frontier, ["A", "--figure"]),
        (robustness, ["A", "--figure"]),
    ],
    ids=["compare", "overlay", "frontier", "robustness"],
)
def test_a_picture_of_no_known_format_is_refused_before_anything_is_read(script, words, capsys):
    with pytest.raises(SystemExit) as ended:
        script.main([*words, "x.foo"])
    assert ended.value.code == 2
    expected = f"argument {words[-1]}: x.foo: no such format; end the name with .png, .pdf or .svg"
    assert expected in capsys.readouterr().err


def test_the_frontier_is_drawn_from_completed_trials(tmp_path, capsys):
    table, picture = tmp_path / "trials.csv", tmp_path / "new" / "front.svg"
    head = f"state,{frontier.ACCURACY},{frontier.OPERATIONS},model.hidden_sizes.0\n"
    table.write_text(head + "COMPLETE,0.98,2000,60\nCOMPLETE,0.95,1000,30\nFAIL,,,90\n")
    trials = frontier.read(table, "model.hidden_sizes.0")
    assert [row["model.hidden_sizes.0"] for row in trials] == ["30", "60"]  # by operations
    axes = frontier.draw({"code": trials}, "model.hidden_sizes.0").axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[1000, 95], [2000, 98]]  # in per cent
    assert frontier.main([f"code={table}", "--figure", str(picture)]) == 0
    assert "code" in picture.read_text()
    assert frontier.main([str(table), "--beside", "seed", "--figure", str(picture)]) == 2
    assert "no completed trials with seed" in capsys.readouterr().err
