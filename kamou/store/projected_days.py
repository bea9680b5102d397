"""Projections of the record's rows: days, strategies of each day, and months.

A row is written when its day ends, and again after a late fill, payment, trade or equity, and after
a correction or a valuation. The work of each function is proportional to the fills and payments in
the rows that it writes, and does not grow with the record. ``store/day_rows.py`` defines a row.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal

from kamou.core.book.events import DayOpened
from kamou.core.book.late_events import DayCorrected, TransferValued
from kamou.core.day import midnight_ms_of
from kamou.core.risk.midnight_equity import IN_TIME_MS
from kamou.store.day_rows import (
    add_up_month,
    add_up_row,
    add_up_strategies,
    midnight_of_read,
    newest_boundary,
    next_boundary,
)
from kamou.store.projected_totals import add_totals
from kamou.store.record_rows import Boundary, DayRow
from kamou.store.table_rows import insert, select, upsert

MONTH_DAYS_MAX = "-31"  # sorts at or after the last day of any month


def project_equity(cursor: sqlite3.Cursor, at_ms: int, equity: Decimal) -> bool:
    """Begin the record, or write the ended rows that a late equity changes.

    Return True if the record begins with this equity.
    """
    has_begun = project_entry(cursor, at_ms)
    if not has_begun:
        _begin_record(cursor, at_ms, equity)
    return not has_begun


def project_day_opened(cursor: sqlite3.Cursor, event: DayOpened) -> None:
    """End the row before this day's midnight if the midnight's equity is known.

    If there is no record, it begins with the equity that the event's read gave.
    """
    newest = newest_boundary(cursor)
    if newest is None:
        _begin_record(cursor, event.at_ms, event.equity)
        return
    if event.opening is None:
        midnight_at_ms = midnight_of_read(event.at_ms)
        equity = event.equity
    else:
        midnight_at_ms = event.midnight_at_ms if event.at_midnight else None
        equity = event.opening
    if midnight_at_ms is None or midnight_at_ms < newest.at_ms:
        return
    late = event.at_ms - midnight_at_ms > IN_TIME_MS
    boundary = Boundary(
        at_ms=midnight_at_ms,
        read_at_ms=event.at_ms,
        equity=equity,
        midnight=True,
        exact=event.opening is not None,
        rebuilt=event.rests_on if event.opening is not None and late else "",
    )
    upsert(cursor, boundary)
    if newest.at_ms < midnight_at_ms:
        _write_row(cursor, newest, boundary)


def project_day_corrected(cursor: sqlite3.Cursor, event: DayCorrected) -> None:
    """Replace the equity of a midnight and write the rows before and after it again.

    Do nothing if the record has no exact equity of this midnight.
    """
    at_ms = midnight_ms_of(event.day)
    cursor.execute(
        "UPDATE boundary SET equity = ?, corrections = ? WHERE at_ms = ? AND exact = 1",
        (str(event.equity), event.number, at_ms),
    )
    if not cursor.rowcount:
        return
    boundary = newest_boundary(cursor, at_or_before_ms=at_ms)
    assert boundary is not None
    before = newest_boundary(cursor, at_or_before_ms=at_ms - 1)
    after = next_boundary(cursor, at_ms)
    if before is not None:
        _write_row(cursor, before, boundary)
    if after is not None:
        _write_row(cursor, boundary, after)


def project_transfer_valued(cursor: sqlite3.Cursor, event: TransferValued) -> None:
    """Write the ended rows of a valued transfer again.

    ``day_rows`` reads the valuation.
    """
    project_entry(cursor, event.transfer_at_ms)


def project_entry(cursor: sqlite3.Cursor, at_ms: int) -> bool:
    """Write the ended rows that a fill, payment, trade or equity changes.

    ``at_ms`` is the time of the fill, payment, trade or equity. Return False without a record.
    """
    newest = cursor.execute(
        "SELECT read_at_ms FROM boundary ORDER BY at_ms DESC LIMIT 1"
    ).fetchone()
    if newest is None:
        return False
    if at_ms <= newest[0]:  # otherwise its row is still open and is written when it ends
        _write_rows_again(cursor, at_ms)
    return True


def _write_rows_again(cursor: sqlite3.Cursor, at_ms: int) -> None:
    """Write the row that has this time and, if it changes, the row before.

    The row before changes if the equity that was read at its end is of this time or later.
    """
    boundary = newest_boundary(cursor, at_or_before_ms=at_ms)
    if boundary is None:
        return
    after = next_boundary(cursor, boundary.at_ms)
    if after is not None:
        _write_row(cursor, boundary, after)
    if at_ms <= boundary.read_at_ms:  # the midnight's equity was read later
        before = newest_boundary(cursor, at_or_before_ms=boundary.at_ms - 1)
        if before is not None:
            _write_row(cursor, before, boundary)


def _begin_record(cursor: sqlite3.Cursor, at_ms: int, equity: Decimal) -> None:
    midnight = midnight_of_read(at_ms) == at_ms
    insert(cursor, Boundary(at_ms=at_ms, read_at_ms=at_ms, equity=equity, midnight=midnight))


def _write_row(cursor: sqlite3.Cursor, start: Boundary, end: Boundary) -> None:
    """Write the row between two boundaries, its strategies and month; count the row."""
    row = add_up_row(cursor, start, end)
    present = cursor.execute("SELECT 1 FROM day WHERE day = ?", (row.day,)).fetchone()
    upsert(cursor, row)
    cursor.execute("DELETE FROM day_strategy WHERE day = ?", (row.day,))
    for sums in add_up_strategies(cursor, start, end):
        insert(cursor, sums)
    _write_month(cursor, row.last_day[:7])
    add_totals(cursor, day_revision=1, days=int(present is None))


def _write_month(cursor: sqlite3.Cursor, month: str) -> None:
    rows = select(
        cursor,
        DayRow,
        "WHERE last_day BETWEEN ? AND ? ORDER BY last_day",
        f"{month}-01",
        month + MONTH_DAYS_MAX,
    )
    upsert(cursor, add_up_month(month, rows))
