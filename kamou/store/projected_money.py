"""Projections of income, closed and corrected trades, and equity snapshots.

``store/projections.py`` registers these projections.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal

import attrs

from kamou.core.book import events as e
from kamou.core.book.late_events import ResultCorrected
from kamou.core.kinds import IncomeKind
from kamou.store import projected_curve, projected_days
from kamou.store.day_rows import first_transfer_at_ms
from kamou.store.projected_totals import add_totals, count_trade
from kamou.store.record_rows import EquityPoint, IncomeRow, MarkKind
from kamou.store.rows import TradeRow
from kamou.store.table_rows import insert, insert_new, make_row, select_one, upsert


def project_income_recorded(cursor: sqlite3.Cursor, event: e.IncomeRecorded) -> None:
    income = event.income
    insert(cursor, make_row(IncomeRow, income))
    if income.kind is IncomeKind.TRANSFER:
        add_totals(cursor, transfers=1)
        if income.at_ms >= first_transfer_at_ms(cursor):
            projected_curve.mark_moment(cursor, MarkKind.TRANSFER, income.at_ms, income.amount)
    projected_days.project_entry(cursor, income.at_ms)


def project_trade_closed(cursor: sqlite3.Cursor, event: e.TradeClosed) -> None:
    trade = make_row(TradeRow, event)
    insert(cursor, trade)
    # Fills of liquidations and external orders have no order of Kamou's; they belong to this trade.
    cursor.execute(
        "UPDATE fill SET trade_id = ? WHERE trade_id IS NULL AND symbol = ?"
        " AND at_ms BETWEEN ? AND ?",
        (event.trade_id, event.symbol, event.opened_at_ms, event.closed_at_ms),
    )
    # A trade's second result has its own id; its cause is the trade.
    cursor.execute(
        "DELETE FROM open_trade WHERE trade_id IN (?, ?)", (event.trade_id, event.cause_id)
    )
    count_trade(cursor, trade)
    projected_days.project_entry(cursor, event.closed_at_ms)


def project_result_corrected(cursor: sqlite3.Cursor, event: ResultCorrected) -> None:
    before = select_one(cursor, TradeRow, "WHERE trade_id = ?", event.trade_id)
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


def project_equity_recorded(cursor: sqlite3.Cursor, event: e.EquityRecorded) -> None:
    row = make_row(EquityPoint, event)
    replaced = not insert_new(cursor, row)
    if replaced:
        upsert(cursor, row)
    projected_curve.add_equity_mark(cursor, row.at_ms, row.equity, replaced=replaced)
    if projected_days.project_equity(cursor, row.at_ms, row.equity):
        mark_transfers(cursor)


def mark_transfers(cursor: sqlite3.Cursor) -> None:
    """Mark on the curve the record's transfers that were recorded before it began."""
    for at_ms, amount in cursor.execute(
        "SELECT at_ms, amount FROM income WHERE kind = ? AND at_ms >= ? ORDER BY at_ms",
        (IncomeKind.TRANSFER, first_transfer_at_ms(cursor)),
    ).fetchall():
        projected_curve.mark_moment(cursor, MarkKind.TRANSFER, at_ms, Decimal(amount))
