"""The schedules of conf/, stepped through a run of 10 epochs of 8 batches."""

import math

import pytest
import torch

from snnexp.config import instantiate
from snnexp.errors import ConfigError
from snnexp.experiment import build
from snnexp.session import compose as compose_config

LR, EPOCHS, BATCHES = 0.02, 10, 8
STEPS = EPOCHS * BATCHES


def rates(option, **settings):
    """Lightning's record, and the learning rate of each interval of the run, and after it."""
    overrides = [f"scheduler.schedule.{name}={value}" for name, value in settings.items()]
    cfg = compose_config([f"scheduler={option}", f"optimizer.lr={LR}", *overrides])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    record = instantiate(cfg.scheduler).configure(optimizer, steps=STEPS, epochs=EPOCHS)
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(STEPS if record["interval"] == "step" else EPOCHS):
        optimizer.step()
        record["scheduler"].step()
        found.append(optimizer.param_groups[0]["lr"])
    return record, found


@pytest.mark.parametrize(
    ("option", "settings", "interval", "formula"),
    [
        ("cosine", {}, "step", lambda k: LR * (1 + math.cos(math.pi * k / STEPS)) / 2),
        ("exponential", {"gamma": 0.9}, "epoch", lambda k: LR * 0.9**k),
        ("step", {"gamma": 0.8, "step_size": 3}, "epoch", lambda k: LR * 0.8 ** (k // 3)),
        ("none", {}, "epoch", lambda k: LR),
    ],
    ids=["cosine", "exponential", "step", "none"],
)
def test_rates_follow_the_formula_to_the_runs_end(option, settings, interval, formula):
    record, found = rates(option, **settings)
    assert record["interval"] == interval
    assert "monitor" not in record
    expected = [formula(k) for k in range(len(found))]
    assert found == pytest.approx(expected, abs=1e-12)
    assert len(found) == 1 + (STEPS if interval == "step" else EPOCHS)


def test_a_schedule_of_epochs_ends_with_their_number():
    cfg = compose_config(["scheduler=cosine", "scheduler.interval=epoch"])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    record = instantiate(cfg.scheduler).configure(optimizer, steps=STEPS, epochs=EPOCHS)
    assert (record["interval"], record["scheduler"].T_max) == ("epoch", EPOCHS)


def test_cosine_ends_at_zero():
    assert rates("cosine")[1][-1] == pytest.approx(0, abs=1e-15)


def test_one_cycle_peaks_at_the_optimizers_rate_after_three_tenths():
    record, found = rates("one_cycle", pct_start=0.3)
    assert record["interval"] == "step"
    assert max(found) == pytest.approx(LR)
    assert found.index(max(found)) == 0.3 * STEPS - 1
    assert found[0] == pytest.approx(LR / 25)
    assert found[STEPS - 1] == pytest.approx(LR / 25 / 1e4)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_one_cycle_of_any_share_can_be_built(compose, share):
    _, classifier, _ = build(
        compose("scheduler=one_cycle", f"scheduler.schedule.pct_start={share}")
    )
    assert classifier.schedule.total == "total_steps"


def test_plateau_tells_lightning_what_to_watch():
    settings = {"factor": 0.7, "patience": 2}
    overrides = [f"scheduler.schedule.{name}={value}" for name, value in settings.items()]
    cfg = compose_config(["scheduler=plateau", *overrides])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    record = instantiate(cfg.scheduler).configure(optimizer, steps=STEPS, epochs=EPOCHS)
    assert (record["monitor"], record["interval"]) == ("val/accuracy", "epoch")
    for accuracy in (0.5, 0.6, 0.6, 0.6, 0.6):  # stands still for more than two epochs
        record["scheduler"].step(accuracy)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.7 * LR)


def test_an_unknown_interval_is_refused():
    cfg = compose_config(["scheduler.interval=batch"])
    with pytest.raises(
        ConfigError, match=r"scheduler\.interval: 'batch'; choose one of step, epoch"
    ):
        instantiate(cfg.scheduler)
