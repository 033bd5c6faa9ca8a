"""Pareto fronts: what they dominate, and how far seeds spread."""

import statistics
from collections.abc import Sequence

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Point = tuple[float, ...]


def hypervolumes(study: optuna.Study, trials: Sequence[FrozenTrial]) -> list[float]:
    """The hypervolume of the trials up to each one, in the product of the objectives' units.

    Measured from the study's reference point; without one from the worst values of all trials.
    """
    signs = [-1 if d == StudyDirection.MAXIMIZE else 1 for d in study.directions]
    costs = {
        trial.number: tuple(s * v for s, v in zip(signs, trial.values, strict=True))
        for trial in trials
        if trial.state == TrialState.COMPLETE
    }
    given = study.user_attrs.get("reference_point")
    if given is None:
        reference = tuple(max(column) for column in zip(*costs.values(), strict=True))
    else:
        reference = tuple(s * v for s, v in zip(signs, given, strict=True))
    found: list[float] = []
    front: list[Point] = []
    for trial in trials:
        point = costs.get(trial.number)
        if point is not None and not any(dominates(other, point) for other in front):
            front = [other for other in front if not dominates(point, other)] + [point]
            found.append(hypervolume(front, reference))
        else:
            found.append(found[-1] if found else 0.0)
    return found


def dominates(a: Point, b: Point) -> bool:
    """Whether costs `a` are nowhere above costs `b`."""
    return all(x <= y for x, y in zip(a, b, strict=True))


def hypervolume(costs: Sequence[Point], reference: Point) -> float:
    """The volume that is dominated by at least one point, up to the reference; lower is better.

    By slices along the last cost (While et al. 2006, "A faster algorithm for calculating
    hypervolume"): between two points its cross section is that of the points below.
    """
    inside = sorted(
        {point for point in costs if all(c < r for c, r in zip(point, reference, strict=True))},
        key=lambda point: point[-1],
    )
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - inside[0][0]
    edges = [*(point[-1] for point in inside), reference[-1]]
    return sum(
        (edges[count] - edges[count - 1])
        * hypervolume([point[:-1] for point in inside[:count]], reference[:-1])
        for count in range(1, len(inside) + 1)
        if edges[count] > edges[count - 1]
    )


def spread(trial: FrozenTrial, count: int) -> list[float | None]:
    """The sample standard deviation over seeds of each of `count` objectives; None for one seed."""
    rows = list(trial.user_attrs.get("by_seed", {}).values())
    if len(rows) < 2:
        return [None] * count
    return [statistics.stdev(column) for column in zip(*rows, strict=True)]
