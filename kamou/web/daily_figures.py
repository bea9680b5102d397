"""``Daily``, the figures of the ended days, and ``Memo``, their cache.

The first request after a day's end, a correction or a start computes them on a worker thread, in
time proportional to the record. ``Memo`` keeps them for further requests. The key of the figures is
the number of daily rows that were ever written, with the newest row; the key of intervals is the
digest of their data.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeVar, cast

import attrs
import numpy as np
from markupsafe import Markup

from kamou.core.model import ZERO
from kamou.core.record.bootstrap import data_digest
from kamou.core.record.drawdown import DrawdownFold
from kamou.core.record.performance import (
    Counted,
    DayReturns,
    DayStatistics,
    TradeBounds,
    TradeDays,
    day_statistics,
    trade_bounds,
)
from kamou.store import public_queries, queries
from kamou.store.record_rows import DayRow, MonthRow

DAYS_SHOWN = 90  # on a page and in /results.json, with the open day; /days has the rest
MONTHS_SHOWN = 12  # on the page and in /results.json, with the open month
INTERVALS_KEPT = 2  # of the newest data and the data before, because a correction may be reversed
ALL = "all"  # key of the sums over all strategies; no strategy may have this name

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Daily:
    """Figures of the ended daily rows."""

    newest: tuple[DayRow, ...]  # newest first
    months: tuple[MonthRow, ...]  # newest first
    complete_months: frozenset[str]
    rows: int  # number of ended rows
    complete: int  # complete days
    gaining: int  # complete days with a positive return
    losing: int  # complete days with a negative return
    worst: DayRow | None  # complete day with the lowest return
    equity_start: Decimal | None  # of the first row; None without rows
    net_deposits: Decimal  # of all rows
    as_of_ms: int | None  # the end of the last complete day; None without one
    end_ms: int  # end of the newest row, where the open day begins
    drawdown: DrawdownFold  # of all snapshots until ``end_ms``
    statistics: DayStatistics
    bounds: Mapping[str, TradeBounds]  # by strategy, and for ``ALL``


class Memo:
    """The cached daily figures of one database, and parts of pages made from them."""

    def __init__(self) -> None:
        self._key: object = None
        self._daily: Daily | None = None
        self._pieces: dict[str, Markup] = {}
        self._kept: dict[str, tuple[object, object]] = {}  # by name: (key, value)
        self._intervals: dict[str, tuple[DayStatistics, Mapping[str, TradeBounds]]] = {}

    def daily(self, reader: sqlite3.Connection) -> Daily:
        """Return the daily figures; compute them again only after a daily row was written."""
        newest = public_queries.newest_days(reader, limit=1)
        key = (queries.query_totals(reader).get("day_revision"), newest)
        if self._daily is None or key != self._key:
            self._daily = self._compute(reader)
            self._key = key
            self._pieces.clear()
        return self._daily

    def keep(self, name: str, key: object, make: Callable[[], T]) -> T:
        """Return the cached value of this name; make it again once its key differs."""
        found = self._kept.get(name)
        if found is None or found[0] != key:
            found = self._kept[name] = (key, make())
        return cast(T, found[1])

    def piece(self, name: str, make: Callable[[], Markup]) -> Markup:
        """Return a cached part of a page that depends on the daily figures alone."""
        if name not in self._pieces:
            self._pieces[name] = make()
        return self._pieces[name]

    def _compute(self, reader: sqlite3.Connection) -> Daily:
        rows = public_queries.all_days(reader)
        complete = [row for row in rows if row.complete and row.return_ is not None]
        as_of_ms = complete[-1].end_ms if complete else None
        returns = np.array([row.return_ for row in complete], dtype=np.float64)
        days = DayReturns(returns=returns, as_of_ms=as_of_ms)
        trades = _trade_days(reader, complete)
        end_ms = rows[-1].end_ms if rows else 0
        moved = public_queries.query_transfers(reader, from_ms=0, until_ms=end_ms)
        marks = public_queries.query_snapshots(reader, from_ms=0, until_ms=end_ms)
        drawdown = DrawdownFold().add_snapshots(marks, moved)
        months = public_queries.query_months(reader, limit=MONTHS_SHOWN)
        statistics, bounds = self._intervals_of(days, trades)
        return Daily(
            newest=rows[: -DAYS_SHOWN - 1 : -1],
            months=months,
            complete_months=public_queries.complete_months(reader, (m.month for m in months)),
            rows=len(rows),
            complete=len(complete),
            gaining=sum(1 for row in complete if row.return_ and row.return_ > 0),
            losing=sum(1 for row in complete if row.return_ and row.return_ < 0),
            worst=min(complete, key=lambda row: row.return_ or 0.0, default=None),
            equity_start=rows[0].equity_start if rows else None,
            net_deposits=sum((row.net_deposits for row in rows), ZERO),
            as_of_ms=as_of_ms,
            end_ms=end_ms,
            drawdown=drawdown,
            statistics=statistics,
            bounds=bounds,
        )

    def _intervals_of(
        self, days: DayReturns, trades: Mapping[str, TradeDays]
    ) -> tuple[DayStatistics, Mapping[str, TradeBounds]]:
        columns = [c for each in trades.values() for c in attrs.astuple(each, recurse=False)]
        as_of = np.array([days.as_of_ms or 0], dtype=np.float64)
        digest = "|".join(trades) + data_digest(as_of, days.returns, *columns)
        if digest not in self._intervals:
            if len(self._intervals) >= INTERVALS_KEPT:
                self._intervals.pop(next(iter(self._intervals)))
            bounds = trade_bounds(tuple(trades.values()), days.as_of_ms)
            self._intervals[digest] = (
                day_statistics(days),
                dict(zip(trades, bounds, strict=True)),
            )
        return self._intervals[digest]


def no_bounds(daily: Daily) -> TradeBounds:
    """Return the bounds of a strategy without a trade on a complete day."""
    counted = Counted(n=0, days=daily.complete, as_of_ms=daily.as_of_ms)
    return TradeBounds(
        counted=counted, with_r=0, win_rate=None, expectancy_r=None, profit_factor=None
    )


def _trade_days(reader: sqlite3.Connection, complete: list[DayRow]) -> dict[str, TradeDays]:
    """Return the daily sums of trades, by strategy and for ``ALL``.

    The days are ``complete``. A strategy without a trade on a complete day is left out.
    """
    place = {row.day: i for i, row in enumerate(complete)}
    days = public_queries.complete_strategy_days(reader)
    # Strategies whose first trade closed today are left out: they would change the resamples.
    names = sorted({strategy for _, strategy, *_ in days})
    found = {name: np.zeros((6, len(place))) for name in [ALL, *names]}
    for day, strategy, *sums in days:
        at = place.get(day)
        if at is not None:
            found[strategy][:, at] += sums
            found[ALL][:, at] += sums
    return {
        name: TradeDays(trades=c[0], wins=c[1], r=c[2], with_r=c[3], profit=c[4], loss=c[5])
        for name, c in found.items()
    }
