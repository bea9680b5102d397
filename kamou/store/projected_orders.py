"""Projections of orders and fills, and the prefix of the kill switch's trade ids.

``store/projections.py`` registers these projections.
"""

from __future__ import annotations

import sqlite3

from kamou.core.book import events as e
from kamou.core.model import OrderRole, OrderStatus
from kamou.store import projected_days
from kamou.store.projected_totals import add_totals
from kamou.store.rows import FillRow, OpenTradeId, OrderRow
from kamou.store.table_rows import insert, insert_new, make_row, select_one

KILL_SWITCH = "flatten."  # prefix of the trade id of its intents; see kamou/runs/flatten.py

# States that follow ``accepted``: a late acceptance does not undo them.
_LATER = (OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.PENDING_CANCEL)


def project_intent_recorded(cursor: sqlite3.Cursor, event: e.IntentRecorded) -> None:
    insert(cursor, make_row(OrderRow, event.intent, status=OrderStatus.SUBMITTED))
    add_totals(cursor, orders=1)


def project_order_accepted(cursor: sqlite3.Cursor, event: e.OrderAccepted) -> None:
    cursor.execute(
        "UPDATE order_ SET venue_order_id = ?, accepted_at_ms = coalesce(accepted_at_ms, ?),"
        " status = CASE WHEN closed_at_ms IS NULL AND status NOT IN (?, ?, ?) THEN ?"
        " ELSE status END WHERE client_order_id = ?",
        (
            event.venue_order_id,
            event.at_ms,
            *_LATER,
            OrderStatus.ACCEPTED,
            event.client_order_id,
        ),
    )


def _set_open_status(
    cursor: sqlite3.Cursor, client_order_id: str, status: str, reason: str
) -> None:
    cursor.execute(
        "UPDATE order_ SET status = ?, reason = ?"
        " WHERE client_order_id = ? AND closed_at_ms IS NULL",
        (status, reason, client_order_id),
    )


def project_order_unknown(cursor: sqlite3.Cursor, event: e.OrderUnknown) -> None:
    _set_open_status(cursor, event.client_order_id, OrderStatus.UNKNOWN, event.reason)


def project_cancel_requested(cursor: sqlite3.Cursor, event: e.CancelRequested) -> None:
    _set_open_status(cursor, event.client_order_id, OrderStatus.PENDING_CANCEL, event.reason)


def project_order_rejected(cursor: sqlite3.Cursor, event: e.OrderRejected) -> None:
    cursor.execute(
        "UPDATE order_ SET status = ?, reason = ?, closed_at_ms = ?"
        " WHERE client_order_id = ? AND closed_at_ms IS NULL",
        (
            OrderStatus.REJECTED,
            f"{event.code}: {event.reason}",
            event.at_ms,
            event.client_order_id,
        ),
    )


def project_order_closed(cursor: sqlite3.Cursor, event: e.OrderClosed) -> None:
    cursor.execute(
        "UPDATE order_ SET status = ?, filled = ?, reason = ?, closed_at_ms = ?"
        " WHERE client_order_id = ?",
        (event.status, str(event.filled), event.reason, event.at_ms, event.client_order_id),
    )


def project_fill_recorded(cursor: sqlite3.Cursor, event: e.FillRecorded) -> None:
    fill = event.fill
    order = select_one(cursor, OrderRow, "WHERE client_order_id = ?", fill.client_order_id)
    trade_id = _find_trade(cursor, fill.symbol, order.trade_id if order else None)
    insert(cursor, make_row(FillRow, fill, trade_id=trade_id, source=event.source))
    is_entry = order is not None and order.role == OrderRole.ENTRY
    if trade_id is not None and (is_entry or not _has_result(cursor, trade_id)):
        insert_new(cursor, OpenTradeId(trade_id=trade_id))
    add_totals(cursor, fills=1)
    projected_days.project_entry(cursor, fill.at_ms)
    if order is None:
        return
    if (
        trade_id != order.trade_id
    ):  # an order of the kill switch: it belongs to the trade that it closed
        cursor.execute(
            "UPDATE order_ SET trade_id = ? WHERE client_order_id = ?",
            (trade_id, fill.client_order_id),
        )
    filled = order.filled + fill.quantity
    is_whole = filled >= order.quantity
    status = OrderStatus.FILLED if is_whole else OrderStatus.PARTIALLY_FILLED
    # An order that is closed keeps the filled quantity and the state of the closing report.
    cursor.execute(
        # A filled order is closed at the time of its last fill, but not before its acceptance.
        "UPDATE order_ SET filled = ?1, status = ?2, closed_at_ms ="
        " CASE WHEN ?3 THEN max(?4, coalesce(accepted_at_ms, intended_at_ms)) END"
        " WHERE client_order_id = ?5 AND closed_at_ms IS NULL",
        (str(filled), status, is_whole, fill.at_ms, fill.client_order_id),
    )


def _has_result(cursor: sqlite3.Cursor, trade_id: str) -> bool:
    query = "SELECT 1 FROM trade WHERE trade_id = ?"
    return cursor.execute(query, (trade_id,)).fetchone() is not None


def _find_trade(cursor: sqlite3.Cursor, symbol: str, trade_id: str | None) -> str | None:
    """Return the trade of a fill: its order's, else the open trade of its symbol.

    A liquidation has no order, and an order of the kill switch names no trade. Both reduce the
    only position in their symbol. Without an open trade the given id is returned, None without one.
    """
    if trade_id is not None and not trade_id.startswith(KILL_SWITCH):
        return trade_id
    row = cursor.execute(
        "SELECT trade_id FROM order_ WHERE symbol = ? AND role = 'entry' AND filled <> '0'"
        " AND NOT EXISTS (SELECT 1 FROM trade WHERE trade.trade_id = order_.trade_id)"
        " ORDER BY intended_at_ms DESC LIMIT 1",
        (symbol,),
    ).fetchone()
    return trade_id if row is None else str(row[0])
