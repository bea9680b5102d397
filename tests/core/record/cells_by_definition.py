"""Statistics of cells computed a second time from their definitions, from lists of results.

It shares nothing with ``core/record/cell_vetoes.py``: sums are exact fractions, and Student's t is
integrated numerically.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import atan, cos, pi, sqrt
from statistics import NormalDist

import numpy as np

Results = Sequence[Fraction]  # R of the trades of one cell


def mean(results: Results) -> Fraction:
    return sum(results, Fraction(0)) / len(results)


def squared_deviations(results: Results) -> Fraction:
    middle = mean(results)
    return sum(((each - middle) ** 2 for each in results), Fraction(0))


def within(cells: Sequence[Results]) -> tuple[int, Fraction]:
    """Return degrees of freedom and variance within the cells."""
    freedom = sum(len(each) - 1 for each in cells if each)
    total = sum((squared_deviations(each) for each in cells if each), Fraction(0))
    return freedom, total / freedom if freedom else Fraction(0)


@cache
def nodes() -> list[tuple[float, float]]:
    places, weights = np.polynomial.legendre.leggauss(60)
    return [(float(x), float(w)) for x, w in zip(places, weights, strict=True)]


def integral(low: float, high: float, power: int) -> float:
    """Return the integral of cos^power from low to high, in 40 Gaussian pieces."""
    total, width = 0.0, (high - low) / 40
    for piece in range(40):
        middle = low + (piece + 0.5) * width
        total += sum(w * cos(middle + x * width / 2) ** power for x, w in nodes()) * width / 2
    return total


@cache
def whole(power: int) -> float:
    return integral(-pi / 2, pi / 2, power)


def student_tail(t: float, freedom: int) -> float:
    """Return P(T <= t): with T = sqrt(freedom) tan(a) the density of a is as cos^(freedom-1)."""
    return integral(-pi / 2, atan(t / sqrt(freedom)), freedom - 1) / whole(freedom - 1)


def p_value(cell: Results, cells: Sequence[Results]) -> float | None:
    if len(cell) < 20:
        return None
    own = squared_deviations(cell) / (len(cell) - 1)
    variance = max(own, within(cells)[1])
    if variance == 0:
        return 0.5 if mean(cell) == 0 else float(mean(cell) > 0)
    return student_tail(float(mean(cell)) / sqrt(variance / len(cell)), len(cell) - 1)


def rejected(p: Sequence[float | None], rate: Fraction) -> list[bool]:
    """Return what is rejected at the largest threshold with an estimated FDR of at most ``rate``.

    The estimate at a threshold is (hypotheses x threshold) / (p-values up to it).
    """
    tested = [each for each in p if each is not None]
    fine = [
        threshold
        for threshold in tested
        if len(tested) * Fraction(threshold) <= rate * sum(each <= threshold for each in tested)
    ]
    return [each is not None and bool(fine) and each <= max(fine) for each in p]


def shrunken_bounds(cells: Sequence[Results]) -> list[float | None]:
    """Return (n m + k mu) / (n + k) plus 3.09 standard errors; None where nothing is known."""
    freedom, variance = within(cells)
    if freedom < 30 or variance == 0:
        return [None] * len(cells)
    everything = [each for cell in cells for each in cell]
    count, mu = len(everything), mean(everything)
    used = [cell for cell in cells if cell]
    between_sum = sum((len(c) * (mean(c) - mu) ** 2 for c in used), Fraction(0))
    scale = count - Fraction(sum(len(c) ** 2 for c in used), count)
    excess = between_sum - (len(used) - 1) * variance
    between = excess / scale if len(used) > 1 and excess > 0 else Fraction(0)
    # The variance of mu: that of each trade, and that of each cell by its share of the trades.
    of_mu = variance / count + between * sum(Fraction(len(c), count) ** 2 for c in used)
    bounds: list[float | None] = []
    for cell in cells:
        if not cell:
            bounds.append(None)
            continue
        n, z = len(cell), NormalDist().inv_cdf(0.999)
        if between == 0:
            bounds.append(float(mu) + z * sqrt(of_mu))
            continue
        k = variance / between
        shrunken = (n * mean(cell) + k * mu) / (n + k)
        # The prior and the trades add their precisions; k / (n + k) of an error of mu remains.
        posterior = 1 / (1 / between + n / variance) + (k / (n + k)) ** 2 * of_mu
        bounds.append(float(shrunken) + z * sqrt(posterior))
    return bounds


def win_rate_too_low(wins: int, n: int, reward_to_risk: Fraction) -> bool:
    """Return whether the score test rejects break-even: Wilson's interval is its inversion."""
    even = 1 / (1 + reward_to_risk)
    z2 = Fraction(NormalDist().inv_cdf(0.975)) ** 2
    short = even - Fraction(wins, n)
    return n >= 30 and short > 0 and short**2 > z2 * even * (1 - even) / n
