"""Decisions about the stops of positions, and the actions that carry them out.

A position is protected if a stop that covers it was accepted and read back from the venue. If the
size changes, a new stop is placed and read back before the old one is canceled, so the old stop
protects the contracts that it covers until then. A position that is not protected in time is
closed. Orphan orders are canceled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.core.book.orders import OrderState, is_awaited
from kamou.core.book.trades import OpenTrade
from kamou.core.model import ZERO, OrderReport, OrderRole, OrderSide, OrderStatus, OrderType
from kamou.core.risk.limits import RiskLimits

UNSEEN_MAX_MS = 3_000  # a stop that is not read back within this time is placed again

CLOSE_LEAD_MS = 4_000
"""Time before the protection deadline at which an exit order is sent.

The exit needs one or two round trips to the venue.
"""


@attrs.frozen(kw_only=True)
class ConfirmStop:
    """Action that records ``StopConfirmed``: a sufficient stop was read back."""

    symbol: str
    client_order_id: str
    quantity: Decimal  # contracts that it covers
    trigger_price: Decimal


@attrs.frozen(kw_only=True)
class PlaceStop:
    """Action that places a reduce-only stop at the venue."""

    symbol: str
    side: OrderSide
    quantity: Decimal  # contracts
    trigger_price: Decimal


@attrs.frozen(kw_only=True)
class CancelOrder:
    """Action that cancels an order of Kamou; ``reason`` says why it must not rest."""

    symbol: str
    client_order_id: str
    reason: str


@attrs.frozen(kw_only=True)
class ClosePosition:
    """Action that closes an unprotected position by a reduce-only market order."""

    symbol: str
    side: OrderSide
    quantity: Decimal  # contracts
    reason: str


@attrs.frozen(kw_only=True)
class Await:
    """Action that waits for a stop, an exit, or the deadline after a rejected stop."""

    symbol: str
    until_ms: int  # time at which the wait ends at the latest


@attrs.frozen(kw_only=True)
class StopFailures:
    """Failures of the venue since a trade was last protected."""

    unreachable_ms: int = 0  # time for which the venue was unreachable; it moves the deadline
    stop_rejected: bool = False  # True: the venue has just rejected a stop


NO_FAILURES = StopFailures()

Action = ConfirmStop | PlaceStop | CancelOrder | ClosePosition | Await


def protect(
    trade: OpenTrade,
    orders: Iterable[OrderState],
    venue_orders: Iterable[OrderReport],
    *,
    limits: RiskLimits,
    now_ms: int,
    failures: StopFailures = NO_FAILURES,
) -> tuple[Action, ...]:
    """Return the actions that protect an open trade.

    There are none if exactly one stop rests and is confirmed, and it has the right size or another
    stop was sent to replace it. There are also none if the trade has no open contracts or closed
    more than it opened.

    Args:
        orders: unsettled orders of the book in the symbol.
        venue_orders: open orders at the venue, of any symbol, external ones included.
        failures: failures of the venue since the trade was last protected.
    """
    held = trade.quantity
    if held <= 0:
        return ()  # flat, or more closed than opened until reconciliation repairs it
    known, stop_rejected = tuple(orders), failures.stop_rejected
    allowed_ms = limits.protection_deadline_s * 1000 - CLOSE_LEAD_MS
    deadline_ms = (trade.unprotected_since_ms or now_ms) + allowed_ms + failures.unreachable_ms
    closes = pending_exits(trade, known)
    if any(is_awaited(o, now_ms) for o in closes):
        return (Await(symbol=trade.symbol, until_ms=now_ms + limits.protection_deadline_s * 1000),)
    resting = _resting(trade, known, venue_orders)
    stops = [v for v in resting if is_stop_of(trade, v)]
    covering = [v for v in stops if v.quantity - v.filled >= held]
    if covering:
        return _covered(trade, covering, resting, known)
    # An exit order without an answer is repeated only if the venue rejects stops. Both exits are
    # reduce-only, and no entry in the symbol is allowed until both are resolved.
    if now_ms >= deadline_ms and trade.unprotected_since_ms and (stop_rejected or not closes):
        return (_close(trade, "not protected in time"),)
    if stop_rejected:
        return (Await(symbol=trade.symbol, until_ms=deadline_ms),)
    read_back = {v.client_order_id for v in stops}
    for order in known:
        # A stop that timed out is not awaited again. Two stops are safe, because both are
        # reduce-only.
        if (
            _may_cover(order, held)
            and order.status is not OrderStatus.UNKNOWN
            and order.client_order_id not in read_back
        ):
            unseen_ms = now_ms - max(order.changed_at_ms, trade.unprotected_since_ms)
            if unseen_ms < UNSEEN_MAX_MS:
                return (Await(symbol=trade.symbol, until_ms=deadline_ms),)
    return (_place(trade),)


def pending_exits(trade: OpenTrade, orders: Iterable[OrderState]) -> tuple[OrderState, ...]:
    """Return the exit orders that may still close a part of the trade.

    An exit order of an earlier trade may close it too. An exit order on the other side is left out,
    because the venue can only reject it. In seed 970693, external orders reversed a position, and
    an older exit of unknown outcome delayed the flatten.

    Args:
        orders: unsettled orders of the book in the symbol.
    """
    side = trade.side.closing
    return tuple(
        order
        for order in orders
        if order.role is OrderRole.EXIT and order.intent.side is side and not order.status.terminal
    )


def _covered(
    trade: OpenTrade,
    covering: list[OrderReport],
    resting: list[OrderReport],
    known: tuple[OrderState, ...],
) -> tuple[Action, ...]:
    """Return the actions that leave one stop of the right size on a covered position.

    The covering stop whose size is nearest to the open size stays, and is confirmed. If it is too
    large, a stop of the right size is placed, unless one was sent and is not listed yet.

    While a post-only entry may add contracts, the size includes them: the next fill must not find
    a stop that has just been made smaller. If no stop is so large, the largest one stays.

    Args:
        covering: the stops that protect all open contracts.
        resting: all stops of Kamou on the position, also those that are farther away than
            ``stop_price`` and do not protect it.
    """
    most = trade.quantity + sum((o.remaining for o in known if _may_add(o)), ZERO)
    enough = [v for v in covering if v.quantity - v.filled >= most]
    best = min(
        enough or covering,
        key=lambda v: (
            (v.quantity - v.filled) * (1 if enough else -1),
            v.created_at_ms,
            v.client_order_id,
        ),
    )
    left = best.quantity - best.filled
    actions: list[Action] = []
    confirmed = trade.confirmed
    assert best.trigger_price is not None
    if (
        confirmed is None
        or confirmed.client_order_id != best.client_order_id
        or confirmed.quantity != left
        or confirmed.trigger_price != best.trigger_price
    ):
        actions.append(
            ConfirmStop(
                symbol=trade.symbol,
                client_order_id=best.client_order_id,
                quantity=left,
                trigger_price=best.trigger_price,
            )
        )
    actions += [
        _cancel(other, "another stop covers the position")
        for other in resting
        if other.client_order_id != best.client_order_id
    ]
    if left > most:
        read_back = {v.client_order_id for v in resting}
        coming = any(
            _may_cover(o, trade.quantity) and o.client_order_id not in read_back for o in known
        )
        if not coming:
            actions.append(_place(trade))
    return tuple(actions)


def is_covered(
    trade: OpenTrade, orders: Iterable[OrderState], venue_orders: Iterable[OrderReport]
) -> bool:
    """Return True if the venue lists a stop of Kamou that covers all open contracts."""
    stops = (v for v in _resting(trade, orders, venue_orders) if is_stop_of(trade, v))
    return any(v.quantity - v.filled >= trade.quantity for v in stops)


def _resting(
    trade: OpenTrade, orders: Iterable[OrderState], venue_orders: Iterable[OrderReport]
) -> list[OrderReport]:
    """Return Kamou's listed stops of the trade, at any price.

    Stops whose cancel was requested are left out.
    """
    known = {o.client_order_id for o in orders if o.status is not OrderStatus.PENDING_CANCEL}
    return [v for v in venue_orders if v.client_order_id in known and _closes(trade, v)]


def cancel_orphans(
    trades: Mapping[str, OpenTrade], orders: Iterable[OrderState]
) -> tuple[CancelOrder, ...]:
    """Return the cancel of each orphan order, which is an order whose trade is over.

    Entries, orders attached to an entry that may still fill, and orders being canceled are left
    out.

    Args:
        trades: open trades, by symbol.
        orders: unsettled orders of all or some symbols.
    """
    known = tuple(orders)
    alive = {t.trade_id for t in trades.values()}
    alive.update(
        o.intent.trade_id for o in known if o.intent.role is OrderRole.ENTRY and o.remaining > 0
    )
    return tuple(
        CancelOrder(
            symbol=o.intent.symbol,
            client_order_id=o.client_order_id,
            reason="orphan order: its trade is over",
        )
        for o in known
        if o.intent.trade_id not in alive
        and o.intent.role is not OrderRole.ENTRY
        and not o.status.terminal
        and o.status is not OrderStatus.PENDING_CANCEL
    )


def is_stop_of(trade: OpenTrade, order: OrderReport) -> bool:
    """Return True if the order is an open stop of the trade that protects it in time.

    Its trigger price is ``trade.stop_price`` or nearer to the mark. Its quantity may be too small.
    """
    return (
        _closes(trade, order)
        and order.trigger_price is not None
        and trade.side.has_reached(trade.stop_price, order.trigger_price)
    )


def _closes(trade: OpenTrade, order: OrderReport) -> bool:
    return (
        order.type is OrderType.STOP_MARKET
        and order.symbol == trade.symbol
        and order.reduce_only
        and order.side is trade.side.closing
        and not order.status.terminal
    )


def _may_add(order: OrderState) -> bool:
    """Return True for a post-only entry that has not ended."""
    return order.intent.post_only and not order.status.terminal


def _may_cover(order: OrderState, held: Decimal) -> bool:
    """Return True if the order is a stop, in flight or resting, that covers ``held``.

    Args:
        held: contracts.
    """
    return (
        order.role is OrderRole.STOP_LOSS
        and order.status in (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN, OrderStatus.ACCEPTED)
        and order.intent.quantity >= held
    )


def _place(trade: OpenTrade) -> PlaceStop:
    return PlaceStop(
        symbol=trade.symbol,
        side=trade.side.closing,
        quantity=trade.quantity,
        trigger_price=trade.stop_on_tick,
    )


def _close(trade: OpenTrade, reason: str) -> ClosePosition:
    return ClosePosition(
        symbol=trade.symbol,
        side=trade.side.closing,
        quantity=trade.quantity,
        reason=reason,
    )


def _cancel(order: OrderReport, reason: str) -> CancelOrder:
    return CancelOrder(symbol=order.symbol, client_order_id=order.client_order_id, reason=reason)
