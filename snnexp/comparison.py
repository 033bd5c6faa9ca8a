"""Statistics over seeds: mean and spread, and paired differences with Student's interval."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snnexp.errors import RunError

MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Statistic:
    """Mean, sample standard deviation (n - 1; none for one value) and number of values."""

    mean: float
    deviation: float | None
    count: int

    def __str__(self) -> str:
        if not self.deviation or not math.isfinite(self.deviation):
            mean = f"{self.mean:.0f}" if abs(self.mean) >= 1000 else f"{self.mean:.4g}"
            return mean if self.deviation is None else f"{mean} ± {self.deviation:g}"
        decimals = min(max(0, 1 - math.floor(math.log10(self.deviation))), 12)
        return f"{self.mean:.{decimals}f} ± {self.deviation:.{decimals}f}"


@dataclass(frozen=True)
class Difference:
    """A - B over the seeds that both have; `interval` is None where one seed gives none."""

    seeds: tuple[int, ...]
    statistic: Statistic
    interval: tuple[float, float] | None
    unpaired_a: tuple[int, ...]
    unpaired_b: tuple[int, ...]


def summarize(values: Sequence[float]) -> Statistic:
    """Mean and sample standard deviation of at least one value; a value may be nan or infinite."""
    if not all(map(math.isfinite, values)):
        return Statistic(
            sum(values) / len(values), math.nan if len(values) > 1 else None, len(values)
        )
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Statistic(statistics.fmean(values), deviation, len(values))


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    """Values of A minus those of B, paired by seed, with the 95 % interval of Student's t."""
    seeds = tuple(sorted(a.keys() & b.keys()))
    if not seeds:
        raise RunError(
            f"no common seed: A has {_listed(a)}, B has {_listed(b)}; "
            "run both with the same seeds, such as python train.py -m ... seed=0,1,2"
        )
    statistic = summarize([a[seed] - b[seed] for seed in seeds])
    interval = None
    if statistic.deviation is not None:
        width = _half_width(statistic.deviation, len(seeds))
        interval = (statistic.mean - width, statistic.mean + width)
    unpaired = [tuple(sorted(own.keys() - set(seeds))) for own in (a, b)]
    return Difference(seeds, statistic, interval, *unpaired)


def seeds_needed(statistic: Statistic) -> int | None:
    """About how many seeds give an interval without 0, if mean and deviation stay as they are.

    None where none would, or where more than `MOST_SEEDS` would be needed.
    """
    mean, deviation = statistic.mean, statistic.deviation
    if deviation is None or not math.isfinite(mean) or not math.isfinite(deviation) or mean == 0:
        return None
    least = (1.96 * deviation / mean) ** 2  # the normal quantile is below every one of Student's t
    if least > MOST_SEEDS:
        return None
    count = max(2, math.ceil(least))
    while _half_width(deviation, count) >= abs(mean):
        count += 1
    return count


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t for a probability of at least 1/2 and whole degrees of freedom.

    Bisection on the angle atan(t / sqrt(degrees)), in which the probability is a finite sum.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        if _t_within(middle, degrees) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _half_width(deviation: float, count: int) -> float:
    return t_quantile(0.975, count - 1) * deviation / math.sqrt(count)


def _t_within(angle: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) tan(angle)); Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    odd = degrees % 2
    cosine = math.cos(angle)
    term, total = cosine**odd, 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def _listed(seeds: Mapping[int, float]) -> str:
    return ", ".join(map(str, sorted(seeds))) or "none"
