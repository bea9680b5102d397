"""Search for Kamou's resting orders that must be canceled.

External orders are never among them.
"""

from __future__ import annotations

from kamou.core.book.orders import OrderState
from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderReport, OrderRole, OrderStatus
from kamou.core.reconciliation.protection import CancelOrder, cancel_orphans
from kamou.core.reconciliation.venue_view import PendingMismatch, ReconcileInputs, VenueView
from kamou.ids import is_kamou_id


def find_orphan_orders(
    book: PositionBook,
    view: VenueView,
    inputs: ReconcileInputs,
    pending_mismatches: dict[PendingMismatch, int],
    now_ms: int,
) -> tuple[CancelOrder, ...]:
    """Return the orders to cancel, orphan orders first.

    The others are resting entries of expired plans, post-only entries after their deadline, orders
    whose cancel was requested ``in_flight_ms`` ago or earlier, and orders with an id of Kamou that
    are no unsettled orders of the book. Each of these stays for ``in_flight_ms`` after it was
    placed.

    A reduce-only order that is no unsettled order of the book, for example after a restored backup,
    may protect a position. It is canceled once the trade is protected by a confirmed stop. If there
    is neither a trade nor a position, the order is a pending mismatch, and is canceled after
    ``pending_mismatch_ms``.

    Args:
        pending_mismatches: this dict gets the pending mismatches, with the time since which each is
            pending.
    """
    listed = {v.client_order_id for v in view.open_orders}
    orphans = cancel_orphans(book.trades.open, book.orders.unsettled.values())
    found = [orphan for orphan in orphans if orphan.client_order_id in listed]
    late_ms = view.at_ms - inputs.settings.in_flight_ms
    for order in view.open_orders:
        if not is_kamou_id(order.client_order_id) or order.created_at_ms > late_ms:
            continue
        known = book.orders.unsettled.get(order.client_order_id)
        if known is not None:
            reason = _cancel_reason(known, inputs, now_ms)
        elif order.reduce_only and _protects(order, book, view, inputs, pending_mismatches, now_ms):
            reason = ""
        else:
            reason = "client order id of Kamou, but the book has no such open order"
        if reason:
            found.append(
                CancelOrder(
                    symbol=order.symbol, client_order_id=order.client_order_id, reason=reason
                )
            )
    return tuple(found)


def _protects(
    order: OrderReport,
    book: PositionBook,
    view: VenueView,
    inputs: ReconcileInputs,
    pending_mismatches: dict[PendingMismatch, int],
    now_ms: int,
) -> bool:
    """Return True if the order may be the only protection of a position.

    Without a trade and a position this holds until ``pending_mismatch_ms`` have passed, and the
    order is added to ``pending_mismatches``.
    """
    symbol = order.symbol
    trade = book.trades.open.get(symbol)
    if trade is not None:
        return not trade.protected
    if any(p.symbol == symbol and p.quantity != 0 for p in view.positions):
        return True
    mismatch = order.client_order_id, order.quantity
    since_ms = pending_mismatches[mismatch] = inputs.pending_mismatches.get(mismatch, now_ms)
    return now_ms - since_ms < inputs.settings.pending_mismatch_ms


def _cancel_reason(known: OrderState, inputs: ReconcileInputs, now_ms: int) -> str:
    """Return the reason to cancel an order of the book; empty if there is none."""
    if known.status is OrderStatus.PENDING_CANCEL:
        # The cancel request may be lost or may never have been sent. It is safe to repeat.
        overdue = now_ms - known.changed_at_ms >= inputs.settings.in_flight_ms
        return "cancel was requested, and the order still rests" if overdue else ""
    if known.intent.post_only:
        late = now_ms >= known.rests_until_ms
        return "the entry's deadline has passed" if late else ""
    expired = known.plan is not None and now_ms >= known.plan.expires_at_ms
    if known.role is OrderRole.ENTRY and expired:
        return "the entry's plan has expired"
    return ""
