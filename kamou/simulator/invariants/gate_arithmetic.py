"""The gate's figures computed again from closed shadow trades, in fractions.

It shares nothing with ``core/record``: invariant 15 judges each change by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from math import sqrt

import attrs

from kamou.core.day import DAY_MS

BETS = [Fraction(each, 100) for each in (2, 5, 8, 12, 16, 20, 25, 30, 36, 42)]
M0 = Fraction(5, 100)  # R of a block that counts as no edge
RULED_TRADES = 30


@attrs.frozen(kw_only=True)
class SeenShadow:
    """A shadow trade of the journal; it is open without a close."""

    strategy: str
    symbol: str
    opened_at_ms: int
    closed_at_ms: int = 0
    r: Decimal = Decimal(0)
    pnl: Decimal = Decimal(0)


def sort_shadows(trades: Sequence[SeenShadow]) -> list[SeenShadow]:
    """Return the trades by opening and symbol."""
    return sorted(trades, key=lambda each: (each.opened_at_ms, each.symbol, each.closed_at_ms))


def block_means(trades: Sequence[SeenShadow]) -> list[Fraction]:
    """Return the mean R of each UTC day of openings, in their order."""
    means = []
    for _, day in groupby(sort_shadows(trades), key=lambda each: each.opened_at_ms // DAY_MS):
        results = [Fraction(each.r) for each in day]
        means.append(sum(results, Fraction(0)) / len(results))
    return means


def is_ruined(ended: Sequence[SeenShadow], closed: Sequence[SeenShadow]) -> bool:
    """Return True if a trade lost more than 4 R, or an ended block more than 2 R."""
    return any(each.r < -4 for each in closed) or any(each < -2 for each in block_means(ended))


def bet_on_blocks(trades: Sequence[SeenShadow]) -> Fraction:
    """Return the mean wealth of the bets on the blocks."""
    wealth = [Fraction(1)] * len(BETS)
    for mean in block_means(trades):
        gain = min(mean, Fraction(10)) - M0
        wealth = [each * (1 + bet * gain) for each, bet in zip(wealth, BETS, strict=True)]
    return sum(wealth, Fraction(0)) / len(wealth)


def usd_per_100(trades: Sequence[SeenShadow]) -> Fraction:
    """Return 100 times the mean PnL of at least one trade, money."""
    return 100 * sum((Fraction(each.pnl) for each in trades), Fraction(0)) / len(trades)


def daily_sharpe(trades: Sequence[SeenShadow], equity: float, from_ms: int) -> float | None:
    """Return the Sharpe ratio of at least one trade: daily, times sqrt(365).

    It is None below two days, without deviation, and if the equity is used up.
    """
    first = (from_ms or min(each.opened_at_ms for each in trades)) // DAY_MS
    last = max(each.closed_at_ms for each in trades) // DAY_MS
    returns = []
    for day in range(first, last + 1):
        pnl = float(sum(each.pnl for each in trades if each.closed_at_ms // DAY_MS == day))
        if equity <= 0:
            return None
        returns.append(pnl / equity)
        equity += pnl
    n = len(returns)
    average = sum(returns) / n
    squares = sum((each - average) ** 2 for each in returns)
    return average / sqrt(squares / (n - 1)) * sqrt(365) if n > 1 and squares > 0 else None


def passes_original_rule(trades: Sequence[SeenShadow], equity: float, from_ms: int) -> bool:
    """Return True for 30 trades, a Sharpe ratio above 0.5 and over 1 USD a 100."""
    if len(trades) < RULED_TRADES or usd_per_100(trades) <= 1:
        return False
    ratio = daily_sharpe(trades, equity, from_ms)
    return ratio is not None and ratio > 0.5


def mean_r(trades: Sequence[SeenShadow]) -> Fraction:
    """Return the mean R of at least one trade."""
    return sum((Fraction(each.r) for each in trades), Fraction(0)) / len(trades)


def follow_losses(trades: Sequence[SeenShadow], mean: Decimal) -> tuple[Fraction, Fraction]:
    """Return the highest CUSUM and the maximum drawdown of the sum of R."""
    level = highest = total = peak = deepest = Fraction(0)
    for each in sort_shadows(trades):
        level = max(Fraction(0), level + Fraction(mean) / 2 - Fraction(each.r))
        total += Fraction(each.r)
        highest, peak = max(highest, level), max(peak, total)
        deepest = max(deepest, peak - total)
    return highest, deepest


def recent_mean(trades: Sequence[SeenShadow]) -> Fraction | None:
    """Return the mean R of the last 30 trades; None if there are fewer."""
    last = sort_shadows(trades)[-30:]
    return sum((Fraction(each.r) for each in last), Fraction(0)) / 30 if len(last) == 30 else None


def digest_lines(trades: Sequence[SeenShadow]) -> str:
    """Return the SHA-256 of the trades as lines of ``kamou gate evaluate``."""
    digest = hashlib.sha256()
    for each in sort_shadows(trades):
        times = f"{each.opened_at_ms},{each.closed_at_ms}"
        line = f"{each.strategy},{times},{each.symbol},{each.r},{each.pnl}\n"
        digest.update(line.encode())
    return digest.hexdigest()
