"""Due actions of the order manager, and the time of its next look at the book.

The actions depend only on the book and the time. The order manager carries them out.
"""

from __future__ import annotations

import attrs

from kamou.clock import next_ms
from kamou.core.book.orders import IN_FLIGHT, OrderState
from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderRole, TradingState

IN_FLIGHT_MAX_MS = 5_000  # after this time without an answer, an order is queried
ORDER_RETRY_MS = 1_000  # time between attempts at urgent actions


@attrs.frozen
class QueryOrder:
    """A query of an order without answer or with missing fills, or of an open entry."""

    client_order_id: str


@attrs.frozen
class CancelEntry:
    """The cancel of an entry that may still fill and must not, for ``reason``."""

    client_order_id: str
    reason: str


@attrs.frozen
class CheckTrade:
    """A check of an open trade; ``decide_trade`` returns its due action."""

    symbol: str


DueAction = QueryOrder | CancelEntry | CheckTrade


@attrs.frozen
class CloseTrade:
    """The close of a trade by an exit order."""

    symbol: str
    reason: str
    again: bool = False  # True: exit even if an earlier exit timed out (seed 995256)


@attrs.frozen
class ProtectTrade:
    """The protection of a trade that no confirmed stop covers."""

    symbol: str


@attrs.frozen
class PlaceTarget:
    """The placing of a take-profit at a venue that takes none attached to an entry.

    The action stays due while the trade is open. The order manager places the order once, after the
    entry has ended and all positions have stops; without a target price it places none.
    """

    symbol: str


TradeAction = CloseTrade | ProtectTrade | PlaceTarget


def why_entry_ends(order: OrderState, book: PositionBook, now_ms: int) -> str:
    """Return why an order must be canceled as an entry; empty if it need not be.

    It need not be if it has ended, is no entry, or nothing speaks against its fill. A halt cancels
    every entry. A post-only entry also ends at its deadline, if the clock was set back behind its
    intent, if its contract has changed since its plan, and as soon as its trade closes or has begun
    to.
    """
    if order.status.terminal or order.role is not OrderRole.ENTRY:
        return ""
    if not book.trading.state.entries_allowed:
        return book.trading.state
    if not order.intent.post_only:
        return ""
    if not order.intent.intended_at_ms <= now_ms < order.rests_until_ms:
        return "its deadline has passed"
    plan, instrument = order.plan, book.instruments.get(order.intent.symbol)
    if plan is None or instrument is None or instrument.contract_size != plan.contract_size:
        return "its contract has changed"
    trade = book.trades.open.get(order.intent.symbol)
    if trade is not None and (trade.exited > 0 or 0 < trade.hold_until_ms <= now_ms):
        return "its trade closes"
    return ""


def find_due_actions(
    book: PositionBook, now_ms: int, *, attached_stop: bool = False
) -> tuple[DueAction, ...]:
    """Return orders to query, entries to cancel, then trades to check.

    Unprotected trades come before the others.

    Args:
        attached_stop: True if the venue takes the stop attached to the entry. Then a fill of a
            resting entry has its stop, and the private stream or a reconciliation reports it.
            Otherwise a resting entry is queried every ``ORDER_RETRY_MS``.
    """
    actions: list[DueAction] = []
    for order in book.orders.unsettled.values():
        age_ms = now_ms - order.changed_at_ms
        late = age_ms >= IN_FLIGHT_MAX_MS or order.unknown_since_ms
        # An ended order in the book lacks reports of fills, which may have opened an unprotected
        # position. So may an entry that has not ended: if it takes, it should have.
        calm = attached_stop and order.resting
        over = order.status.terminal or (order.role is OrderRole.ENTRY and not calm)
        unreported = over and order.status not in IN_FLIGHT and age_ms >= ORDER_RETRY_MS
        if unreported or (order.status in IN_FLIGHT and late):
            actions.append(QueryOrder(order.client_order_id))
    for order in book.orders.unsettled.values():
        if reason := why_entry_ends(order, book, now_ms):
            actions.append(CancelEntry(order.client_order_id, reason))
    unprotected_first = sorted(book.trades.open.values(), key=lambda t: not t.unprotected_since_ms)
    actions += [CheckTrade(trade.symbol) for trade in unprotected_first]
    return tuple(actions)


def decide_trade(
    book: PositionBook, symbol: str, now_ms: int, *, attached_stop: bool
) -> TradeAction | None:
    """Return the due action of the trade of ``symbol``; None if none is due.

    Args:
        attached_stop: True if the venue takes the stop and the take-profit attached to the entry.
            Otherwise the take-profit is placed as an order of its own.
    """
    trade = book.trades.open.get(symbol)
    if trade is None:
        return None
    if book.trading.state is TradingState.FLATTENING:
        return CloseTrade(symbol, "flatten", again=True)
    if 0 < trade.hold_until_ms <= now_ms:
        return CloseTrade(symbol, "time limit")
    if trade.unprotected_since_ms:
        return ProtectTrade(symbol)
    return None if attached_stop else PlaceTarget(symbol)


def is_urgent(book: PositionBook, now_ms: int, *, attached_stop: bool = False) -> bool:
    """Return True if the book has an action that cannot wait for the next cycle.

    Args:
        attached_stop: as for ``find_due_actions``.
    """

    def presses(order: OrderState) -> bool:
        if order.status in IN_FLIGHT or order.status.terminal:
            return True
        calm = attached_stop and order.resting and not why_entry_ends(order, book, now_ms)
        return order.role is OrderRole.ENTRY and not calm

    return bool(
        any(presses(order) for order in book.orders.unsettled.values())
        or any(t.unprotected_since_ms for t in book.trades.open.values())
        or (book.trades.open and book.trading.state is TradingState.FLATTENING)
        or book.trades.finished  # flat trades that wait for their funding
    )


def next_look_ms(book: PositionBook, now_ms: int, cycle_period_ms: int) -> int:
    """Return the time of the next look at the book if no action is urgent.

    It is the next cycle, the next time limit of a trade or the next deadline of a resting entry,
    whichever is first.
    """
    cycle = next_ms(now_ms, cycle_period_ms)
    holds = [t.hold_until_ms for t in book.trades.open.values() if t.hold_until_ms > now_ms]
    rests = [o.rests_until_ms for o in book.orders.unsettled.values() if o.resting]
    return min([cycle, *holds, *(at_ms for at_ms in rests if at_ms > now_ms)])
