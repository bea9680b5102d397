"""Boundaries and rows of the record, its months, and valuations of transfers.

A row has the sums of the recorded fills and payments between two boundaries. The record begins with
the first recorded equity. Each midnight whose equity is known is a boundary between two rows.
``DayOpened`` says whether that equity was read in time or rebuilt later. If a midnight's equity is
unknown, the days before and after that midnight are one row. In older journals ``DayOpened`` has
only the equity that was read, and that equity counts if it was read within ``READ_WITHIN_MS`` after
00:00:00.000 UTC; see ``equity_at_boundary``.

A fill (with its fee) and a payment (funding, transfer) belong to the row that has their time. Those
of exactly midnight belong to the day that begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

import attrs

from kamou.core.day import DAY_MS, Day, Stretch, day_start_ms, utc_day
from kamou.core.kinds import IncomeKind
from kamou.core.model import ZERO
from kamou.store.record_rows import Boundary, DayRow, MonthRow, StrategyDay
from kamou.store.table_rows import Reader, select_one

READ_WITHIN_MS = 600_000
"""Latest read of equity, in ms after midnight, that counts as the equity of that midnight.

It is two default periods of 300 s: the time after which a gap between cycles is downtime.
"""


def newest_boundary(reader: Reader, *, at_or_before_ms: int | None = None) -> Boundary | None:
    """Return the newest boundary, or the newest one at or before a time.

    Return None if there is none.
    """
    until = 2**62 if at_or_before_ms is None else at_or_before_ms
    return select_one(reader, Boundary, "WHERE at_ms <= ? ORDER BY at_ms DESC LIMIT 1", until)


def next_boundary(reader: Reader, after_ms: int) -> Boundary | None:
    """Return the first boundary after a time; None if there is none."""
    return select_one(reader, Boundary, "WHERE at_ms > ? ORDER BY at_ms LIMIT 1", after_ms)


def first_transfer_at_ms(reader: Reader) -> int:
    """Return the time from which transfers are net deposits of the record.

    Without a record, it is a time beyond all others.
    """
    row = reader.execute("SELECT at_ms, midnight FROM boundary ORDER BY at_ms LIMIT 1").fetchone()
    return 2**62 if row is None else int(row[0] if row[1] else row[0] + 1)


def midnight_of_read(at_ms: int) -> int | None:
    """Return the midnight whose equity a read at this time gives, in ms UTC.

    Return None if the read is more than ``READ_WITHIN_MS`` after midnight.
    """
    return None if at_ms % DAY_MS > READ_WITHIN_MS else day_start_ms(at_ms)


def add_up_row(reader: Reader, start: Boundary, end: Boundary) -> DayRow:
    """Add up the row between two boundaries."""
    row = _row(
        reader,
        start,
        _RowEnd(
            at_ms=end.at_ms,
            until_ms=end.first_ms,
            last_ms=end.at_ms - 1,
            equity=equity_at_boundary(reader, end),
        ),
        complete=start.midnight and end.midnight and end.at_ms - start.at_ms == DAY_MS,
    )
    corrections = row.corrections + end.corrections
    return attrs.evolve(row, end_rebuilt=end.rebuilt, corrections=corrections)


def add_up_month(month: str, rows: Sequence[DayRow]) -> MonthRow:
    """Add up the rows that ended in a month, given oldest first; at least one."""
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
    """Add up the row from the newest boundary to the newest equity snapshot.

    Without a later snapshot it ends at the boundary, in older journals at the read of the
    boundary's equity. Return None without a record.
    """
    start = newest_boundary(reader)
    if start is None:
        return None
    snapshot = reader.execute(
        "SELECT at_ms, equity FROM equity ORDER BY at_ms DESC LIMIT 1"
    ).fetchone()
    until_ms = None if snapshot is None else snapshot[0] + 1
    if until_ms is None or until_ms <= (start.at_ms if start.exact else start.read_at_ms):
        snapshot = (start.at_ms if start.exact else start.read_at_ms, start.equity)
        until_ms = start.first_ms if start.exact else start.read_at_ms + 1
    return _row(
        reader,
        start,
        _RowEnd(
            at_ms=snapshot[0],
            until_ms=until_ms,
            # The read that ends the day may come up to READ_WITHIN_MS after midnight.
            last_ms=snapshot[0] - READ_WITHIN_MS - 1,
            equity=Decimal(snapshot[1]),
        ),
        complete=False,
    )


def add_up_strategies(reader: Reader, start: Boundary, end: Boundary) -> tuple[StrategyDay, ...]:
    """Add up the trades that closed between two boundaries, by strategy.

    The sums are sorted by the name of the strategy.
    """
    rows = reader.execute(
        "SELECT strategy, count(*), sum(won), total(r_multiple), count(r_multiple),"
        " sum(max(CAST(pnl_net AS REAL), 0.0)), sum(max(-CAST(pnl_net AS REAL), 0.0))"
        " FROM trade INDEXED BY trade_closed WHERE closed_at_ms >= ? AND closed_at_ms < ?"
        " GROUP BY strategy ORDER BY strategy",
        (start.first_ms, end.first_ms),
    ).fetchall()
    return tuple(
        StrategyDay(
            day=utc_day(start.at_ms),
            strategy=name,
            trades=n,
            wins=wins,
            r=r,
            with_r=with_r,
            profit=profit,
            loss=loss,
        )
        for name, n, wins, r, with_r, profit, loss in rows
    )


def equity_at_boundary(reader: Reader, boundary: Boundary) -> Decimal:
    """Return the equity at a boundary.

    In older journals income between midnight and the read is subtracted from the equity that was
    read, and fees are added.
    """
    if boundary.exact or not boundary.midnight:
        return boundary.equity
    span = (boundary.at_ms, boundary.read_at_ms)
    income = _sum(reader, "SELECT amount FROM income WHERE at_ms BETWEEN ? AND ?", span)
    fees = _sum(reader, "SELECT fee FROM fill WHERE at_ms BETWEEN ? AND ?", span)
    return boundary.equity - income + fees


def _calendar_days(row: DayRow) -> int:
    return (date.fromisoformat(row.last_day) - date.fromisoformat(row.day)).days + 1


@attrs.frozen(kw_only=True)
class _RowEnd:
    """The end of a row of the record."""

    at_ms: int
    until_ms: int  # the first time of the next row
    last_ms: int  # a time of the last day
    equity: Decimal


def _row(reader: Reader, start: Boundary, end: _RowEnd, *, complete: bool) -> DayRow:
    """Add up the row of the record from ``start`` to ``end``."""
    span = (start.first_ms, end.until_ms)
    inside = "at_ms >= ? AND at_ms < ?"
    income = reader.execute(
        f"SELECT kind, amount, at_ms FROM income WHERE {inside} ORDER BY at_ms", span
    ).fetchall()
    transfers = [
        (at_ms, Decimal(amount)) for kind, amount, at_ms in income if kind == IncomeKind.TRANSFER
    ]
    trades = reader.execute(
        "SELECT pnl_net FROM trade WHERE closed_at_ms >= ? AND closed_at_ms < ?", span
    ).fetchall()
    equity_start = equity_at_boundary(reader, start)
    # No time lies before a transfer of the start itself: the first stretch begins after it.
    base = equity_start + sum((amount for at, amount in transfers if at == start.at_ms), ZERO)
    later = [(at, amount) for at, amount in transfers if at > start.at_ms]
    day = Day(
        equity_start=equity_start,
        equity=end.equity,
        net_deposits=sum((amount for _, amount in transfers), ZERO),
        stretches=_divide(reader, later, base, end.equity, end.until_ms),
    )
    return DayRow(
        day=utc_day(start.at_ms),
        last_day=utc_day(max(start.at_ms, end.last_ms)),
        start_ms=start.at_ms,
        end_ms=end.at_ms,
        complete=complete,
        equity_start=day.equity_start,
        equity_end=day.equity,
        return_=day.return_twr,
        net_deposits=day.net_deposits,
        trades=len(trades),
        fees=_sum(reader, f"SELECT fee FROM fill WHERE {inside}", span),
        funding=sum(
            (Decimal(amount) for kind, amount, _ in income if kind == IncomeKind.FUNDING), ZERO
        ),
        pnl=sum((Decimal(row[0]) for row in trades), ZERO),
        start_rebuilt=start.rebuilt,
        corrections=start.corrections,
    )


def _divide(
    reader: Reader,
    transfers: Iterable[tuple[int, Decimal]],
    start: Decimal,
    end: Decimal,
    until_ms: int,
) -> tuple[Stretch, ...]:
    """Return the stretches between transfers, from equity ``start`` to equity ``end``.

    ``transfers`` are given oldest first. A stretch ends with the equity just before a transfer; the
    next one begins with that equity and the amount. In older journals a transfer has no valuation.
    Then the first equity snapshot at or after the transfer is the equity just after it; less the
    transfers up to the snapshot, it is the equity just before.
    """
    stretches: list[Stretch] = []
    moved: dict[int, Decimal] = {}
    for at_ms, amount in transfers:
        moved[at_ms] = moved.get(at_ms, ZERO) + amount
    while moved:
        at_ms = next(iter(moved))
        before = equity_before_transfers(reader, at_ms)
        if before is None:
            snapshot_ms, after = _first_snapshot(reader, at_ms, until_ms) or (until_ms, end)
            counted = [at for at in moved if at <= snapshot_ms]
            before = after - sum((moved.pop(at) for at in counted), ZERO)
        else:
            after = before + moved.pop(at_ms)
        stretches.append(Stretch(start=start, end=before))
        start = after
    return (*stretches, Stretch(start=start, end=end))


def equity_before_transfers(reader: Reader, transfer_at_ms: int) -> Decimal | None:
    """Return the equity just before the transfers of a time; None without a valuation."""
    found = find_valuation(reader, transfer_at_ms)
    return None if found is None else found[0]


def find_valuation(reader: Reader, transfer_at_ms: int) -> tuple[Decimal, str] | None:
    """Return the equity just before the transfers of a time, and the marks' source.

    ``core/risk/midnight_equity.py`` lists the sources of mark prices. Return None if no event
    values these transfers.
    """
    row = reader.execute(
        "SELECT json_extract(CAST(body AS TEXT), '$.equity'),"
        " json_extract(CAST(body AS TEXT), '$.rests_on') FROM event"
        " WHERE kind = 'transfer_valued' AND key BETWEEN ? AND ? ORDER BY seq DESC LIMIT 1",
        # Keys are TIME#NUMBER; "$" is the character after "#".
        (f"{transfer_at_ms}#", f"{transfer_at_ms}$"),
    ).fetchone()
    return None if row is None else (Decimal(row[0]), row[1])


def _first_snapshot(reader: Reader, at_ms: int, until_ms: int) -> tuple[int, Decimal] | None:
    row = reader.execute(
        "SELECT at_ms, equity FROM equity WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms LIMIT 1",
        (at_ms, until_ms),
    ).fetchone()
    return None if row is None else (row[0], Decimal(row[1]))


def _sum(reader: Reader, query: str, span: tuple[int, int]) -> Decimal:
    return sum((Decimal(row[0]) for row in reader.execute(query, span)), ZERO)
