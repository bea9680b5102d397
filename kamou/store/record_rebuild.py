"""Fill the record's tables (days, months, totals, curve) from the read models that came before.

Run once, inside the migration's transaction. The work is in proportion to the history; no more
than one day of entries and the curve's points are in memory at once. What comes out is what the
projections would have written event by event (a test compares the two), and it is checked against
plain sums over the old tables before it is committed.
"""

from __future__ import annotations

import sqlite3

from kamou.core.book.events import DayOpened
from kamou.core.model import ZERO
from kamou.errors import StoreError
from kamou.messages.codec import decode
from kamou.store import projected_curve, projected_days, projected_money, projected_totals
from kamou.store.day_rows import TRANSFER, open_row
from kamou.store.rows import HALTED, DayRow, TradeRow, select
from kamou.store.state_history import begins

_EQUITY = "json_extract(CAST(body AS TEXT), '$.equity')"  # whatever else a schema's body has


def rebuild(connection: sqlite3.Connection) -> None:
    """Fill the tables and check them; nothing if a projection or an earlier run filled them.

    Raises:
        StoreError: what was added up differs from the tables that it was added up from.
    """
    cursor = connection.cursor()
    if cursor.execute("SELECT 1 FROM total").fetchone() is not None:
        return
    _totals(cursor)
    _curve(cursor)
    _days(cursor)
    projected_money.mark_flows(cursor)
    _check(cursor)


def mark_config_changes(connection: sqlite3.Connection) -> None:
    """Mark every change of the configuration on the curve; once, in the migration."""
    cursor = connection.cursor()
    changes = cursor.execute(
        "SELECT started_ms FROM run WHERE change_reason IS NOT NULL ORDER BY generation"
    ).fetchall()
    for (started_ms,) in changes[1:]:  # the first is what the record began with
        projected_curve.moment_marked(cursor, "config", started_ms)


def _totals(cursor: sqlite3.Cursor) -> None:
    cursor.executemany(
        "INSERT INTO total (name, value) VALUES (?, 0)",
        [(name,) for name in projected_totals.NAMES],
    )
    sums = cursor.execute(
        "SELECT count(*), coalesce(sum(candidates), 0), coalesce(sum(abstained), 0),"
        " coalesce(sum(vetoed), 0), coalesce(sum(refused), 0) FROM cycle"
    ).fetchone()
    names = ("cycles", "candidates", "abstained", "vetoed", "refused")
    projected_totals.count(cursor, **dict(zip(names, sums, strict=True)))
    moved = cursor.execute("SELECT count(*) FROM income WHERE kind = ?", (TRANSFER,)).fetchone()[0]
    projected_totals.count(cursor, transfers=moved)
    tables = {"permit": "permits", "order_": "orders", "fill": "fills", "config": "configs"}
    for table, name in tables.items():
        found = cursor.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        projected_totals.count(cursor, **{name: found})
    cursor.execute(
        "INSERT INTO open_trade SELECT DISTINCT trade_id FROM fill WHERE trade_id IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM trade WHERE trade.trade_id = fill.trade_id)"
    )
    # An entry that filled further after its trade's result opened the trade again.
    cursor.execute(
        "INSERT OR IGNORE INTO open_trade SELECT fill.trade_id FROM fill"
        " JOIN order_ ON order_.client_order_id = fill.client_order_id AND order_.role = 'entry'"
        " JOIN trade ON trade.trade_id = fill.trade_id GROUP BY fill.trade_id"
        " HAVING round(sum(CAST(fill.quantity AS REAL)), 9)"
        " > round(max(CAST(trade.quantity AS REAL)), 9)"
    )
    last = cursor.execute("SELECT coalesce(max(rowid), 0) FROM trade").fetchone()[0]
    for after in range(0, last, 1_000):
        span = "WHERE rowid > ? AND rowid <= ? ORDER BY rowid"
        for trade in select(cursor, TradeRow, "trade", span, after, after + 1_000):
            projected_totals.trade_counted(cursor, trade)


def _curve(cursor: sqlite3.Cursor) -> None:
    projected_curve.remake_all(cursor)
    configs = cursor.execute("SELECT first_ms FROM config ORDER BY first_ms, digest").fetchall()
    for (first_ms,) in configs[1:]:  # the first is what the record began with
        projected_curve.moment_marked(cursor, "config", first_ms)
    for before, after, from_ms, until_ms in cursor.execute(
        'SELECT "before", "after", at_ms, lead(at_ms) OVER (ORDER BY seq) FROM state ORDER BY seq'
    ).fetchall():
        halts, reductions = (int(begins(kind, before, after)) for kind in ("halt", "reduced_size"))
        projected_totals.count(cursor, halts=halts, reductions=reductions)
        if after in HALTED and until_ms is not None:
            projected_curve.span_marked(cursor, "halt", from_ms, until_ms)


def _days(cursor: sqlite3.Cursor) -> None:
    # In the order of the journal it is among the first events, so no index is wanted.
    first = cursor.execute(
        f"SELECT kind, at_ms, {_EQUITY} FROM event NOT INDEXED"
        " WHERE kind IN ('day_opened', 'equity_recorded') ORDER BY seq LIMIT 1"
    ).fetchone()
    if first is not None and first[0] == "equity_recorded":
        projected_days.equity_read(cursor, *first[1:])
    for (body,) in cursor.execute(
        "SELECT body FROM event WHERE kind = 'day_opened' ORDER BY seq"
    ).fetchall():
        projected_days.day_opened(cursor, decode(DayOpened, body))


def _check(cursor: sqlite3.Cursor) -> None:
    """Compare with sums that share no code with the rows."""
    last = open_row(cursor)
    if last is None:
        return
    rows = (*select(cursor, DayRow, "day", "ORDER BY day"), last)
    start_ms, end_ms = rows[0].start_ms, last.end_ms
    inside = cursor.execute(
        "SELECT count(*) FROM trade WHERE closed_ms BETWEEN ? AND ?", (start_ms, end_ms)
    ).fetchone()[0]
    at_start = cursor.execute(
        "SELECT count(*) FROM trade WHERE closed_ms = ?", (start_ms,)
    ).fetchone()[0]
    found = sum(row.trades for row in rows)
    _agree("closed trades", found, inside if found == inside else inside - at_start)
    change = sum((row.change for row in rows), ZERO)
    flows = sum((row.flows for row in rows), ZERO)
    _agree("change of equity", change, last.equity_end - rows[0].equity_start - flows)
    lows = "SELECT min(CAST({} AS REAL)), max(CAST({} AS REAL)) FROM {}"
    _agree(
        "extremes of the curve",
        cursor.execute(lows.format("low", "high", "curve")).fetchone(),
        cursor.execute(lows.format("equity", "equity", "equity")).fetchone(),
    )


def _agree(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise StoreError(
            f"the daily rows do not add up: {what} {found}, the journal's tables say {expected};"
            " nothing was changed, keep the database and report this"
        )
