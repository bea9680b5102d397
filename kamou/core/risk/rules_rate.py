"""Rules about the trading state, strategies, symbols, duplicates and entry rates."""

from __future__ import annotations

from kamou.core.book.permits import Reservation
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import Deny
from kamou.core.day import HOUR_MS, day_start_ms
from kamou.core.model import Denial, OrderRole
from kamou.core.risk.context import ReviewContext
from kamou.core.risk.denials import deny_without_grant, make_denial


def state_allows_entries(c: ReviewContext) -> Denial | None:
    """Deny unless the trading state allows entries."""
    trading = c.book.trading
    if trading.state.entries_allowed:
        return None
    return make_denial(Deny.TRADING_HALTED, state=trading.state, reason=trading.reason)


def duplicate(c: ReviewContext) -> Denial | None:
    """Deny a used permit id, and a signal that has a permit or an unsettled entry."""
    plan, book = c.plan, c.book
    if plan.permit_id in book.permits.reservations or plan.permit_id in book.permits.released:
        return make_denial(Deny.DUPLICATE_INTENT, permit=plan.permit_id)
    for reservation in book.permits.reservations.values():
        if reservation.plan.signal_id == plan.signal_id:
            return make_denial(Deny.DUPLICATE_INTENT, permit=reservation.plan.permit_id)
    for order in book.orders.unsettled.values():
        if order.role is OrderRole.ENTRY and order.plan and order.plan.signal_id == plan.signal_id:
            return make_denial(Deny.DUPLICATE_INTENT, order=order.client_order_id)
    return None


def symbol_held(c: ReviewContext) -> Denial | None:
    """Deny if the symbol has a position, a reserved permit, or an order that may fill."""
    symbol = c.plan.symbol
    if symbol in c.book.trades.open:
        return make_denial(Deny.SYMBOL_HELD, trade=c.book.trades.open[symbol].trade_id)
    for reservation in c.book.permits.reservations.values():
        if reservation.plan.symbol == symbol and reservation.remaining > 0:
            return make_denial(Deny.SYMBOL_HELD, permit=reservation.plan.permit_id)
    if c.book.orders.has_live_entry(symbol):
        return make_denial(Deny.SYMBOL_HELD, order="entry")
    for order in c.book.orders.of_symbol(symbol):
        if not order.status.terminal:  # a stop of an earlier trade would close the new trade
            return make_denial(Deny.SYMBOL_HELD, order=order.client_order_id)
    held = any(p.symbol == symbol and p.quantity != 0 for p in c.positions)
    return make_denial(Deny.SYMBOL_HELD, position="venue") if held else None


def restricted(c: ReviewContext) -> Denial | None:
    """Deny if the symbol is excluded, or the venue does not list it."""
    if c.plan.symbol in c.excluded:
        return make_denial(Deny.SYMBOL_RESTRICTED, symbol=c.plan.symbol, why="excluded")
    if c.instrument is None:
        return make_denial(Deny.SYMBOL_RESTRICTED, symbol=c.plan.symbol, why="not listed")
    return None


def strategy_live(c: ReviewContext) -> Denial | None:
    """Deny if the gate has not granted trading to the plan's strategy."""
    if c.grant is not None and c.grant.strategy == c.plan.strategy:
        return None
    granted = "none" if c.grant is None else c.grant.strategy
    return deny_without_grant(c.plan.strategy, granted)


def strategy_enabled(c: ReviewContext) -> Denial | None:
    """Deny entries of a disabled strategy until the operator resumes it."""
    since_ms = c.book.trading.disabled.get(c.plan.strategy)
    if since_ms is None:
        return None
    return make_denial(Deny.STRATEGY_DISABLED, strategy=c.plan.strategy, since_ms=since_ms)


def entries_per_hour(c: ReviewContext) -> Denial | None:
    """Deny if the strategy's entries of the last hour have reached their limit.

    Trades that were opened count, and permits that may still open one.
    """
    strategy = c.plan.strategy
    done = c.book.recent_activity.count_strategy_entries(strategy, c.now_ms - HOUR_MS)
    pending = sum(
        1
        for r in c.book.permits.reservations.values()
        if r.plan.strategy == strategy and _may_open(c.book, r)
    )
    limit = c.limits.entries_per_strategy_hour
    if done + pending < limit:
        return None
    return make_denial(
        Deny.RATE_ENTRIES_EXCEEDED, strategy=strategy, entries=done + pending, limit=limit
    )


def reentries_per_day(c: ReviewContext) -> Denial | None:
    """Deny if the symbol's re-entries of the UTC day have reached their limit."""
    symbol = c.plan.symbol
    done = c.book.recent_activity.count_symbol_entries(symbol, day_start_ms(c.now_ms))
    limit = c.limits.reentries_per_symbol_day
    if done <= limit:  # the first entry of the day is not a re-entry
        return None
    return make_denial(
        Deny.RATE_REENTRIES_EXCEEDED, symbol=symbol, entries=done, reentries_max=limit
    )


def messages(c: ReviewContext) -> Denial | None:
    """Deny if less than one message to the venue may be sent now."""
    if c.tokens >= 1:
        return None
    return make_denial(
        Deny.RATE_MESSAGES_EXCEEDED, tokens=f"{c.tokens:.2f}", limit_per_s=c.limits.messages_per_s
    )


def cooldown(c: ReviewContext) -> Denial | None:
    """Deny until the cooldown after the symbol's last stop-out is over."""
    stopped_at_ms = c.book.recent_activity.stop_outs_ms.get(c.plan.symbol)
    if stopped_at_ms is None:
        return None
    left_ms = stopped_at_ms + c.limits.cooldown_after_stop_s * 1000 - c.now_ms
    return make_denial(Deny.COOLDOWN_AFTER_STOP, left_ms=left_ms) if left_ms > 0 else None


def _may_open(book: PositionBook, reservation: Reservation) -> bool:
    """Return True if the permit may still open a trade.

    It may until the first fill of its entry is recorded. An entry that the venue reports as partly
    filled and ended still counts until its fills are recorded (seed 20 with ``narrow_counts``,
    ``--hours 0.5``).
    """
    order = book.orders.find(reservation.client_order_id) if reservation.client_order_id else None
    return reservation.remaining > 0 and (order is None or order.filled == 0)
