"""Hypervolumes worked out by hand."""

import optuna
import pytest

from snnexp.sweeper.front import hypervolume, hypervolumes


@pytest.mark.parametrize(
    ("costs", "reference", "volume"),
    [
        ([], (1.0, 1.0), 0),
        ([(0.25,)], (1.0,), 0.75),
        ([(0.0, 0.0)], (2.0, 3.0), 6),
        # three steps of a stair below (4, 4): columns of width 1, heights 1, 2 and 3
        ([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], (4.0, 4.0), 1 + 2 + 3),
        ([(1.0, 1.0), (2.0, 2.0), (1.0, 1.0)], (3.0, 3.0), 4),  # dominated, and there twice
        ([(5.0, 0.0)], (4.0, 4.0), 0),  # beyond the reference
        # two boxes 1 x 2 x 2 and 2 x 1 x 2 that share 1 x 1 x 2
        ([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)], (2.0, 2.0, 2.0), 4 + 4 - 2),
    ],
)
def test_hypervolume(costs, reference, volume):
    assert hypervolume(costs, reference) == pytest.approx(volume)


def test_hypervolume_grows_with_the_trials_that_complete():
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.set_user_attr("reference_point", [0.5, 100])
    for values in ((0.75, 60.0), None, (0.6, 80.0), (1.0, 90.0)):
        trial = study.ask()
        study.tell(trial, values, state=None if values else optuna.trial.TrialState.FAIL)
    # 0.25 x 40; nothing; dominated; and 0.25 x 10 on top
    assert hypervolumes(study, study.trials) == pytest.approx([10, 10, 10, 12.5])
