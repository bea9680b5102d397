"""One row of the record: what lies between two reads of equity, added up by definition.

The record begins with the first equity that was journaled. From there it is cut at every midnight
whose equity is known: read, or rebuilt later, as its ``DayOpened`` says. A midnight of which
neither could be had cuts nothing, so the days around it stay one row. Journals of before have what
was read within ``READ_WITHIN_MS`` after 00:00:00.000 UTC; see ``equity_of``.

An entry of the venue (fill, fee, funding, transfer) belongs to the row of its own stamp, and one
that is stamped exactly at midnight belongs to the day that begins.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

import attrs

from kamou.core.day import DAY_MS, day_start_ms, utc_day
from kamou.core.model import ZERO
from kamou.store.rows import DayRow, MonthRow

READ_WITHIN_MS = 600_000
"""A later read says nothing of midnight: two cycles of the default period of 300 s, after which a
gap between cycles counts as downtime."""

FUNDING_INCOME, TRANSFER_INCOME = (
    "funding",
    "transfer",
)  # kinds of income; see ``core.model.Income``

Reader = sqlite3.Connection | sqlite3.Cursor


@attrs.frozen(kw_only=True)
class Boundary:
    """A moment at which the record is cut, and the equity that was read for it.

    ``midnight`` is False only for the start of the record on some time of a day. ``exact``:
    ``equity`` leaves out what is stamped from midnight on. ``rebuilt``: as in ``DayRow``.
    """

    at_ms: int
    read_at_ms: int
    equity: Decimal
    midnight: bool
    exact: bool
    rebuilt: str
    corrections: int

    @property
    def first_ms(self) -> int:
        """Return the first stamp that belongs to the row which begins here.

        Equity read at the start of the record holds what is stamped at that millisecond.
        """
        return self.at_ms if self.midnight else self.at_ms + 1


@attrs.frozen(kw_only=True)
class StrategyDay:
    """Sums over the trades of one strategy that closed in one row; ``loss`` is positive.

    ``r`` is the sum over the ``with_r`` trades whose risk was planned.
    """

    strategy: str
    trades: int
    wins: int
    r: float
    with_r: int
    profit: float
    loss: float


def newest_boundary(reader: Reader, *, at_or_before_ms: int | None = None) -> Boundary | None:
    """Return the last cut of the record, or the last one until a time."""
    until = 2**62 if at_or_before_ms is None else at_or_before_ms
    return _boundary(reader, "WHERE at_ms <= ? ORDER BY at_ms DESC LIMIT 1", until)


def next_boundary(reader: Reader, after_ms: int) -> Boundary | None:
    """Return the first cut after a time."""
    return _boundary(reader, "WHERE at_ms > ? ORDER BY at_ms LIMIT 1", after_ms)


def first_transfer_at_ms(reader: Reader) -> int:
    """Return the first instant whose transfers count as net deposits of the record."""
    row = reader.execute("SELECT at_ms, midnight FROM boundary ORDER BY at_ms LIMIT 1").fetchone()
    return 2**62 if row is None else int(row[0] if row[1] else row[0] + 1)


def midnight_of_read(at_ms: int) -> int | None:
    """Return the midnight for which a read at this time stands, None when it is too late."""
    return None if at_ms % DAY_MS > READ_WITHIN_MS else day_start_ms(at_ms)


def add_up_row(reader: Reader, start: Boundary, end: Boundary) -> DayRow:
    """Add up the row between two cuts of the record."""
    row = _row(
        reader,
        start,
        end_ms=end.at_ms,
        until_ms=end.first_ms,
        last_ms=end.at_ms - 1,
        equity_end=equity_at_boundary(reader, end),
        complete=start.midnight and end.midnight and end.at_ms - start.at_ms == DAY_MS,
    )
    corrections = row.corrections + end.corrections
    return attrs.evolve(row, end_rebuilt=end.rebuilt, corrections=corrections)


def add_up_month(month: str, rows: Sequence[DayRow]) -> MonthRow:
    """Add up the rows that ended in a month, oldest first; at least one."""
    growth: float | None = 1.0
    for row in rows:
        growth = None if growth is None or row.return_ is None else growth * (1 + row.return_)
    complete = [row.return_ for row in rows if row.complete and row.return_ is not None]
    return MonthRow(
        month=month,
        equity_end=rows[-1].equity_end,
        return_=None if growth is None else growth - 1,
        change=sum((row.change for row in rows), ZERO),
        net_deposits=sum((row.net_deposits for row in rows), ZERO),
        trades=sum(row.trades for row in rows),
        fees=sum((row.fees for row in rows), ZERO),
        funding=sum((row.funding for row in rows), ZERO),
        complete=sum(row.complete for row in rows),
        gaining=sum(1 for value in complete if value > 0),
        losing=sum(1 for value in complete if value < 0),
        unseparated=sum(_calendar_days(row) for row in rows if not row.separable),
    )


def add_up_open_row(reader: Reader) -> DayRow | None:
    """Add up what came since the last cut, until the newest equity; None without a record."""
    start = newest_boundary(reader)
    if start is None:
        return None
    mark = reader.execute("SELECT at_ms, equity FROM equity ORDER BY at_ms DESC LIMIT 1").fetchone()
    until_ms = None if mark is None else mark[0] + 1
    if until_ms is None or until_ms <= (start.at_ms if start.exact else start.read_at_ms):
        mark = (start.at_ms if start.exact else start.read_at_ms, start.equity)
        until_ms = start.first_ms if start.exact else start.read_at_ms + 1
    return _row(
        reader,
        start,
        end_ms=mark[0],
        until_ms=until_ms,
        # For some seconds after midnight, the read that ends the day is still to come.
        last_ms=mark[0] - READ_WITHIN_MS - 1,
        equity_end=Decimal(mark[1]),
        complete=False,
    )


def add_up_strategies(reader: Reader, start: Boundary, end: Boundary) -> tuple[StrategyDay, ...]:
    """Add up the trades that closed between two cuts, by strategy, in order of name."""
    rows = reader.execute(
        "SELECT strategy, count(*), sum(won), total(r_multiple), count(r_multiple),"
        " sum(max(CAST(pnl_net AS REAL), 0.0)), sum(max(-CAST(pnl_net AS REAL), 0.0))"
        " FROM trade INDEXED BY trade_closed WHERE closed_at_ms >= ? AND closed_at_ms < ?"
        " GROUP BY strategy ORDER BY strategy",
        (start.first_ms, end.first_ms),
    ).fetchall()
    return tuple(
        StrategyDay(
            strategy=name, trades=n, wins=wins, r=r, with_r=with_r, profit=profit, loss=loss
        )
        for name, n, wins, r, with_r, profit, loss in rows
    )


def equity_at_boundary(reader: Reader, cut: Boundary) -> Decimal:
    """Return the equity at a cut.

    Journals of before: what was read less what is stamped from midnight to the read.
    """
    if cut.exact or not cut.midnight:
        return cut.equity
    given = (cut.at_ms, cut.read_at_ms)
    income = _sum(reader, "SELECT amount FROM income WHERE at_ms BETWEEN ? AND ?", given)
    fees = _sum(reader, "SELECT fee FROM fill WHERE at_ms BETWEEN ? AND ?", given)
    return cut.equity - income + fees


def _calendar_days(row: DayRow) -> int:
    return (date.fromisoformat(row.last_day) - date.fromisoformat(row.day)).days + 1


def _boundary(reader: Reader, tail: str, given: int) -> Boundary | None:
    row = reader.execute(
        "SELECT at_ms, read_at_ms, equity, midnight, exact, rebuilt, corrections"
        f" FROM boundary {tail}",
        (given,),
    ).fetchone()
    if row is None:
        return None
    return Boundary(
        at_ms=row[0],
        read_at_ms=row[1],
        equity=Decimal(row[2]),
        midnight=bool(row[3]),
        exact=bool(row[4]),
        rebuilt=row[5],
        corrections=row[6],
    )


def _row(
    reader: Reader,
    start: Boundary,
    *,
    end_ms: int,
    until_ms: int,
    last_ms: int,
    equity_end: Decimal,
    complete: bool,
) -> DayRow:
    """``until_ms`` is the first stamp of the next row; ``last_ms`` lies on the last day."""
    given = (start.first_ms, until_ms)
    inside = "at_ms >= ? AND at_ms < ?"
    income = reader.execute(
        f"SELECT kind, amount, at_ms FROM income WHERE {inside} ORDER BY at_ms", given
    ).fetchall()
    transfers = [
        (at_ms, Decimal(amount)) for kind, amount, at_ms in income if kind == TRANSFER_INCOME
    ]
    trades = reader.execute(
        "SELECT pnl_net FROM trade WHERE closed_at_ms >= ? AND closed_at_ms < ?", given
    ).fetchall()
    equity_start = equity_at_boundary(reader, start)
    # Nothing lies before what is stamped with the start itself: the first stretch begins after it.
    base = equity_start + sum((amount for at, amount in transfers if at == start.at_ms), ZERO)
    later = [(at, amount) for at, amount in transfers if at > start.at_ms]
    return DayRow(
        day=utc_day(start.at_ms),
        last_day=utc_day(max(start.at_ms, last_ms)),
        start_ms=start.at_ms,
        end_ms=end_ms,
        complete=complete,
        equity_start=equity_start,
        equity_end=equity_end,
        return_=_time_weighted(reader, later, base, equity_end, until_ms),
        net_deposits=sum((amount for _, amount in transfers), ZERO),
        trades=len(trades),
        fees=_sum(reader, f"SELECT fee FROM fill WHERE {inside}", given),
        funding=sum(
            (Decimal(amount) for kind, amount, _ in income if kind == FUNDING_INCOME), ZERO
        ),
        pnl=sum((Decimal(row[0]) for row in trades), ZERO),
        start_rebuilt=start.rebuilt,
        corrections=start.corrections,
    )


def _time_weighted(
    reader: Reader,
    transfers: Iterable[tuple[int, Decimal]],
    start: Decimal,
    end: Decimal,
    until_ms: int,
) -> float | None:
    """Chain the stretches between transfers, given oldest first; None if a stretch has no return.

    Each ends with the equity just before a transfer; the next begins with that and the amount. In
    journals of before, a transfer has no valuation: then the first mark at or after it, less the
    transfers since, is the equity just before, and the mark itself the equity just after.
    """
    if start <= 0:
        return None
    growth, base = 1.0, start
    moved: dict[int, Decimal] = {}
    for at_ms, amount in transfers:
        moved[at_ms] = moved.get(at_ms, ZERO) + amount
    while moved:
        at_ms = next(iter(moved))
        before = equity_before_transfers(reader, at_ms)
        if before is None:
            mark_ms, after = _mark_from(reader, at_ms, until_ms) or (until_ms, end)
            counted = [at for at in moved if at <= mark_ms]
            before = after - sum((moved.pop(at) for at in counted), ZERO)
        else:
            after = before + moved.pop(at_ms)
        if base <= 0 and before != base:
            return None
        growth, base = growth * (float(before / base) if base > 0 else 1.0), after
    if base <= 0:  # all of it was taken out: nothing was at stake since
        return growth - 1.0 if end == base == 0 else None
    return growth * float(end / base) - 1.0


def equity_before_transfers(reader: Reader, transfer_at_ms: int) -> Decimal | None:
    """Return the equity just before the transfers of a millisecond; None if nothing valued it."""
    found = find_valuation(reader, transfer_at_ms)
    return None if found is None else found[0]


def find_valuation(reader: Reader, transfer_at_ms: int) -> tuple[Decimal, str] | None:
    """Return the equity just before the transfers of a millisecond, and where its marks are from.

    See ``core/risk/midnight_equity.py`` for the latter; None if nothing valued it.
    """
    row = reader.execute(
        "SELECT json_extract(CAST(body AS TEXT), '$.equity'),"
        " json_extract(CAST(body AS TEXT), '$.rests_on') FROM event"
        " WHERE kind = 'transfer_valued' AND key BETWEEN ? AND ? ORDER BY seq DESC LIMIT 1",
        # Keys are TIME#NUMBER; "$" is the character after "#".
        (f"{transfer_at_ms}#", f"{transfer_at_ms}$"),
    ).fetchone()
    return None if row is None else (Decimal(row[0]), row[1])


def _mark_from(reader: Reader, at_ms: int, until_ms: int) -> tuple[int, Decimal] | None:
    row = reader.execute(
        "SELECT at_ms, equity FROM equity WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms LIMIT 1",
        (at_ms, until_ms),
    ).fetchone()
    return None if row is None else (row[0], Decimal(row[1]))


def _sum(reader: Reader, query: str, given: tuple[int, int]) -> Decimal:
    return sum((Decimal(row[0]) for row in reader.execute(query, given)), ZERO)
