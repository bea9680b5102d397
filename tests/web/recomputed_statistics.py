"""Intervals and drawdowns by definition, in loops, without ``kamou/core``.

The stationary bootstrap (Politis and Romano 1994) as the site describes it: 2,000 resamples of
whole days in blocks whose mean length is the cube root of their number, 95 % percentiles, seeded by
the SHA-256 of the data. What is random comes from numpy's PCG64, in the order of the resamples.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tests.web.ledger_by_definition import Ledger

RESAMPLES = 2_000
Z = 1.959963984540054  # of the standard normal, at 97.5 %
Bounds = tuple[float, float]


def seed_of(columns: Iterable[Sequence[float]]) -> int:
    """Return the first 64 bits of the digest of the columns (little-endian doubles)."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(struct.pack(f"<{len(column)}d", *column) + b"|")
    return int(digest.hexdigest()[:16], 16)


def resamples(n: int, seed: int) -> list[list[int]]:
    """Return the days of each resample: a block goes on, or a new one starts anywhere."""
    generator = np.random.Generator(np.random.PCG64(seed))
    chance = 1 / max(1.0, math.cbrt(n))
    starts_block = generator.random((RESAMPLES, n), dtype=np.float32) < chance
    starts_block[:, 0] = True
    starts = iter(generator.integers(0, n, size=int(starts_block.sum()), dtype=np.int32).tolist())
    drawn: list[list[int]] = []
    for row in starts_block.tolist():
        day, made = 0, []
        for starts_new in row:
            day = next(starts) if starts_new else (day + 1) % n
            made.append(day)
        drawn.append(made)
    return drawn


def bounds(values: Iterable[float | None]) -> Bounds:
    """Return the values nearest to the 2.5 % and 97.5 % quantiles of the defined ones."""
    known = [value for value in values if value is not None]
    low, high = np.quantile(known, [0.025, 0.975], method="closest_observation")
    return float(low), float(high)


def bounds_of_days(returns: Sequence[float]) -> dict[str, Bounds]:
    """Return the intervals of the four figures of days, all on the same resamples."""
    drawn = resamples(len(returns), seed_of([returns] * len(FIGURES)))
    return {
        name: bounds(figure([returns[day] for day in row]) for row in drawn)
        for name, figure in FIGURES.items()
    }


def return_of(returns: Sequence[float]) -> float:
    return math.prod(1.0 + r for r in returns) - 1.0


def drawdown_of(returns: Sequence[float]) -> float:
    index, peak, worst = 1.0, 1.0, 0.0
    for r in returns:
        index *= 1.0 + r
        peak = max(peak, index)
        worst = min(worst, index / peak - 1.0)
    return worst


def sharpe_of(returns: Sequence[float]) -> float | None:
    n, mean = len(returns), math.fsum(returns) / len(returns)
    if max(returns) == min(returns):
        return None
    deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in returns) / (n - 1))
    return mean / deviation * math.sqrt(365)


def sortino_of(returns: Sequence[float]) -> float | None:
    n, mean = len(returns), math.fsum(returns) / len(returns)
    downside = math.sqrt(math.fsum(min(r, 0.0) ** 2 for r in returns) / n)
    return mean / downside * math.sqrt(365) if downside else None


FIGURES: dict[str, Callable[[Sequence[float]], float | None]] = {
    "return_twr": return_of,
    "max_drawdown": drawdown_of,
    "sharpe": sharpe_of,
    "sortino": sortino_of,
}


def wilson(wins: int, n: int) -> Bounds:
    """Return Wilson's interval (1927): the roots where the score test is at its limit."""
    share = wins / n
    a, b, c = 1 + Z * Z / n, -(2 * share + Z * Z / n), share * share
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


SUMS = "total(r), count(r), total(max(net, 0.0)), total(max(-net, 0.0)), count(*), total(net > 0)"


def bounds_of_trades(
    days: Sequence[str], trades: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return intervals of trade figures by strategy and of ``all``, on complete days.

    ``trades`` have ``day``, ``strategy``, ``r`` and ``net`` as published, oldest first.
    """
    memory = sqlite3.connect(":memory:")  # it adds floats up as the journal's tables were
    memory.execute("CREATE TABLE trade (day TEXT, strategy TEXT, r REAL, net REAL)")
    memory.executemany("INSERT INTO trade VALUES (:day, :strategy, :r, :net)", trades)
    added = memory.execute(
        f"SELECT day, strategy, {SUMS} FROM trade GROUP BY day, strategy ORDER BY day, strategy"
    ).fetchall()
    memory.close()
    inside = [row for row in added if row[0] in days]
    groups = ["all", *sorted({strategy for _, strategy, *_ in inside})]
    table = {name: [[0.0] * 6 for _ in days] for name in groups}
    for day, strategy, *sums in inside:
        for name in ("all", strategy):
            cell = table[name][days.index(day)]
            cell[:] = [old + new for old, new in zip(cell, sums, strict=True)]
    # with R, sum of R, profit, loss of every group: one row for each day
    rows = [[value for g in groups for value in _ordered(table[g][i])] for i in range(len(days))]
    drawn = resamples(len(days), seed_of([[value for row in rows for value in row]]))
    found: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(groups):
        columns = [[row[4 * place + k] for row in rows] for k in range(4)]
        summed = [[math.fsum(c[day] for day in row) for c in columns] for row in drawn]
        n, wins = (int(sum(day[k] for day in table[name])) for k in (4, 5))
        with_r = int(sum(columns[0]))
        found[name] = {"n": n, "with_r": with_r}
        if n >= 30:
            found[name]["win_rate"] = wilson(wins, n)
            found[name]["profit_factor"] = bounds(
                p / q if q else (math.inf if p else None) for _, _, p, q in summed
            )
        if n >= 30 and with_r >= 30:
            found[name]["expectancy_r"] = bounds(r / k if k else None for k, r, _, _ in summed)
    return found


def _ordered(sums: Sequence[float]) -> tuple[float, float, float, float]:
    r, with_r, profit, loss, _, _ = sums
    return with_r, r, profit, loss


def snapshots_drawdown(ledger: Ledger, times: Sequence[int]) -> dict[str, Any]:
    """Return the maximum drawdown of the time-weighted index over these snapshots."""
    index, indices = 1.0, [1.0]
    equity = ledger.start
    for before_ms, at_ms in pairwise(times):
        base = equity
        for moved_ms, amount in ledger.moved_by_time(before_ms + 1, at_ms + 1).items():
            before = ledger.just_before(moved_ms)
            index *= float(before) / float(base)
            base = before + amount
        equity = ledger.equity(at_ms + 1, marks_at_ms=at_ms)
        index *= float(equity) / float(base)
        indices.append(index)
    peak = trough = place = 0
    worst = 0.0
    for i, value in enumerate(indices):
        if value >= indices[peak]:
            peak = i
        elif value / indices[peak] - 1.0 < worst:
            worst, trough, place = value / indices[peak] - 1.0, i, peak
    later = [
        t for t, v in zip(times, indices, strict=True) if t > times[trough] and v >= indices[place]
    ]
    return {
        "value": worst,
        "n": len(times),
        "peak_ms": times[place] if worst else None,
        "trough_ms": times[trough] if worst else None,
        "recovery_ms": later[0] if worst and later else None,
    }
