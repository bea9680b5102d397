"""Invariant 6: after the convergence phase book and venue agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from kamou.core.book import events as e
from kamou.core.book.orders import IN_FLIGHT
from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderType
from kamou.ids import is_kamou_id
from kamou.venue.engine import Engine


def find_differences(
    book: PositionBook, events: Sequence[e.Event], engine: Engine
) -> Iterator[str]:
    """Yield the differences between the book of ``events`` and the venue.

    These are fills, orders or income that are lost, duplicated or in flight, positions without
    one confirmed stop that covers them, orders, trades or reservations without a position, and
    unexplained drift.
    """
    yield from _positions(book, engine)
    yield from _orders(book, engine)
    yield from _fills(events, engine)


def _positions(book: PositionBook, engine: Engine) -> Iterator[str]:
    at_venue = {p.symbol: str(p.quantity) for p in engine.positions()}
    in_book = {s: str(t.signed) for s, t in book.trades.open.items() if t.signed}
    if {s: Decimal(q) for s, q in at_venue.items()} != {s: Decimal(q) for s, q in in_book.items()}:
        yield f"positions differ: {at_venue} at the venue, {in_book} in the book"
    if book.reconciliation.drift:
        yield f"drift is still unexplained: {book.reconciliation.drift}"
    resting = engine.open_orders()
    for position in engine.positions():
        trade = book.trades.open.get(position.symbol)
        stops = [
            order
            for order in resting
            if order.symbol == position.symbol
            and order.type is OrderType.STOP_MARKET
            and order.side.sign * position.quantity < 0
        ]
        if sum((o.quantity - o.filled for o in stops), Decimal(0)) < abs(position.quantity):
            yield (
                f"{position.symbol}: {len(stops)} stops do not cover {position.quantity} contracts"
            )
        elif len(stops) > 1:
            yield f"{position.symbol}: {len(stops)} stops, expected 1"
        if trade is not None and (not trade.protected or trade.unprotected_since_ms):
            yield f"{position.symbol}: the book has no confirmed stop"


def _orders(book: PositionBook, engine: Engine) -> Iterator[str]:
    resting = {o.client_order_id for o in engine.open_orders() if is_kamou_id(o.client_order_id)}
    working = {name for name, o in book.orders.unsettled.items() if not o.status.terminal}
    if resting != working:
        yield (
            f"orders only at the venue {sorted(resting - working)},"
            f" only in the book {[_describe(book, o) for o in sorted(working - resting)]}"
        )
    if stuck := sorted(
        o.client_order_id for o in book.orders.unsettled.values() if o.status in IN_FLIGHT
    ):
        yield f"orders still in flight: {stuck}"
    held = {p.symbol for p in engine.positions()}
    if orphans := [
        o.client_order_id
        for o in engine.open_orders()
        if o.symbol not in held and is_kamou_id(o.client_order_id)
    ]:
        yield f"orders without a position: {orphans}"
    if book.trades.finished:
        yield f"trades without a position that are not closed: {sorted(book.trades.finished)}"
    open_ = {trade.permit_id for trade in book.trades.open.values()}
    if idle := sorted(set(book.permits.reservations) - open_):
        yield f"reservations without a trade: {idle}"


def _describe(book: PositionBook, name: str) -> str:
    order = book.orders.unsettled[name]
    return f"{name} {order.role} {order.intent.symbol} {order.status}"


def _fills(events: Sequence[e.Event], engine: Engine) -> Iterator[str]:
    journalled = Counter(ev.fill.key for ev in events if isinstance(ev, e.FillRecorded))
    venue = Counter(fill.key for fill in engine.fills(0))
    if journalled != venue:
        yield (
            f"fills only at the venue {dict(venue - journalled)},"
            f" only in the journal {dict(journalled - venue)}"
        )
    listed = Counter(income.income_id for income in engine.income(0))
    booked = Counter(ev.income.income_id for ev in events if isinstance(ev, e.IncomeRecorded))
    if listed != booked:
        yield (
            f"income only at the venue {dict(listed - booked)},"
            f" only in the journal {dict(booked - listed)}"
        )
