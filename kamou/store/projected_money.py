"""Projections of income, trades, equity marks and days; see ``store/projections.py``."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from decimal import Decimal

from kamou.core import events as e
from kamou.core.model import ZERO


def income_recorded(cursor: sqlite3.Cursor, seq: int, event: e.IncomeRecorded) -> None:
    income = event.income
    cursor.execute(
        "INSERT INTO income VALUES (?, ?, ?, ?, ?)",
        (income.income_id, income.kind, income.symbol, str(income.amount), income.at_ms),
    )


def trade_closed(cursor: sqlite3.Cursor, seq: int, event: e.TradeClosed) -> None:
    cursor.execute(
        "INSERT INTO trade VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.trade_id,
            event.symbol,
            event.strategy,
            event.side.value,
            str(event.quantity),
            str(event.contract_size),
            str(event.entry_price),
            str(event.exit_price),
            str(event.stop_price),
            event.opened_ms,
            event.closed_ms,
            str(event.pnl_gross),
            str(event.fees),
            str(event.funding),
            str(event.slippage),
            str(event.pnl_net),
            float(event.r_multiple),
            event.exit_reason,
        ),
    )
    # Liquidations and foreign closes carry no client id; they belong to the trade they ended.
    cursor.execute(
        "UPDATE fill SET trade_id = ? WHERE trade_id IS NULL AND symbol = ?"
        " AND at_ms BETWEEN ? AND ?",
        (event.trade_id, event.symbol, event.opened_ms, event.closed_ms),
    )
    _count_on_its_day(cursor, event)


def _count_on_its_day(cursor: sqlite3.Cursor, event: e.TradeClosed) -> None:
    day = _day(event.closed_ms)
    row = cursor.execute("SELECT fees, funding, pnl FROM day WHERE day = ?", (day,)).fetchone()
    if row is None:
        return  # it closed before the first day was opened
    added = (event.fees, event.funding, event.pnl_net)
    sums = [str(Decimal(old) + new) for old, new in zip(row, added, strict=True)]
    cursor.execute(
        "UPDATE day SET trades = trades + 1, fees = ?, funding = ?, pnl = ? WHERE day = ?",
        (*sums, day),
    )


def equity_marked(cursor: sqlite3.Cursor, seq: int, event: e.EquityMarked) -> None:
    cursor.execute(
        "INSERT OR REPLACE INTO equity VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            event.at_ms,
            str(event.equity),
            str(event.balance),
            str(event.unrealised),
            str(event.margin_used),
            str(event.open_risk),
            str(event.flows),
        ),
    )


def day_opened(cursor: sqlite3.Cursor, seq: int, event: e.DayOpened) -> None:
    before = cursor.execute(
        "SELECT day, equity_start FROM day WHERE day < ? ORDER BY day DESC LIMIT 1", (event.day,)
    ).fetchone()
    if before is not None:
        _close_day(cursor, before[0], Decimal(before[1]), event)
    cursor.execute(
        "INSERT INTO day (day, equity_start) VALUES (?, ?)", (event.day, str(event.equity))
    )


def _close_day(cursor: sqlite3.Cursor, day: str, start: Decimal, event: e.DayOpened) -> None:
    """The day ends where the next one opens; what was deposited meanwhile is no profit."""
    opened_ms = _opened_ms(cursor, day)
    flows = _flows(cursor, event.at_ms) - _flows(cursor, opened_ms)
    gain = event.equity - start - flows
    cursor.execute(
        'UPDATE day SET equity_end = ?, flows = ?, "return" = ? WHERE day = ?',
        (str(event.equity), str(flows), float(gain / start) if start > 0 else None, day),
    )


def _opened_ms(cursor: sqlite3.Cursor, day: str) -> int:
    row = cursor.execute(
        "SELECT at_ms FROM event WHERE kind = 'day_opened' AND key = ?", (day,)
    ).fetchone()
    return int(row[0])


def _flows(cursor: sqlite3.Cursor, at_ms: int) -> Decimal:
    """Net deposits since inception by the last mark at that time."""
    row = cursor.execute(
        "SELECT flows FROM equity WHERE at_ms <= ? ORDER BY at_ms DESC LIMIT 1", (at_ms,)
    ).fetchone()
    return Decimal(row[0]) if row else ZERO


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
