"""Which orders the venue has to be asked about, one by one."""

from __future__ import annotations

from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderRole
from kamou.core.reconciliation.venue_view import VenueView


def unresolved_orders(
    book: PositionBook, view: VenueView, in_flight_ms: int, now_ms: int
) -> tuple[str, ...]:
    """Return the client order ids that the venue does not list and that are too old to be late.

    Args:
        book: our folded state.
        view: what the venue reports: its open orders, and those it was asked about just now.
        in_flight_ms: milliseconds after a change in which an order may be left out of a list.
        now_ms: by our clock.
    """
    listed = {o.client_order_id for o in (*view.open_orders, *view.queried)}
    waiting = {  # attached orders sleep at the venue until their entry fills
        o.intent.trade_id
        for o in book.orders.values()
        if o.role is OrderRole.ENTRY and o.remaining > 0
    }
    return tuple(
        client_order_id
        for client_order_id, o in book.orders.items()
        if client_order_id not in listed
        and not o.status.terminal
        and now_ms - o.changed_at_ms >= in_flight_ms
        and (o.role is OrderRole.ENTRY or o.intent.trade_id not in waiting)
    )
