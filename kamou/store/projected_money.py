"""Projections of income, closed and corrected trades, and equity snapshots.

``store/projections.py`` registers these projections.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal

import attrs

from kamou.core.book import events as e
from kamou.core.book.late_events import ResultCorrected
from kamou.store import projected_curve, projected_days
from kamou.store.day_rows import TRANSFER_INCOME, first_transfer_at_ms
from kamou.store.projected_totals import add_totals, count_trade
from kamou.store.row_selection import select_one
from kamou.store.rows import TradeRow


def project_income_recorded(cursor: sqlite3.Cursor, seq: int, event: e.IncomeRecorded) -> None:
    income = event.income
    cursor.execute(
        "INSERT INTO income VALUES (?, ?, ?, ?, ?)",
        (income.income_id, income.kind, income.symbol, str(income.amount), income.at_ms),
    )
    if income.kind == TRANSFER_INCOME:
        add_totals(cursor, transfers=1)
        if income.at_ms >= first_transfer_at_ms(cursor):
            projected_curve.mark_moment(cursor, "transfer", income.at_ms, income.amount)
    projected_days.project_entry(cursor, income.at_ms)


def project_trade_closed(cursor: sqlite3.Cursor, seq: int, event: e.TradeClosed) -> None:
    cursor.execute(
        "INSERT INTO trade VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            event.opened_at_ms,
            event.closed_at_ms,
            str(event.pnl_gross),
            str(event.fees),
            str(event.funding),
            str(event.slippage),
            str(event.pnl_net),
            None if event.r_multiple is None else float(event.r_multiple),
            event.exit_reason,
            None if event.planned_stop is None else str(event.planned_stop),
        ),
    )
    # Fills of liquidations and external orders have no order of Kamou's: this trade is theirs.
    cursor.execute(
        "UPDATE fill SET trade_id = ? WHERE trade_id IS NULL AND symbol = ?"
        " AND at_ms BETWEEN ? AND ?",
        (event.trade_id, event.symbol, event.opened_at_ms, event.closed_at_ms),
    )
    # A trade's second result has its own id; its cause is the trade.
    cursor.execute(
        "DELETE FROM open_trade WHERE trade_id IN (?, ?)", (event.trade_id, event.cause_id)
    )
    count_trade(cursor, event)
    projected_days.project_entry(cursor, event.closed_at_ms)


def project_result_corrected(cursor: sqlite3.Cursor, seq: int, event: ResultCorrected) -> None:
    before = select_one(cursor, TradeRow, "trade", "WHERE trade_id = ?", event.trade_id)
    if before is None:
        return
    count_trade(cursor, before, times=-1)
    after = attrs.evolve(
        before,
        funding=event.funding,
        pnl_net=event.pnl_net,
        r_multiple=None if event.r_multiple is None else float(event.r_multiple),
    )
    cursor.execute(
        "UPDATE trade SET funding = ?, pnl_net = ?, r_multiple = ? WHERE trade_id = ?",
        (str(after.funding), str(after.pnl_net), after.r_multiple, after.trade_id),
    )
    count_trade(cursor, after)
    projected_days.project_entry(cursor, after.closed_at_ms)


def project_equity_recorded(cursor: sqlite3.Cursor, seq: int, event: e.EquityRecorded) -> None:
    equity = str(event.equity)
    row = (
        event.at_ms,
        equity,
        str(event.wallet_balance),
        str(event.unrealized_pnl),
        str(event.margin_used),
        str(event.open_risk),
        str(event.net_deposits),
    )
    cursor.execute("INSERT OR IGNORE INTO equity VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    replaced = not cursor.rowcount
    if replaced:
        cursor.execute("REPLACE INTO equity VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    projected_curve.add_equity_mark(cursor, event.at_ms, equity, replaced=replaced)
    if projected_days.project_equity(cursor, event.at_ms, equity):
        mark_transfers(cursor)


def mark_transfers(cursor: sqlite3.Cursor) -> None:
    """Mark on the curve the record's transfers that were recorded before it began."""
    for at_ms, amount in cursor.execute(
        "SELECT at_ms, amount FROM income WHERE kind = ? AND at_ms >= ? ORDER BY at_ms",
        (TRANSFER_INCOME, first_transfer_at_ms(cursor)),
    ).fetchall():
        projected_curve.mark_moment(cursor, "transfer", at_ms, Decimal(amount))
