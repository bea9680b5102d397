"""The check after the convergence phase that journal and venue agree.

It compares the position book of the journal with the venue's positions, orders, fills and money.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from kamou.core.book import events as e
from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.orders import IN_FLIGHT
from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderType
from kamou.ids import is_kamou_id
from kamou.store import database
from kamou.store.journal import read_events
from kamou.venue.checker import CENT
from kamou.venue.engine import Engine


def find_differences(path: Path, engine: Engine, start: Decimal) -> Iterator[str]:
    """Yield the differences between journal and venue (invariants 6 and 7).

    These are fills, orders or income that are lost, duplicated or in flight, positions without
    one confirmed stop that covers them, orders, trades or reservations without a position,
    unexplained drift, and money without an explanation.
    """
    with contextlib.closing(database.open_reader(path)) as reader:
        events = [committed.event for committed in read_events(reader, 0)]
    book = PositionBook()
    book.apply_all(enumerate(events, 1))
    yield from _positions(book, engine)
    yield from _orders(book, engine)
    yield from _fills(events, engine)
    yield from _money(book, events, engine, start)


def _positions(book: PositionBook, engine: Engine) -> Iterator[str]:
    at_venue = {p.symbol: str(p.quantity) for p in engine.positions()}
    in_book = {s: str(t.signed) for s, t in book.trades.items() if t.signed}
    if {s: Decimal(q) for s, q in at_venue.items()} != {s: Decimal(q) for s, q in in_book.items()}:
        yield f"positions differ: {at_venue} at the venue, {in_book} in the book"
    if book.drift:
        yield f"drift is still unexplained: {book.drift}"
    resting = engine.open_orders()
    for position in engine.positions():
        trade = book.trades.get(position.symbol)
        stops = [
            order
            for order in resting
            if order.symbol == position.symbol
            and order.type is OrderType.STOP_MARKET
            and order.side.sign * position.quantity < 0
        ]
        if sum((o.quantity - o.filled for o in stops), Decimal(0)) < abs(position.quantity):
            yield f"{position.symbol}: {len(stops)} stops do not cover {position.quantity}"
        elif len(stops) > 1:
            yield f"{position.symbol}: {len(stops)} stops, expected 1"
        if trade is not None and (not trade.protected or trade.unprotected_since_ms):
            yield f"{position.symbol}: the book has no confirmed stop"


def _orders(book: PositionBook, engine: Engine) -> Iterator[str]:
    resting = {o.client_order_id for o in engine.open_orders() if is_kamou_id(o.client_order_id)}
    working = {name for name, o in book.orders.items() if not o.status.terminal}
    if resting != working:
        yield (
            f"orders only at the venue {sorted(resting - working)},"
            f" only in the book {[_describe(book, o) for o in sorted(working - resting)]}"
        )
    if stuck := sorted(o.client_order_id for o in book.orders.values() if o.status in IN_FLIGHT):
        yield f"orders still in flight: {stuck}"
    held = {p.symbol for p in engine.positions()}
    if orphans := [
        o.client_order_id
        for o in engine.open_orders()
        if o.symbol not in held and is_kamou_id(o.client_order_id)
    ]:
        yield f"orders without a position: {orphans}"
    if book.finished:
        yield f"trades without a position that are not closed: {sorted(book.finished)}"
    open_ = {trade.permit_id for trade in book.trades.values()}
    if idle := sorted(set(book.reservations) - open_):
        yield f"reservations without a trade: {idle}"


def _describe(book: PositionBook, name: str) -> str:
    order = book.orders[name]
    return f"{name} {order.role.value} {order.intent.symbol} {order.status.value}"


def _fills(events: list[e.Event], engine: Engine) -> Iterator[str]:
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


def _money(
    book: PositionBook, events: list[e.Event], engine: Engine, start: Decimal
) -> Iterator[str]:
    """Check that the journal explains the venue's wallet balance to the cent.

    Nothing is checked if a position was corrected or adopted, or if a fill has no intent, because
    such fills belong to no trade.
    """
    corrected = any(isinstance(ev, e.PositionCorrected | e.PositionAdopted) for ev in events)
    intended = {ev.intent.client_order_id for ev in events if isinstance(ev, e.IntentRecorded)}
    if corrected or any(
        f.client_order_id and f.client_order_id not in intended for f in engine.fills(0)
    ):
        return  # external fills, and fills without an intent, are in no trade
    balance = start + book.net_deposits
    balance += sum((ev.pnl_net for ev in events if isinstance(ev, e.TradeClosed)), Decimal(0))
    balance += sum((ev.added for ev in events if isinstance(ev, ResultCorrected)), Decimal(0))
    balance += sum((c.added for c in book.pending_corrections(0)), Decimal(0))
    for trade in (*book.trades.values(), *book.finished.values()):
        balance += trade.realized - trade.fees + trade.funding
    reported = engine.account().wallet_balance
    if abs(balance - reported) >= CENT:
        yield f"wallet balance: {balance} by the journal, {reported} at the venue"
