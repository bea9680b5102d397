"""Projections of the totals since inception, and the names of the totals.

Pages read the totals, so that no page counts all rows of a table.
"""

from __future__ import annotations

import sqlite3

import attrs

from kamou.core.model import ZERO
from kamou.store.record_rows import StrategySums, TradeCount
from kamou.store.rows import TradeRow
from kamou.store.table_rows import select_one, upsert

TOTAL_NAMES = (
    "cycles",
    "candidates",
    "abstained",
    "vetoed",
    "refused",  # refusals of the refiner, denials of the order manager and of the governor
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


def count_trade(cursor: sqlite3.Cursor, trade: TradeRow, *, times: int = 1) -> None:
    """Add a closed trade to the totals of trades.

    These are the number of all trades, the sums by strategy, and the numbers by strategy, symbol
    and outcome. ``times`` is -1 to subtract a result before its correction is added.
    """
    add_totals(cursor, trades=times)
    _count_outcome(cursor, trade, times)
    found = select_one(cursor, StrategySums, "WHERE strategy = ?", trade.strategy)
    upsert(cursor, add_trade(found or StrategySums(strategy=trade.strategy), trade, times=times))


def add_trade(sums: StrategySums, trade: TradeRow, *, times: int = 1) -> StrategySums:
    """Return a strategy's totals with a trade added; with ``times`` -1, subtracted."""
    return attrs.evolve(
        sums,
        trades=sums.trades + times,
        wins=sums.wins + times * (trade.pnl_net > 0),
        r=sums.r + times * (trade.r_multiple or 0.0),
        with_r=sums.with_r + times * (trade.r_multiple is not None),
        profit=sums.profit + times * max(trade.pnl_net, ZERO),
        loss=sums.loss + times * max(-trade.pnl_net, ZERO),
        pnl_net=sums.pnl_net + times * trade.pnl_net,
        fees=sums.fees + times * trade.fees,
        funding=sums.funding + times * trade.funding,
        slippage=sums.slippage + times * trade.slippage,
    )


def _count_outcome(cursor: sqlite3.Cursor, trade: TradeRow, times: int) -> None:
    key = (trade.strategy, trade.symbol, trade.pnl_net > 0)
    where = "WHERE strategy = ? AND symbol = ? AND won = ?"
    found = select_one(cursor, TradeCount, where, *key)
    trades = times if found is None else found.trades + times
    if trades:
        strategy, symbol, won = key
        count = TradeCount(strategy=strategy, symbol=symbol, won=won, trades=trades)
        upsert(cursor, count)
    else:
        cursor.execute(f"DELETE FROM trade_count {where}", key)
