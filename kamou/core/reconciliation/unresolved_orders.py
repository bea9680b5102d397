"""Search for open orders that must be queried at the venue one by one."""

from __future__ import annotations

from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderRole
from kamou.core.reconciliation.venue_view import VenueView


def unresolved_orders(
    book: PositionBook, view: VenueView, in_flight_ms: int, now_ms: int
) -> tuple[str, ...]:
    """Return the client order ids of the book's open orders that the venue omits.

    Orders that have just changed, and attached orders whose entry may still fill, are not among
    them, because a venue lists such orders late.

    Args:
        view: a view with the open orders, and the orders that were queried for it.
        in_flight_ms: time after a change of an order in which a list may omit it.
    """
    listed = {o.client_order_id for o in (*view.open_orders, *view.queried)}
    waiting = {  # the venue lists attached orders only after their entry fills
        o.intent.trade_id
        for o in book.orders.unsettled.values()
        if o.role is OrderRole.ENTRY and o.remaining > 0
    }
    return tuple(
        client_order_id
        for client_order_id, o in book.orders.unsettled.items()
        if client_order_id not in listed
        and not o.status.terminal
        and now_ms - o.changed_at_ms >= in_flight_ms
        and (o.role is OrderRole.ENTRY or o.intent.trade_id not in waiting)
    )
