"""State machine of an order: allowed transitions and the effect of each event.

Late and repeated events are normal. Once an order is terminal, they change only its filled
quantities and a missing venue order id. An order becomes terminal by fills of its whole quantity,
by the venue's report of its end, or by ``OrderRejected``. That event records a rejection or rate
limit of the venue, or a denial by the exchange port. Each order attached to a rejected entry has
one, too.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import (
    CancelRequested,
    Event,
    FillRecorded,
    OrderAccepted,
    OrderClosed,
    OrderRejected,
    OrderUnknown,
)
from kamou.core.model import ZERO, Intent, OrderRole, OrderStatus, Plan

_S = OrderStatus
_ENDS = frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED})

NEXT: dict[OrderStatus, frozenset[OrderStatus]] = {
    _S.SUBMITTED: _ENDS | {_S.UNKNOWN, _S.ACCEPTED, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL},
    _S.UNKNOWN: _ENDS | {_S.ACCEPTED, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL},
    _S.ACCEPTED: _ENDS | {_S.PARTIALLY_FILLED, _S.PENDING_CANCEL},
    _S.PARTIALLY_FILLED: frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.PENDING_CANCEL}),
    _S.PENDING_CANCEL: _ENDS,
    _S.FILLED: frozenset(),
    _S.CANCELED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.REJECTED: frozenset(),
}
"""Allowed transitions by order state. Any other fails an assertion."""

IN_FLIGHT = frozenset({_S.SUBMITTED, _S.UNKNOWN})
"""States in which the venue may or may not have the order."""

RESTING = frozenset({_S.ACCEPTED, _S.PARTIALLY_FILLED})
"""States in which the venue has the order and no cancel was requested."""

ANSWER_MAX_MS = 3_000  # after this time in flight, no answer is expected any more


@attrs.frozen(kw_only=True)
class OrderState:
    """Order of Kamou since its committed intent. Quantities are contracts."""

    intent: Intent
    status: OrderStatus = OrderStatus.SUBMITTED  # committed, so it may have been sent
    filled: Decimal = ZERO  # by recorded fills
    filled_value: Decimal = ZERO  # sum of quantity x price of those fills
    reported: Decimal = ZERO  # filled quantity that the venue reported when the order ended
    venue_order_id: str = ""
    unknown_since_ms: int = 0  # time of ``OrderUnknown``; 0: none
    changed_at_ms: int
    reason: str = ""  # of the unknown outcome, the cancel request or the end
    plan: Plan | None = None  # of an entry

    @property
    def client_order_id(self) -> str:
        return self.intent.client_order_id

    @property
    def role(self) -> OrderRole:
        return self.intent.role

    @property
    def remaining(self) -> Decimal:
        """Contracts that may still fill.

        Of a terminal order, contracts that the venue reported as filled and no recorded fill has.
        """
        if self.status.terminal:
            return max(ZERO, self.reported - self.filled)
        return max(ZERO, self.intent.quantity - self.filled)

    @property
    def rests_until_ms(self) -> int:
        """Deadline of a post-only entry, in ms; the intent's time if it has no plan."""
        rest_ms = 0 if self.plan is None else self.plan.rest_ms
        return self.intent.intended_at_ms + rest_ms

    @property
    def resting(self) -> bool:
        """True for a post-only entry at the venue, without a request to cancel it."""
        return self.intent.post_only and self.status in RESTING

    @property
    def settled(self) -> bool:
        """True if the order is terminal and all its reported fills are recorded."""
        return self.status.terminal and self.reported <= self.filled

    @property
    def average_price(self) -> Decimal | None:
        """Average price of the recorded fills; None without one."""
        return self.filled_value / self.filled if self.filled else None


def is_awaited(order: OrderState, now_ms: int) -> bool:
    """Return True unless the order's outcome is unknown or its answer is overdue.

    An order of unknown outcome or overdue answer may never have reached the venue. An answer is
    overdue ``ANSWER_MAX_MS`` after the intent, because the sender may have crashed (seed 990097).
    """
    if order.status is OrderStatus.UNKNOWN:
        return False
    return order.status not in IN_FLIGHT or now_ms - order.changed_at_ms < ANSWER_MAX_MS


def open_order(intent: Intent, at_ms: int, plan: Plan | None = None) -> OrderState:
    """Return the submitted order of a committed intent.

    Args:
        plan: of an entry with a permit; None for another order.
    """
    return OrderState(intent=intent, changed_at_ms=at_ms, plan=plan)


def apply_order_event(order: OrderState, event: Event) -> OrderState:
    """Return the order after the event; the same object if nothing changes.

    Raises:
        AssertionError: the event is of another order or symbol or is no event of an order,
            ``OrderClosed`` has an open status, or ``NEXT`` does not allow the change.
    """
    if isinstance(event, FillRecorded):
        return _apply_fill(order, event)
    assert getattr(event, "client_order_id", order.client_order_id) == order.client_order_id, (
        f"{type(event).__name__} of order {getattr(event, 'client_order_id', '')}"
        f" was applied to order {order.client_order_id}"
    )
    if isinstance(event, OrderAccepted):
        if order.status in IN_FLIGHT:
            return _to(attrs.evolve(order, venue_order_id=event.venue_order_id), _S.ACCEPTED, event)
        if event.venue_order_id and not order.venue_order_id:
            return attrs.evolve(order, venue_order_id=event.venue_order_id)
        return order
    if isinstance(event, OrderUnknown):
        if order.status is not _S.SUBMITTED:
            return order  # the venue has answered in the meantime
        unknown = attrs.evolve(order, unknown_since_ms=event.at_ms, reason=event.reason)
        return _to(unknown, _S.UNKNOWN, event)
    if isinstance(event, CancelRequested):
        if order.status.terminal or order.status is _S.PENDING_CANCEL:
            return order
        return _to(attrs.evolve(order, reason=event.reason), _S.PENDING_CANCEL, event)
    if isinstance(event, OrderRejected):
        return _end(order, _S.REJECTED, order.filled, event, f"{event.code}: {event.reason}")
    assert isinstance(event, OrderClosed), (
        f"{type(event).__name__} is not an event of an order: {order.client_order_id}"
    )
    assert event.status in _ENDS, (
        f"OrderClosed of {order.client_order_id} has the open status {event.status}"
    )
    return _end(order, event.status, event.filled, event, event.reason)


def _to(order: OrderState, status: OrderStatus, event: Event) -> OrderState:
    assert status in NEXT[order.status], (
        f"order {order.client_order_id} cannot change from {order.status} to {status}"
    )
    return attrs.evolve(order, status=status, changed_at_ms=event.at_ms)


def _end(
    order: OrderState, status: OrderStatus, filled: Decimal, event: Event, reason: str
) -> OrderState:
    reported = max(order.reported, filled)
    if order.status.terminal:
        # Late or repeated: only a larger filled quantity changes the order.
        return order if reported == order.reported else attrs.evolve(order, reported=reported)
    if status is _S.REJECTED and order.filled > 0:
        status = _S.CANCELED  # some venues report the rest of a partly filled order as rejected
    return _to(attrs.evolve(order, reported=reported, reason=reason), status, event)


def _apply_fill(order: OrderState, event: FillRecorded) -> OrderState:
    fill = event.fill
    assert fill.client_order_id == order.client_order_id, (
        f"fill {fill.key} of order {fill.client_order_id} was applied to {order.client_order_id}"
    )
    assert fill.symbol == order.intent.symbol, (
        f"fill {fill.key} is in {fill.symbol}, its order {order.client_order_id} in"
        f" {order.intent.symbol}"
    )
    filled = order.filled + fill.quantity
    value = order.filled_value + fill.quantity * fill.price
    changed = attrs.evolve(order, filled=filled, filled_value=value)
    if not order.status.terminal:
        if filled >= order.intent.quantity:
            return _to(attrs.evolve(changed, reported=filled), _S.FILLED, event)
        if order.status is not _S.PARTIALLY_FILLED and order.status is not _S.PENDING_CANCEL:
            return _to(changed, _S.PARTIALLY_FILLED, event)
    return changed
