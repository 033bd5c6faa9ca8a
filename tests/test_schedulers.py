"""The schedules of conf/, stepped through a run of 10 epochs of 8 batches."""

import math

import pytest
import torch

from snnexp.config import instantiate
from snnexp.session import compose

LR, EPOCHS, BATCHES = 0.02, 10, 8
STEPS = EPOCHS * BATCHES


def rates(option):
    """Lightning's record, and the learning rate of each interval of the run, and after it."""
    cfg = compose([f"scheduler={option}", f"optimizer.lr={LR}"])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    record = instantiate(cfg.scheduler).configure(optimizer, steps=STEPS, epochs=EPOCHS)
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(STEPS if record["interval"] == "step" else EPOCHS):
        optimizer.step()
        record["scheduler"].step()
        found.append(optimizer.param_groups[0]["lr"])
    return record, found


@pytest.mark.parametrize(
    ("option", "interval", "formula"),
    [
        ("cosine", "step", lambda k: LR * (1 + math.cos(math.pi * k / STEPS)) / 2),
        ("exponential", "epoch", lambda k: LR * 0.95**k),
        ("step", "epoch", lambda k: LR * 0.9 ** (k // 5)),
        ("none", "epoch", lambda k: LR),
    ],
)
def test_rates_follow_the_formula_to_the_runs_end(option, interval, formula):
    record, found = rates(option)
    assert record["interval"] == interval
    assert "monitor" not in record
    expected = [formula(k) for k in range(len(found))]
    assert found == pytest.approx(expected, abs=1e-12)
    assert len(found) == 1 + (STEPS if interval == "step" else EPOCHS)


def test_cosine_ends_at_zero():
    assert rates("cosine")[1][-1] == pytest.approx(0, abs=1e-15)


def test_one_cycle_peaks_at_the_optimizers_rate_after_three_tenths():
    record, found = rates("one_cycle")
    assert record["interval"] == "step"
    assert max(found) == pytest.approx(LR)
    assert found.index(max(found)) == 0.3 * STEPS - 1
    assert found[0] == pytest.approx(LR / 25)
    assert found[STEPS - 1] == pytest.approx(LR / 25 / 1e4)


def test_plateau_tells_lightning_what_to_watch():
    cfg = compose(["scheduler=plateau"])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    record = instantiate(cfg.scheduler).configure(optimizer, steps=STEPS, epochs=EPOCHS)
    assert (record["monitor"], record["interval"]) == ("val/accuracy", "epoch")
    for accuracy in (0.5, 0.6, 0.6, 0.6, 0.6):  # stands still for more than two epochs
        record["scheduler"].step(accuracy)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.7 * LR)


def test_an_unknown_interval_is_refused():
    cfg = compose(["scheduler.interval=batch"])
    with pytest.raises(Exception, match=r"scheduler\.interval: 'batch'; choose one of step, epoch"):
        instantiate(cfg.scheduler)
