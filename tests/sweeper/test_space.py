"""Hydra's grammar as a search space, and expressions over it."""

import optuna
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from snnexp.errors import ConfigError
from snnexp.sweeper import space
from snnexp.sweeper.expressions import evaluate

BASE = OmegaConf.create({"time": {"steps": 60}, "model": {"hidden_sizes": [8, 4]}})


def read(params, arguments=(), conditions=None):
    loader = ConfigLoaderImpl(ConfigSearchPathImpl())
    return space.read(params, list(arguments), conditions or {}, loader)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(1,2)", FloatDistribution(1, 2)),
        ("int(interval(1,8))", IntDistribution(1, 8)),
        ("tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("tag(log,int(interval(2,64)))", IntDistribution(2, 64, log=True)),
        ("range(1,10,4)", IntDistribution(1, 9, step=4)),
        ("range(1,4)", IntDistribution(1, 3)),  # Hydra's range leaves its end out
        ("range(0.5,2.1,0.5)", FloatDistribution(0.5, 2.0, step=0.5)),
        ("range(0.8,1.0,0.05)", FloatDistribution(0.8, 0.95, step=0.05)),
        ("range(3,0,-1)", IntDistribution(1, 3)),
        ("choice(1,0.5,true)", CategoricalDistribution([1, 0.5, True])),
        ("lif,cuba_lif", CategoricalDistribution(["lif", "cuba_lif"])),
        ("[8],[8,4]", CategoricalDistribution(["[8]", "[8,4]"])),
    ],
)
def test_sweeps_become_distributions(text, expected):
    ((parameter,), _) = read({"a": text})
    assert parameter.distribution == expected


def test_the_command_line_replaces_what_is_configured():
    params = {"a": "interval(0,1)", "b": "interval(0,1)", "c": "interval(0,1)"}
    parameters, shared = read(params, ["a=5", "b=range(0,3)", "d=7"])
    assert [(p.key, p.text) for p in parameters] == [("c", "interval(0,1)"), ("b", "range(0,3)")]
    assert shared == ["a=5", "d=7"]


def test_bounds_and_presence_depend_on_earlier_parameters():
    params = {
        "layers": "int(interval(1,3))",
        "size": "int(interval(1,100))",
        "late": "interval(0,1)",
    }
    conditions = {"size": {"high": "time.steps / layers"}, "late": {"when": "layers > 1"}}
    parameters, _ = read(params, conditions=conditions)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = [space.suggest(parameters, study.ask(), BASE) for _ in range(60)]
    assert {values["layers"] for values in seen} == {1, 2, 3}
    for layers in (1, 2, 3):
        sizes = [values["size"] for values in seen if values["layers"] == layers]
        assert max(sizes) <= 60 // layers
        assert max(sizes) > 40 // layers, "the rest of the range is used"
    assert all(("late" in values) == (values["layers"] > 1) for values in seen)


def test_conditions_read_what_earlier_parameters_make_of_the_configuration():
    parts = {"model": {"hidden_sizes": [8, 4]}, "time": {"steps": 60}, "shared": "${time.steps}"}
    choices = {"model": "lif", "model/init": "normal"}
    base = OmegaConf.create(parts | {"hydra": {"runtime": {"choices": choices}}})
    for expression, earlier, value in (
        ("600 / model.hidden_sizes.0", {"model.hidden_sizes.0": 30}, 20),
        ("600 / model.hidden_sizes[0]", {"model.hidden_sizes.0": 30}, 20),
        ("sum(model.hidden_sizes)", {"model.hidden_sizes.0": 30}, 34),
        ("len(model.hidden_sizes)", {"model.hidden_sizes": "[1,2,3]"}, 3),
        ("shared", {"time.steps": 7}, 7),
        ("model == 'lif'", {}, True),
        ("model == 'lif'", {"time.steps": 7, "model/init": "kaiming"}, True),
        ("model == 'lif'", {"model": "cuba_lif"}, False),
    ):
        found = evaluate(expression, lambda key, known=earlier: space.look_up(key, known, base))
        assert found == value, expression
    assert base.time.steps == 60


def test_the_points_that_are_tried_first_have_every_choice_that_conditions_allow():
    params = {
        "model": "cuba,lif,alif",
        "beta": "interval(0.8,1)",
        "slope": "choice(a,b)",
        "layers": "int(interval(1,3))",
        "size": "int(interval(1,9))",
        "late": "interval(0,1)",
    }
    conditions = {
        "beta": {"when": "model == 'lif'"},
        "slope": {"when": "model != 'cuba'"},
        "size": {"low": "2 * layers"},
        "late": {"when": "layers > 2"},
    }
    parameters, _ = read(params, conditions=conditions)
    shallow, deep = {"layers": 1, "size": 2}, {"layers": 3, "size": 6, "late": 0}
    assert space.tried(parameters, BASE) == [
        ({}, {"model": "cuba", **shallow}),
        ({"model": "lif"}, {"model": "lif", "beta": 0.8, "slope": "a", **shallow}),
        ({"model": "alif"}, {"model": "alif", "slope": "a", **shallow}),
        (
            {"model": "lif", "beta": 1},  # it might have brought what no point had yet
            {"model": "lif", "beta": 1, "slope": "a", **shallow},
        ),
        (
            {"model": "lif", "slope": "b"},
            {"model": "lif", "beta": 0.8, "slope": "b", **shallow},
        ),
        ({"layers": 3}, {"model": "cuba", **deep}),
    ]


def test_bounds_that_leave_nothing_are_named():
    (parameters, _) = read({"a": "interval(1,2)"}, conditions={"a": {"high": "0.5"}})
    with pytest.raises(ConfigError, match=r"conditions.a: nothing is left between 1 and 0.5"):
        space.suggest(parameters, optuna.create_study().ask(), BASE)


@pytest.mark.parametrize(
    ("text", "conditions", "low", "high"),
    [
        ("range(0.1,0.9,0.1)", {"high": "0.7"}, 0.1, 0.7),
        ("range(0.0,1.0,0.1)", {"low": "0.2"}, 0.2, 0.9),
        ("range(0.8,1.0,0.05)", {"low": "0.86"}, 0.9, 0.95),
        ("range(0.1,0.9,0.1)", {"low": "0.2", "high": "0.39"}, 0.2, 0.3),
        ("range(1,20,3)", {"low": "2", "high": "16"}, 4, 16),
        ("interval(0.1,0.9)", {"low": "0.0", "high": "1.0"}, 0.1, 0.9),
    ],
)
def test_bounds_keep_every_step_within_them(text, conditions, low, high):
    """0.1 + 6 x 0.1 is 0.7, though (0.7 - 0.1) / 0.1 in floats is below 6."""
    ((parameter,), _) = read({"a": text}, conditions={"a": conditions})
    found = parameter._within({}, BASE)
    assert (found.low, found.high) == (low, high)


def test_the_values_of_a_range_are_those_that_hydra_would_run():
    for text, values in (
        ("range(0.8,1.0,0.05)", [0.8, 0.85, 0.9, 0.95]),
        ("range(0.1,0.4,0.1)", [0.1, 0.2, 0.3]),
        ("range(1,8,3)", [1, 4, 7]),
    ):
        ((parameter,), _) = read({"a": text})
        assert parameter.values() == values


def test_a_grid_leaves_out_what_a_condition_takes_away():
    params = {"layers": "range(1,3)", "late": "choice(a,b)"}
    parameters, _ = read(params, conditions={"late": {"when": "layers > 1"}})
    assert list(space.grid(parameters, BASE)) == [
        {"layers": 1},
        {"layers": 2, "late": "a"},
        {"layers": 2, "late": "b"},
    ]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("model.hidden_sizes[0] * time.steps > 470", True),
        ("sum(model.hidden_sizes) == 12 and not time.steps < 60", True),
        ("max(model.hidden_sizes) // 3 - -1", 3),
        ("1 < len(model.hidden_sizes) < 2", False),
        ("model.hidden_sizes.0 - model.hidden_sizes.1 * 1.5", 2),
        ("'a.1' == \"a.1\"", True),
    ],
)
def test_expressions(expression, value):
    assert evaluate(expression, lambda key: OmegaConf.select(BASE, key)) == value


@pytest.mark.parametrize(
    "expression",
    [
        *("__import__('os')", "time.steps.__class__()", "[1, 2]", "lambda: 1", "2 ** 9", "1 +"),
        *("time.step > 1", "1 / 0", "'a' * time"),
    ],
)
def test_what_is_no_expression_is_refused(expression):
    with pytest.raises(ConfigError, match="cannot be evaluated"):
        evaluate(expression, lambda key: OmegaConf.select(BASE, key))
