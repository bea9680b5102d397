"""The figures of a backtest by definition, in plain Python over exact fractions.

Nothing here calls code of ``kamou``. The loops go over all pairs and instants: they are slow, and
simple enough not to repeat a mistake of the product.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from fractions import Fraction

import attrs

DAY_MS = 86_400_000
Z = statistics.NormalDist().inv_cdf(0.975)
Point = tuple[int, Fraction]  # time in ms, equity


@attrs.frozen(kw_only=True)
class PlainTrade:
    """A trade with times in ms, its entry value and its net PnL in money, and its R."""

    from_ms: int
    until_ms: int
    value: Fraction
    net: Fraction
    r: Fraction | None


@attrs.frozen(kw_only=True)
class Inputs:
    """Equity curve, daily returns, trades, open positions and changes of the market."""

    curve: Sequence[Point]
    daily: Sequence[float]
    trades: Sequence[PlainTrade]
    held: Sequence[PlainTrade]
    changes: Mapping[str, float]
    bitcoin: str | None


def all_figures(given: Inputs) -> dict[str, float | None]:
    """Return each figure by name; None where it is not defined."""
    growth = yearly(given.curve)
    fall = deepest(given.curve)
    nets = [trade.net for trade in given.trades]
    known = [trade.r for trade in given.trades if trade.r is not None]
    lost = -sum(net for net in nets if net < 0)
    won = sum(net for net in nets if net > 0)
    holds = [trade.until_ms - trade.from_ms for trade in given.trades]
    return {
        "return": float(given.curve[-1][1] / given.curve[0][1] - 1),
        "market_equal_weight": mean(list(given.changes.values())),
        "market_bitcoin": given.changes.get(given.bitcoin or ""),
        "cagr": growth,
        "sharpe": sharpe_of(given.daily),
        "sortino": sortino_of(given.daily),
        "calmar": None if growth is None or fall == 0 else growth / -float(fall),
        "max_drawdown": float(fall),
        "trades": float(len(nets)),
        "win_rate": mean([float(net > 0) for net in nets]),
        "profit_factor": float(won / lost) if lost else None,
        "expectancy_r": float(sum(known) / len(known)) if known else None,
        "expectancy_money": float(sum(nets) / len(nets)) if nets else None,
        "longest_drawdown": longest(given.curve),
        "average_hold": mean(holds),
        "longest_hold": float(max(holds)) if holds else None,
    } | exposure(given)


def mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def yearly(curve: Sequence[Point]) -> float | None:
    span = curve[-1][0] - curve[0][0]
    if span < 2 * DAY_MS or curve[-1][1] <= 0:
        return None
    try:
        grown = float(curve[-1][1] / curve[0][1]) ** (365 * DAY_MS / span)
    except OverflowError:
        return None
    return grown - 1 if grown < math.exp(700) else None


def deepest(curve: Sequence[Point]) -> Fraction:
    falls = [
        later / earlier - 1 for i, (_, earlier) in enumerate(curve) for _, later in curve[i + 1 :]
    ]
    return min([Fraction(0), *falls])


def longest(curve: Sequence[Point]) -> float | None:
    """Return the longest time in ms from a peak to the return to it, or to the end.

    None without a drawdown.
    """
    spans = []
    for i, (at_ms, equity) in enumerate(curve):
        if any(earlier > equity for _, earlier in curve[:i]):
            continue
        later = curve[i + 1 :]
        if not later or later[0][1] >= equity:
            continue
        reached = next((t for t, e in later if e >= equity), curve[-1][0])
        spans.append(reached - at_ms)
    return float(max(spans)) if spans else None


def sharpe_of(daily: Sequence[float]) -> float | None:
    if len(daily) < 2 or len(set(daily)) == 1:
        return None
    return statistics.mean(daily) / statistics.stdev(daily) * math.sqrt(365)


def sortino_of(daily: Sequence[float]) -> float | None:
    if len(daily) < 2 or min(daily) >= 0:
        return None
    below = math.fsum(r * r for r in daily if r < 0) / len(daily)
    return statistics.mean(daily) / math.sqrt(below) * math.sqrt(365)


def wilson(wins: int, n: int) -> tuple[float, float]:
    """Return both solutions p of (share - p)^2 = z^2 p (1 - p) / n, the lower first."""
    share = wins / n
    a, b, c = 1 + Z * Z / n, -(2 * share + Z * Z / n), share * share
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def exposure(given: Inputs) -> dict[str, float | None]:
    every = [t for t in [*given.trades, *given.held] if t.until_ms > t.from_ms]
    most = max((sum(o.from_ms <= t.from_ms < o.until_ms for o in every) for t in every), default=0)
    span = given.curve[-1][0] - given.curve[0][0]
    if span == 0:
        return {"positions_most": float(most), "exposure_time": None, "exposure_value": None}
    edges = sorted({edge for t in every for edge in (t.from_ms, t.until_ms)})
    covered = sum(
        b - a
        for a, b in itertools.pairwise(edges)
        if any(t.from_ms <= a and b <= t.until_ms for t in every)
    )
    value = sum((t.value * (t.until_ms - t.from_ms) for t in every), Fraction(0))
    return {
        "positions_most": float(most),
        "exposure_time": covered / span,
        "exposure_value": float(value / span / given.curve[0][1]),
    }
