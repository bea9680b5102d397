"""Statistics of vetoes for hours and symbols, and for a strategy's win rate.

A cell is all closed trades of one strategy in one hour of the UTC day, or in one symbol. With few
trades in each of many cells, about half of all means are below 0 without any edge anywhere. So a
cell is vetoed only if one of two statistics shows a mean R below 0:

- Benjamini and Hochberg (1995) at 10 % over the cells with at least 20 trades. The p-value is that
  of a one-sided t-test, with the larger of the cell's own standard deviation and that within all
  cells. R is skewed: a loss is about -1 R and a rare win is more. A cell with few wins by chance
  then has a low mean and a low deviation at once, and a test with its own deviation alone rejects
  far too often. At 20 trades, one win of 2.3 R would count as 1 in 28,000 and is 1 in 140.
- The upper bound (99.9 %) of the empirical-Bayes shrunken mean (n m + k mu) / (n + k) is below 0.
  mu is the mean of all trades, k the variance within the cells over that between them. The bound
  includes the error of mu: without it, a strategy whose mean is just below 0 would lose all cells.

Both take trades for independent. Arrays are ``[..., cells]``; each row is one strategy.
"""

from __future__ import annotations

import math

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.record.performance import TRADES_MIN, wilson_interval

CELL_TRADES_MIN = 20  # of a cell in the procedure of Benjamini and Hochberg
FALSE_DISCOVERY_RATE = 0.10
NORMAL_999 = 3.090232306167813  # 99.9 % quantile of the standard normal
ROUNDING = 1e-12  # a smaller share of a sum of squares is no deviation
WITHIN_MIN = 30  # degrees of freedom of the deviation within cells; fewer can all be losses


@attrs.frozen(kw_only=True, eq=False)
class Cells:
    """Closed trades by cell: their number, and the sums of R and of its squares."""

    n: Ints
    total: Floats
    squares: Floats

    @property
    def means(self) -> Floats:
        """Mean R of each cell; 0 without a trade."""
        return self.total / np.maximum(self.n, 1)

    @property
    def deviations(self) -> Floats:
        """Sum of each cell's squared deviations; 0 if only rounding is left."""
        sums = self.squares - self.total * self.means
        return np.where(sums > ROUNDING * self.squares, sums, 0.0)

    @property
    def freedom(self) -> Ints:
        """Degrees of freedom of the deviations within all cells of a strategy, ``[...]``."""
        found: Ints = np.maximum(self.n - 1, 0).sum(axis=-1)
        return found

    @property
    def variance_within(self) -> Floats:
        """Variance of R within the cells of a strategy, ``[...]``; 0 if unknown."""
        found: Floats = self.deviations.sum(axis=-1) / np.maximum(self.freedom, 1)
        return found


def veto_cells(cells: Cells) -> Mask:
    """Return whether each cell is vetoed, by either statistic."""
    vetoed: Mask = reject_hypotheses(p_values(cells)) | (shrunken_upper_bounds(cells) < 0)
    return vetoed


def p_values(cells: Cells) -> Floats:
    """Return the p-value of each cell's mean R below 0.

    It is NaN below ``CELL_TRADES_MIN`` trades.
    """
    n = np.maximum(cells.n, 2)
    within = cells.variance_within[..., np.newaxis]
    error = np.sqrt(np.maximum(cells.deviations / (n - 1), within) / n)
    # Without any deviation the sign of the mean decides, and a mean of 0 has p = 1/2.
    extreme = np.where(cells.means == 0, 0.0, np.copysign(np.inf, cells.means))
    t = np.divide(cells.means, error, out=extreme, where=error > 0)
    enough = cells.n >= CELL_TRADES_MIN
    found = np.full(cells.n.shape, np.nan)
    found[enough] = student_lower_tail(t[enough], n[enough] - 1)
    return found


def student_lower_tail(t: Floats, freedom: Ints) -> Floats:
    """Return the probability that Student's t is at most ``t``, element by element.

    By the finite series in cos(theta), tan(theta) = t / sqrt(freedom) (Abramowitz and Stegun 26.7.3
    and 26.7.4), with an absolute error of about 1e-14.
    """
    theta = np.arctan(t / np.sqrt(freedom))
    cos2 = np.cos(theta) ** 2
    odd = freedom % 2 == 1
    # Odd: cos + 2/3 cos^3 + 2*4/(3*5) cos^5 ...; even: 1 + 1/2 cos^2 + 1*3/(2*4) cos^4 ...
    term = np.where(odd, np.cos(theta), 1.0)
    terms = freedom // 2
    total = np.zeros_like(theta)
    for j in range(int(terms.max(initial=0))):
        total += np.where(j < terms, term, 0.0)
        term = term * cos2 * np.where(odd, (2 * j + 2) / (2 * j + 3), (2 * j + 1) / (2 * j + 2))
    inner = np.sin(theta) * total
    central = np.where(odd, (theta + inner) * (2 / math.pi), inner)
    return np.clip((1 + central) / 2, 0.0, 1.0)


def reject_hypotheses(p: Floats, rate: float = FALSE_DISCOVERY_RATE) -> Mask:
    """Return which hypotheses the procedure of Benjamini and Hochberg rejects.

    NaN is no hypothesis.
    """
    ordered = np.sort(p, axis=-1)  # NaN last
    tested = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    ranks = np.arange(1, p.shape[-1] + 1)
    below = ordered * tested <= ranks * rate  # False for NaN
    limits = np.where(below, ordered, -1.0).max(axis=-1, initial=-1.0, keepdims=True)
    rejected: Mask = p <= limits
    return rejected


def shrunken_upper_bounds(cells: Cells) -> Floats:
    """Return the upper bound of each cell's shrunken mean R.

    It is infinite for a cell without a trade, and for all cells if ``WITHIN_MIN`` is not reached or
    the results do not vary. The variance between cells is that of one-way analysis of variance.
    """
    n, means, within = cells.n, cells.means, cells.variance_within
    known = (cells.freedom >= WITHIN_MIN) & (within > 0)
    trades = np.maximum(n.sum(axis=-1), 1)
    mu = (cells.total.sum(axis=-1) / trades)[..., np.newaxis]
    crowding = (n.astype(np.float64) ** 2).sum(axis=-1) / trades
    spread = (n * (means - mu) ** 2).sum(axis=-1) - ((n > 0).sum(axis=-1) - 1) * within
    # In one cell alone there is nothing between cells, and trades - crowding is 0.
    between = np.maximum(spread, 0.0) / np.maximum(trades - crowding, 1.0)
    mu_variance = ((within + between * crowding) / trades)[..., np.newaxis]
    # The share of mu is k / (n + k); as a quotient of variances it exists without ``between`` too.
    among = between[..., np.newaxis]
    mu_share = 1 / (1 + n * among / np.where(known, within, 1.0)[..., np.newaxis])
    shrunken = (1 - mu_share) * means + mu_share * mu
    variance = among * mu_share + mu_share**2 * mu_variance
    bounds = shrunken + NORMAL_999 * np.sqrt(variance)
    return np.where(known[..., np.newaxis] & (n > 0), bounds, np.inf)


def is_win_rate_too_low(wins: int, n: int, reward_to_risk: float) -> bool:
    """Return True if the win rate is below its break-even 1 / (1 + b) with confidence.

    That is the case if Wilson's upper bound (95 % interval, so 97.5 % on one side) is below it.

    Args:
        wins: trades with a net profit.
        n: closed trades; below ``TRADES_MIN`` the answer is False.
        reward_to_risk: b, net of all costs. Costs would count twice in (1 + c) / (1 + b).
    """
    return n >= TRADES_MIN and wilson_interval(wins, n)[1] < 1 / (1 + reward_to_risk)
