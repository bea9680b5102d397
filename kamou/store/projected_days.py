"""Projections of the daily rows: added up once when a day ends, again when an entry comes late.

Each function does work in proportion to the entries of the rows that it writes, whatever the
length of the record; see ``store/day_rows.py`` for what a row is.
"""

from __future__ import annotations

import sqlite3

from kamou.core.book.events import DayOpened
from kamou.core.book.late_events import DayCorrected, TransferValued
from kamou.core.day import midnight_ms_of
from kamou.core.risk.midnight_equity import IN_TIME_MS
from kamou.store.day_rows import (
    Boundary,
    add_up_month,
    add_up_row,
    add_up_strategies,
    midnight_of_read,
    newest_boundary,
    next_boundary,
)
from kamou.store.projected_totals import add_totals
from kamou.store.rows import DayRow, select

MONTH_DAYS_MAX = "-31"  # sorts at or after the last day of any month


def project_equity(cursor: sqlite3.Cursor, at_ms: int, equity: str) -> bool:
    """Begin the record with the first equity; later ones only correct a day that has ended.

    Returns whether the record began.
    """
    known = project_entry(cursor, at_ms)
    if not known:
        _begin(cursor, at_ms, equity)
    return not known


def project_day_opened(cursor: sqlite3.Cursor, event: DayOpened) -> None:
    """Cut the record at this day's midnight, if its equity is known, and add up what ended."""
    newest = newest_boundary(cursor)
    if newest is None:
        _begin(cursor, event.at_ms, str(event.equity))
        return
    if event.opening is None:
        midnight_at_ms = midnight_of_read(event.at_ms)
        equity = event.equity
    else:
        midnight_at_ms = event.midnight_at_ms if event.at_midnight else None
        equity = event.opening
    if midnight_at_ms is None or midnight_at_ms < newest.at_ms:
        return
    _insert(cursor, midnight_at_ms, event.at_ms, str(equity), midnight=True)
    if event.opening is not None:
        late = event.at_ms - midnight_at_ms > IN_TIME_MS
        cursor.execute(
            "UPDATE boundary SET exact = 1, rebuilt = ? WHERE at_ms = ?",
            (event.rests_on if late else "", midnight_at_ms),
        )
    cut = newest_boundary(cursor)
    assert cut is not None
    if newest.at_ms < midnight_at_ms:
        _write(cursor, newest, cut)


def project_day_corrected(cursor: sqlite3.Cursor, seq: int, event: DayCorrected) -> None:
    """Set the equity of a midnight anew and add up the days on both sides of it."""
    at_ms = midnight_ms_of(event.day)
    cursor.execute(
        "UPDATE boundary SET equity = ?, corrections = ? WHERE at_ms = ? AND exact = 1",
        (str(event.equity), event.number, at_ms),
    )
    if not cursor.rowcount:
        return
    cut = newest_boundary(cursor, at_or_before_ms=at_ms)
    assert cut is not None
    before = newest_boundary(cursor, at_or_before_ms=at_ms - 1)
    after = next_boundary(cursor, at_ms)
    if before is not None:
        _write(cursor, before, cut)
    if after is not None:
        _write(cursor, cut, after)


def project_transfer_valued(cursor: sqlite3.Cursor, seq: int, event: TransferValued) -> None:
    """Add up the day of a transfer again; ``day_rows`` finds the valuation among the events."""
    project_entry(cursor, event.transfer_at_ms)


def project_entry(cursor: sqlite3.Cursor, at_ms: int) -> bool:
    """Add up again the rows that an entry with this stamp belongs to, if they have ended.

    Returns False when there is no record yet.
    """
    newest = cursor.execute(
        "SELECT read_at_ms FROM boundary ORDER BY at_ms DESC LIMIT 1"
    ).fetchone()
    if newest is None:
        return False
    if at_ms <= newest[0]:  # else its day is still open, and is added up when it ends
        _correct(cursor, at_ms)
    return True


def _correct(cursor: sqlite3.Cursor, at_ms: int) -> None:
    cut = newest_boundary(cursor, at_or_before_ms=at_ms)
    if cut is None:
        return
    after = next_boundary(cursor, cut.at_ms)
    if after is not None:
        _write(cursor, cut, after)
    if at_ms <= cut.read_at_ms:  # it was in the equity that was read for the midnight
        before = newest_boundary(cursor, at_or_before_ms=cut.at_ms - 1)
        if before is not None:
            _write(cursor, before, cut)


def _begin(cursor: sqlite3.Cursor, at_ms: int, equity: str) -> None:
    _insert(cursor, at_ms, at_ms, equity, midnight=midnight_of_read(at_ms) == at_ms)


def _insert(
    cursor: sqlite3.Cursor, at_ms: int, read_at_ms: int, equity: str, *, midnight: bool
) -> None:
    cursor.execute(
        "INSERT OR REPLACE INTO boundary (at_ms, read_at_ms, equity, midnight) VALUES (?, ?, ?, ?)",
        (at_ms, read_at_ms, equity, int(midnight)),
    )


def _write(cursor: sqlite3.Cursor, start: Boundary, end: Boundary) -> None:
    row = add_up_row(cursor, start, end)
    known = cursor.execute("SELECT 1 FROM day WHERE day = ?", (row.day,)).fetchone()
    cursor.execute(
        "INSERT OR REPLACE INTO day (day, last_day, start_ms, end_ms, complete, equity_start,"
        ' equity_end, "return", net_deposits, trades, fees, funding, pnl,'
        " start_rebuilt, end_rebuilt, corrections)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.day,
            row.last_day,
            row.start_ms,
            row.end_ms,
            int(row.complete),
            str(row.equity_start),
            str(row.equity_end),
            row.return_,
            str(row.net_deposits),
            row.trades,
            str(row.fees),
            str(row.funding),
            str(row.pnl),
            row.start_rebuilt,
            row.end_rebuilt,
            row.corrections,
        ),
    )
    cursor.execute("DELETE FROM day_strategy WHERE day = ?", (row.day,))
    cursor.executemany(
        "INSERT INTO day_strategy (day, strategy, trades, wins, r, with_r, profit, loss)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (row.day, s.strategy, s.trades, s.wins, s.r, s.with_r, s.profit, s.loss)
            for s in add_up_strategies(cursor, start, end)
        ],
    )
    _write_month(cursor, row.last_day[:7])
    add_totals(cursor, day_revision=1, days=int(known is None))


def _write_month(cursor: sqlite3.Cursor, month: str) -> None:
    rows = select(
        cursor,
        DayRow,
        "day",
        "WHERE last_day BETWEEN ? AND ? ORDER BY last_day",
        f"{month}-01",
        month + MONTH_DAYS_MAX,
    )
    made = add_up_month(month, rows)
    cursor.execute(
        'INSERT OR REPLACE INTO month (month, equity_end, "return", change, net_deposits, trades,'
        " fees, funding, complete, gaining, losing, unseparated)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            made.month,
            str(made.equity_end),
            made.return_,
            str(made.change),
            str(made.net_deposits),
            made.trades,
            str(made.fees),
            str(made.funding),
            made.complete,
            made.gaining,
            made.losing,
            made.unseparated,
        ),
    )
