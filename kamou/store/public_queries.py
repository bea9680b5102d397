"""Queries of the public site: days, curve, transfers, totals, ``open_snapshot``.

``store/queries.py`` has the other queries. In ``open_snapshot`` all queries see one state. Every
function takes a connection of ``store.database.open_reader``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal

import attrs

from kamou.core.book.late_events import ResultCorrected
from kamou.core.day import midnight_ms_of, next_day, next_month
from kamou.messages.codec import decode, kind_of
from kamou.store.day_rows import equity_before_transfers, find_valuation, first_transfer_at_ms
from kamou.store.record_rows import CurveMark, DayRow, EquityMark, MonthRow, StrategySums
from kamou.store.table_rows import select


@contextmanager
def open_snapshot(reader: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Let all queries in the context see one committed state.

    Keep the context short, because SQLite cannot checkpoint the write-ahead log meanwhile.
    """
    reader.execute("BEGIN")
    try:
        yield reader
    finally:
        reader.execute("ROLLBACK")


@attrs.frozen(kw_only=True)
class DatedTransfer:
    """A deposit, or a withdrawal with a negative amount."""

    at_ms: int
    amount: Decimal
    equity_before: Decimal | None  # just before all transfers of its time; None: not valued
    marks_from: str | None  # source of the mark prices; see ``core/risk/midnight_equity.py``


@attrs.frozen(kw_only=True)
class Curve:
    """The equity curve: at most ``POINTS_MAX`` intervals of one width, oldest first."""

    width_ms: int
    points: tuple[EquityMark, ...]
    marks: tuple[CurveMark, ...]


def query_curve(reader: sqlite3.Connection) -> Curve:
    """Return the equity curve since inception; ``width_ms`` is 0 if there is none."""
    width = reader.execute("SELECT width_ms FROM curve_width").fetchone()
    if width is None:
        return Curve(width_ms=0, points=(), marks=())
    return Curve(
        width_ms=width[0],
        points=select(reader, EquityMark, "ORDER BY start_ms"),
        marks=select(reader, CurveMark, "ORDER BY kind, start_ms"),
    )


def record_start_ms(reader: sqlite3.Connection) -> int | None:
    """Return the time of the record's first equity; None without a record."""
    row = reader.execute("SELECT at_ms FROM boundary ORDER BY at_ms LIMIT 1").fetchone()
    return None if row is None else int(row[0])


def newest_days(
    reader: sqlite3.Connection, *, limit: int, before: str | None = None
) -> tuple[DayRow, ...]:
    """Return ended rows of the record, newest first, at most ``limit``.

    If ``before`` is given, only rows of days before this day (YYYY-MM-DD) are returned.
    """
    where = "WHERE day < ?" if before else "WHERE day > ?"
    tail = f"{where} ORDER BY day DESC LIMIT ?"
    return select(reader, DayRow, tail, before or "", limit)


def midnight_marks(reader: sqlite3.Connection, days: Sequence[DayRow]) -> dict[str, str]:
    """Return by day the sources of the mark prices of all midnights of these rows.

    The midnights are those from the start of the first day to the end of the last. The key is the
    day that begins (YYYY-MM-DD). ``core/risk/midnight_equity.py`` lists the sources. A midnight is
    absent if its equity is unknown or is the equity that the venue stated.
    """
    if not days:
        return {}
    first = min(day.day for day in days)
    last = next_day(max(day.last_day for day in days))
    rows = reader.execute(
        "SELECT key, json_extract(CAST(body AS TEXT), '$.rests_on') FROM event"
        " WHERE kind = 'day_opened' AND key BETWEEN ? AND ?"
        " AND json_extract(CAST(body AS TEXT), '$.at_midnight')",
        (first, last),
    )
    return {day: source for day, source in rows.fetchall() if source}


def find_later_day(reader: sqlite3.Connection, day: str, *, rows: int) -> str | None:
    """Return the day (YYYY-MM-DD) of the ended row that is ``rows`` rows after a day.

    Return None if fewer rows follow.
    """
    row = reader.execute(
        "SELECT day FROM day WHERE day >= ? ORDER BY day LIMIT 1 OFFSET ?", (day, rows)
    ).fetchone()
    return None if row is None else str(row[0])


def query_months(reader: sqlite3.Connection, *, limit: int) -> tuple[MonthRow, ...]:
    """Return the newest ``limit`` months in which a row has ended, newest first."""
    return select(reader, MonthRow, "ORDER BY month DESC LIMIT ?", limit)


def complete_months(reader: sqlite3.Connection, months: Iterable[str]) -> frozenset[str]:
    """Return the months (YYYY-MM) whose first and last midnight have a known equity.

    As for a complete day, each equity may have been read in time or rebuilt.
    """
    query = "SELECT 1 FROM boundary WHERE at_ms = ? AND midnight"
    found: set[str] = set()
    for month in months:
        midnights = (midnight_ms_of(f"{each}-01") for each in (month, next_month(month)))
        if all(reader.execute(query, (at_ms,)).fetchone() for at_ms in midnights):
            found.add(month)
    return frozenset(found)


def all_days(reader: sqlite3.Connection) -> tuple[DayRow, ...]:
    """Return all ended rows of the record, oldest first.

    Use this for statistics that are made once a day, not for a page.
    """
    return select(reader, DayRow, "ORDER BY day")


def complete_strategy_days(
    reader: sqlite3.Connection,
) -> tuple[tuple[str, str, int, int, float, int, float, float], ...]:
    """Return the sums of each strategy in each complete day, oldest first.

    Rows are ``(day, strategy, trades, wins, r, with_r, profit, loss)``.
    """
    return tuple(
        reader.execute(
            "SELECT day, strategy, s.trades, wins, r, with_r, profit, loss FROM day d"
            " CROSS JOIN day_strategy s USING (day) WHERE complete ORDER BY day, strategy"
        ).fetchall()
    )


def query_snapshots(
    reader: sqlite3.Connection, *, from_ms: int, until_ms: int
) -> tuple[tuple[int, float], ...]:
    """Return the equity snapshots in ``[from_ms, until_ms)``, oldest first.

    Rows are ``(at_ms, equity)``.
    """
    rows = reader.execute(
        "SELECT at_ms, CAST(equity AS REAL) FROM equity WHERE at_ms >= ? AND at_ms < ?"
        " ORDER BY at_ms",
        (from_ms, until_ms),
    )
    return tuple(rows.fetchall())


def query_transfers(
    reader: sqlite3.Connection, *, from_ms: int, until_ms: int
) -> tuple[tuple[int, float, float | None], ...]:
    """Return the net deposits of each time in ``[from_ms, until_ms)``, oldest first.

    Rows are ``(at_ms, amount, equity just before)``; the equity is None without a valuation.
    """
    rows = reader.execute(
        "SELECT at_ms, total(CAST(amount AS REAL)) FROM income INDEXED BY income_transfer"
        " WHERE kind = 'transfer' AND at_ms >= ? AND at_ms < ? GROUP BY at_ms ORDER BY at_ms",
        (from_ms, until_ms),
    ).fetchall()
    found = [(at_ms, amount, equity_before_transfers(reader, at_ms)) for at_ms, amount in rows]
    return tuple((at, amount, None if v is None else float(v)) for at, amount, v in found)


def count_transfers(reader: sqlite3.Connection, *, from_ms: int) -> int:
    """Count the deposits and withdrawals at or after ``from_ms``."""
    query = (
        "SELECT count(*) FROM income INDEXED BY income_transfer"
        " WHERE kind = 'transfer' AND at_ms >= ?"
    )
    return int(reader.execute(query, (from_ms,)).fetchone()[0])


def count_transfers_before_record(reader: sqlite3.Connection) -> int:
    """Count the transfers before the record, which its net deposits exclude."""
    return int(
        reader.execute(
            "SELECT count(*) FROM income INDEXED BY income_transfer"
            " WHERE kind = 'transfer' AND at_ms < ?",
            (first_transfer_at_ms(reader),),
        ).fetchone()[0]
    )


def newest_transfers(
    reader: sqlite3.Connection, *, limit: int, until_ms: int
) -> tuple[DatedTransfer, ...]:
    """Return the record's newest ``limit`` transfers up to ``until_ms``, oldest first."""
    rows = reader.execute(
        "SELECT at_ms, amount FROM income INDEXED BY income_transfer"
        " WHERE kind = 'transfer' AND at_ms BETWEEN ? AND ? ORDER BY at_ms DESC LIMIT ?",
        (first_transfer_at_ms(reader), until_ms, limit),
    ).fetchall()
    found: list[DatedTransfer] = []
    for at_ms, amount in rows[::-1]:
        equity, source = find_valuation(reader, at_ms) or (None, None)
        found.append(
            DatedTransfer(
                at_ms=at_ms, amount=Decimal(amount), equity_before=equity, marks_from=source
            )
        )
    return tuple(found)


def strategy_sums(reader: sqlite3.Connection) -> tuple[StrategySums, ...]:
    """Return the totals of each strategy that has closed a trade, sorted by name."""
    return select(reader, StrategySums, "ORDER BY strategy")


def result_corrections(
    reader: sqlite3.Connection, result_id: str, *, limit: int
) -> tuple[ResultCorrected, ...]:
    """Return the first ``limit`` corrections of a published result, oldest first."""
    rows = reader.execute(
        "SELECT body FROM event WHERE kind = ? AND key > ? AND key < ? ORDER BY seq LIMIT ?",
        # Keys are RESULT#NUMBER; "$" is the character after "#".
        (kind_of(ResultCorrected), f"{result_id}#", f"{result_id}$", limit),
    ).fetchall()
    return tuple(decode(ResultCorrected, body) for (body,) in rows)
