"""Comparison of journal and venue after a run, as a list of differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from kamou.core.book.events import (
    CycleClosed,
    FillRecorded,
    IncomeRecorded,
    IntentRecorded,
    TradeClosed,
)
from kamou.core.book.orders import IN_FLIGHT
from kamou.core.day import MINUTE_MS
from kamou.core.model import OrderRole, OrderType, TradingState
from kamou.venue.state import OrderAudit, OrderStep
from tests.actors.scripted_market import START_MS
from tests.actors.system_harness import SETTINGS, Ended

CENT = Decimal("0.01")


def faults(ended: Ended, *, until_minute: int) -> list[str]:
    """Return the differences of journal and venue, and what was wrong at the end.

    Among them are lost or doubled fills and orders, unprotected positions, orphan orders, a
    difference of money, children that do not run, and a trading state that is not active.
    """
    return [
        *_agreement(ended),
        *_records(ended),
        *_orders(ended),
        *_protection(ended),
        *_money(ended),
        *_life(ended, until_minute),
    ]


def _agreement(ended: Ended) -> Iterator[str]:
    """Yield the differences between the position book and the venue."""
    held = {p.symbol: p.quantity for p in ended.positions}
    booked = {symbol: trade.signed for symbol, trade in ended.book.trades.open.items()}
    if held != booked:
        yield f"positions: the venue has {held}, the book {booked}"
    resting = {order.client_order_id for order in ended.orders}
    working = {name for name, o in ended.book.orders.unsettled.items() if not o.status.terminal}
    if resting != working:
        venue_only, book_only = resting - working, working - resting
        yield f"open orders: only at the venue {venue_only}, only in the book {book_only}"


def _records(ended: Ended) -> Iterator[str]:
    """Yield fills and income that are missing, doubled or inferred."""
    journalled = Counter(event.fill.key for event in ended.of(FillRecorded))
    venue = Counter(fill.key for fill in ended.fills)
    if journalled != venue:
        yield f"fills: lost {venue - journalled}, too many {journalled - venue}"
    incomes = Counter(event.income.income_id for event in ended.of(IncomeRecorded))
    listed = Counter(income.income_id for income in ended.income)
    if incomes != listed:
        yield f"income: lost {listed - incomes}, too many {incomes - listed}"
    drifted = [type(e).__name__ for e in ended.events if type(e).__name__ in UNEXPECTED]
    if drifted:
        yield f"unexpected drift: {drifted}"


UNEXPECTED = ("DriftFound", "PositionCorrected", "PositionAdopted")


def _orders(ended: Ended) -> Iterator[str]:
    accepted = [
        noted
        for noted in ended.audit_log
        if isinstance(noted, OrderAudit) and noted.event in (OrderStep.ACCEPTED, OrderStep.REJECTED)
    ]
    names = Counter(noted.client_order_id for noted in accepted)
    if doubled := [name for name, n in names.items() if n > 1]:
        yield f"orders sent twice: {doubled}"
    intents = ended.of(IntentRecorded)
    unknown = sorted(names.keys() - {e.intent.client_order_id for e in intents})
    if unknown:
        yield f"sent without an intent: {unknown}"
    entries = Counter(e.intent.trade_id for e in intents if e.intent.role is OrderRole.ENTRY)
    if again := [trade for trade, n in entries.items() if n > 1]:
        yield f"more than one entry per signal: {again}"
    if stuck := [
        o.client_order_id for o in ended.book.orders.unsettled.values() if o.status in IN_FLIGHT
    ]:
        yield f"still in flight at the end: {stuck}"


def _protection(ended: Ended) -> Iterator[str]:
    for violation in ended.checked.violations:
        yield f"violation: {violation}"
    for position in ended.positions:
        trade = ended.book.trades.open.get(position.symbol)
        if trade is None or not trade.protected or trade.unprotected_since_ms:
            yield f"{position.symbol} is not known to be protected"
        stops = [
            order
            for order in ended.orders
            if order.symbol == position.symbol
            and order.type is OrderType.STOP_MARKET
            and order.side.sign * position.quantity < 0
        ]
        if sum(order.quantity - order.filled for order in stops) != abs(position.quantity):
            yield (
                f"{position.symbol} has {position.quantity} contracts, and its {len(stops)} stops"
                " cover another quantity"
            )
    held = {position.symbol for position in ended.positions}
    if orphans := [o.client_order_id for o in ended.orders if o.symbol not in held]:
        yield f"orders without a position: {orphans}"


def _money(ended: Ended) -> Iterator[str]:
    """Yield a difference between the venue's wallet balance and the journal's."""
    balance = SETTINGS.equity + sum((t.pnl_net for t in ended.of(TradeClosed)), Decimal(0))
    for trade in (*ended.book.trades.open.values(), *ended.book.trades.finished.values()):
        balance += trade.realized - trade.fees + trade.funding
    if abs(balance - ended.account.wallet_balance) >= CENT:
        yield f"wallet balance: journal {balance}, venue {ended.account.wallet_balance}"
    if ended.book.trades.finished:
        yield f"flat trades without a published result: {list(ended.book.trades.finished)}"
    reserved = set(ended.book.permits.reservations)
    open_ = {trade.permit_id for trade in ended.book.trades.open.values()}
    if reserved != open_:
        yield f"permits without a trade: {reserved - open_}; trades without: {open_ - reserved}"


def _life(ended: Ended, until_minute: int) -> Iterator[str]:
    idle = {name: state for name, state in ended.states.items() if state != "running"}
    if idle:
        yield f"not running at the end: {idle}"
    last = START_MS + until_minute * MINUTE_MS
    closed_ms = ended.book.reconciliation.cycle_at_ms
    if closed_ms != last:
        yield f"the last closed cycle is that of minute {(closed_ms - START_MS) / MINUTE_MS}"
    if ended.book.trading.state is not TradingState.ACTIVE:
        yield f"the state is {ended.book.trading.state.value}: {ended.book.trading.reason}"
    closed = Counter(event.cycle_at_ms for event in ended.of(CycleClosed))
    if twice := [cycle for cycle, n in closed.items() if n > 1]:
        yield f"cycles closed twice: {twice}"
