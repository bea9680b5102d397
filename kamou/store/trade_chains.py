"""Query of a trade with its fills, orders, permit, signal and cycle.

A late fill of an entry reopens a closed trade, and that part of the trade has a result with its
own id. The orders and fills of all parts have the trade's id, which is the cause of each result.
A fill belongs to the first result that was published after the fill was recorded, whatever the
time of the fill.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

import attrs

from kamou.core.book.events import FillRecorded, IntentRecorded, TradeClosed
from kamou.messages.codec import kind_of
from kamou.store.rows import CycleRow, FillRow, OrderRow, PermitRow, SignalRow, TradeChain, TradeRow
from kamou.store.table_rows import select, select_one

# A fill without an order of Kamou's, such as a liquidation, has the id of the result.
_FILLS = """WHERE trade_id IN (?, ?) AND EXISTS (SELECT 1 FROM event
    WHERE event.kind = ? AND event.key = fill.key AND seq > ? AND seq < ?)
    ORDER BY at_ms, rowid"""
_INTENDED = """SELECT client_order_id FROM order_
    CROSS JOIN event ON kind = ? AND key = client_order_id
    WHERE trade_id = ? AND seq > ? AND seq < ?"""
_BEFORE = """SELECT coalesce(max(seq), 0) FROM event
    WHERE cause_id = ? AND cause_id <> '' AND kind = ? AND seq < ?"""


@attrs.frozen(kw_only=True)
class TradeEvents:
    """The part of a trade that one result covers, between two sequence numbers.

    ``after_seq`` is the event of the result before, or 0. ``until_seq`` is the event of this
    result, or a number above all others. Both events are excluded.
    """

    trade_id: str
    after_seq: int
    until_seq: int


def find_trade_events(reader: sqlite3.Connection, result_id: str) -> TradeEvents:
    """Return the part of a trade that a result covers.

    The part is the whole trade if the trade has no result yet.
    """
    kind = kind_of(TradeClosed)
    row = reader.execute(
        "SELECT seq, cause_id FROM event WHERE kind = ? AND key = ?", (kind, result_id)
    ).fetchone()
    if row is None:
        return TradeEvents(trade_id=result_id, after_seq=0, until_seq=2**62)
    seq, trade_id = row[0], row[1] or result_id
    (before,) = reader.execute(_BEFORE, (trade_id, kind, seq)).fetchone()
    return TradeEvents(trade_id=trade_id, after_seq=before, until_seq=seq)


def trade_chain(reader: sqlite3.Connection, result_id: str) -> TradeChain | None:
    """Return a trade with its fills, orders, permit, signal and cycle.

    Return None if no trade, order or fill has this id.
    """
    trade = select_one(reader, TradeRow, "WHERE trade_id = ?", result_id)
    part = find_trade_events(reader, result_id)
    between = (kind_of(FillRecorded), part.after_seq, part.until_seq)
    fills = select(reader, FillRow, _FILLS, part.trade_id, result_id, *between)
    orders = _select_orders(reader, part, {fill.client_order_id for fill in fills})
    if trade is None and not orders and not fills:
        return None
    permit_id = next((order.permit_id for order in orders if order.permit_id), "")
    permit = select_one(reader, PermitRow, "WHERE permit_id = ?", permit_id)
    # The id of a trade is that of the signal that opened it (kamou.ids.make_trade_id).
    signal_id = permit.signal_id if permit else part.trade_id
    signal = select_one(reader, SignalRow, "WHERE signal_id = ?", signal_id)
    cycle_at_ms = signal.cycle_at_ms if signal else -1
    cycle = select_one(reader, CycleRow, "WHERE cycle_at_ms = ?", cycle_at_ms)
    return TradeChain(
        trade_id=result_id,
        trade=trade,
        fills=fills,
        orders=orders,
        permit=permit,
        signal=signal,
        cycle=cycle,
    )


def _select_orders(
    reader: sqlite3.Connection, part: TradeEvents, filled: Collection[str]
) -> tuple[OrderRow, ...]:
    """Return the orders that were recorded or filled in a part of a trade.

    The orders are sorted by the time of the intent, oldest first.
    """
    parameters = (kind_of(IntentRecorded), part.trade_id, part.after_seq, part.until_seq)
    intended = {client_order_id for (client_order_id,) in reader.execute(_INTENDED, parameters)}
    tail = "WHERE trade_id = ? ORDER BY intended_at_ms, rowid"
    return tuple(
        order
        for order in select(reader, OrderRow, tail, part.trade_id)
        if order.client_order_id in intended or order.client_order_id in filled
    )
