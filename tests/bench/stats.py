"""Medians and how sure they are."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

_RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its 95 % confidence interval, of `count` values."""

    median: float
    low: float
    high: float
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """The median of independent values; the interval by bootstrap (the same values give the same interval)."""
    chance = random.Random(len(values))
    drawn = sorted(median(chance.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return Estimate(median(values), drawn[int(_RESAMPLES * 0.025)], drawn[int(_RESAMPLES * 0.975)], len(values))


def interpolate(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at `at` on the line through (x, y) points sorted by x. Raises ValueError outside of them."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0) if x1 > x0 else y0
    raise ValueError(f"{at} is outside of what was measured")
