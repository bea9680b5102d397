"""The gate's figures computed a second time from their definitions, in exact fractions.

It shares nothing with ``core/record/e_values.py`` and ``core/record/promotion.py``.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import sqrt
from statistics import stdev
from typing import NamedTuple

BLOCK_SHARES = [".02", ".05", ".08", ".12", ".16", ".20", ".25", ".30", ".36", ".42"]
TRADE_SHARES = [".01", ".02", ".04", ".06", ".08", ".10", ".12", ".15", ".18", ".21", ".24"]


class Line(NamedTuple):
    """One line of the file, as texts."""

    strategy: str
    opened_at_ms: str
    closed_at_ms: str
    symbol: str
    r: str
    pnl_usd: str


class Figures(NamedTuple):
    n: int
    blocks: int
    symbols: int
    sharpe: float | None
    expectancy_r: Fraction | None
    per_100: Fraction | None
    e_value: Fraction
    e_value_blocks: Fraction
    original: bool
    decision: str


def day_of(ms: str) -> date:
    return datetime.fromtimestamp(int(ms) // 1000, UTC).date()


def wealth(gains: list[Fraction], shares: list[str]) -> Fraction:
    total = Fraction(0)
    for share in shares:
        product = Fraction(1)
        for gain in gains:
            product *= 1 + Fraction(share) * gain
        total += product
    return total / len(shares)


def figures(
    lines: list[Line], *, equity: float, m0: str, attempt: int, first_day: date | None = None
) -> Figures:
    """Return the figures of one strategy."""
    allowed = Fraction(m0)
    days: dict[date, list[Fraction]] = {}
    for line in lines:
        days.setdefault(day_of(line.opened_at_ms), []).append(Fraction(line.r))
    means = [sum(days[day], Fraction(0)) / len(days[day]) for day in sorted(days)]
    singles = [Fraction(line.r) for line in lines]
    ruined = any(each < -2 for each in means) or any(each < -4 for each in singles)
    e_blocks = e_trades = Fraction(0)
    if not ruined:
        e_blocks = wealth([min(each, Fraction(10)) - allowed for each in means], BLOCK_SHARES)
        clipped = [sorted((Fraction(-4), each, Fraction(10)))[1] for each in singles]
        e_trades = wealth([each - allowed for each in clipped], TRADE_SHARES)
    ratio = daily_sharpe(lines, equity, first_day)
    money = [Fraction(line.pnl_usd) for line in lines]
    per_100 = 100 * sum(money, Fraction(0)) / len(money) if money else None
    original = len(lines) >= 30 and ratio is not None and ratio > 0.5
    original = original and per_100 is not None and per_100 > 1
    symbols = len({line.symbol for line in lines})
    earned = e_blocks >= 20 * 2 ** (attempt - 1) and len(lines) >= 50
    canary = earned and len(means) >= 14 and symbols >= 10 and original
    decision = "HALTED" if ruined else "CANARY" if canary else "SHADOW"
    expectancy = sum(singles, Fraction(0)) / len(singles) if singles else None
    return Figures(
        len(lines),
        len(means),
        symbols,
        ratio,
        expectancy,
        per_100,
        e_trades,
        e_blocks,
        original,
        decision,
    )


def daily_sharpe(lines: list[Line], equity: float, first_day: date | None) -> float | None:
    if not lines:
        return None
    day = first_day or min(day_of(line.opened_at_ms) for line in lines)
    last = max(day_of(line.closed_at_ms) for line in lines)
    returns = []
    while day <= last:
        if equity <= 0:
            return None
        pnl = float(sum(Fraction(x.pnl_usd) for x in lines if day_of(x.closed_at_ms) == day))
        returns.append(pnl / equity)
        equity += pnl
        day += timedelta(days=1)
    if len(returns) < 2 or max(returns) == min(returns):
        return None
    return sum(returns) / len(returns) / stdev(returns) * sqrt(365)
