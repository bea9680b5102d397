"""Projections of the totals since inception, and the names of the totals.

Pages read the totals, so that no page counts all rows of a table.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal

from kamou.core.book import events as e
from kamou.core.model import ZERO
from kamou.store.rows import TradeRow

TOTAL_NAMES = (
    "cycles",
    "candidates",
    "abstained",
    "vetoed",
    "refused",  # refusals of the refiner and denials of the governor
    "permits",
    "orders",
    "fills",
    "trades",
    "halts",
    "reductions",  # periods of reduced size
    "downtimes",
    "transfers",  # deposits and withdrawals
    "configs",
    "days",  # daily rows that have ended
    "day_revision",  # number of writes of daily rows: the key of the pages' caches
)


def add_totals(cursor: sqlite3.Cursor, **added: int) -> None:
    """Add each value to the total of that name."""
    for name, value in added.items():
        if value:
            cursor.execute("UPDATE total SET value = value + ? WHERE name = ?", (value, name))


def count_trade(cursor: sqlite3.Cursor, event: e.TradeClosed | TradeRow, *, times: int = 1) -> None:
    """Add a closed trade to the totals of trades.

    These are the number of all trades, the sums by strategy, and the numbers by strategy, symbol
    and outcome. ``times`` is -1 to subtract a result before its correction is added.
    """
    won = event.pnl_net > 0
    add_totals(cursor, trades=times)
    key = (event.strategy, event.symbol, int(won))
    cursor.execute(
        "INSERT INTO trade_count (strategy, symbol, won, trades) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET trades = trades + excluded.trades",
        (*key, times),
    )
    cursor.execute(
        "DELETE FROM trade_count WHERE strategy = ? AND symbol = ? AND won = ? AND trades = 0",
        key,
    )
    row = cursor.execute(
        "SELECT profit, loss, pnl_net, fees, funding, slippage FROM strategy_total"
        " WHERE strategy = ?",
        (event.strategy,),
    ).fetchone()
    if row is None:
        cursor.execute("INSERT INTO strategy_total (strategy) VALUES (?)", (event.strategy,))
        row = ("0",) * 6
    added = (
        max(event.pnl_net, ZERO),
        max(-event.pnl_net, ZERO),
        event.pnl_net,
        event.fees,
        event.funding,
        event.slippage,
    )
    cursor.execute(
        "UPDATE strategy_total SET trades = trades + ?, wins = wins + ?, r = r + ?,"
        " with_r = with_r + ?, profit = ?, loss = ?, pnl_net = ?, fees = ?, funding = ?,"
        " slippage = ? WHERE strategy = ?",
        (
            times,
            times * won,
            0.0 if event.r_multiple is None else times * float(event.r_multiple),
            times * (event.r_multiple is not None),
            *(str(Decimal(old) + times * new) for old, new in zip(row, added, strict=True)),
            event.strategy,
        ),
    )
