"""``Protector``, which reads open orders back, places stops and closes positions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs
import trio

from kamou.actors.order_executor import OrderExecutor
from kamou.core.book.events import ProtectionLost, StopConfirmed
from kamou.core.book.intents import IntentOrigin, PositionToClose, exit_intent
from kamou.core.book.orders import IN_FLIGHT, is_awaited
from kamou.core.book.position_book import PositionBook
from kamou.core.book.trades import OpenTrade
from kamou.core.model import OrderReport, OrderRole, OrderStatus
from kamou.core.reconciliation import protection
from kamou.core.risk.limits import RiskLimits
from kamou.errors import RateLimitedError, UnreachableError

CLOSE_ATTEMPTS_MAX = 3  # failed exits in a row of one unprotected trade; then the governor flattens
CLOSE_WAIT_MS, CLOSE_WAIT_MAX_MS = 500, 16_000  # after a rejected exit, doubled each time
FAILED_READS_APART_MAX_MS = 12_000  # further apart, the venue may have answered in between
ROUNDS_MAX = 4  # of orders that time out or are rejected, before the venue is read again
FAILED = frozenset({OrderStatus.UNKNOWN, OrderStatus.REJECTED})
LIVE = frozenset(OrderStatus) - FAILED
ORPHANS_MAX = 3  # cancels in one call: if the venue does not answer, each one takes its timeout
ORPHAN_AFTER_MS = 5_000  # an order in flight may be ended by the venue's own answer


@attrs.frozen
class _Unprotected:
    """The time of the first check of an unprotected position, by two clocks."""

    since_ms: int  # the start of its unprotected period, from the journal
    seen_ms: int  # by the wall clock, which may be set
    seen_s: float  # by Trio's clock


@attrs.define(kw_only=True, eq=False)
class Protector:
    """The part of the order manager that keeps stops in place and closes positions.

    Its state is not journalled: periods without an answer of the venue, first checks of unprotected
    positions, and failed exits.
    """

    _executor: OrderExecutor
    _limits: RiskLimits
    _on_failed: Callable[[str], None]
    # Periods in which the venue answered no read: from, to.
    _unanswered: list[tuple[int, int]] = attrs.field(init=False, factory=list)
    _failed_ms: int = attrs.field(init=False, default=0)  # time of the last read, if it failed
    _unprotected: dict[str, _Unprotected] = attrs.field(init=False, factory=dict)  # by symbol
    _failed_closes: dict[str, int] = attrs.field(init=False, factory=dict)  # in a row, by trade
    # Time of the next try after a rejected exit, by trade.
    _again_ms: dict[str, int] = attrs.field(init=False, factory=dict)

    def forget(self) -> None:
        """Reset the state.

        Deadlines then end earlier, because they count the time without an answer of the venue.
        """
        self._unanswered, self._failed_ms = [], 0
        self._unprotected, self._failed_closes, self._again_ms = {}, {}, {}

    async def protect(self, symbol: str) -> None:
        """Read open orders back and do the due actions for the position of ``symbol``.

        ``core.reconciliation.protection`` decides which actions are due. If the read fails, nothing
        is done now. If the venue cannot attach a take profit, ``place_target`` follows.
        """
        executor = self._executor
        resting = await self._read_back()
        if resting is None:
            return
        rejected = False  # then close without another try to place a stop (seed 930189)
        for _ in range(ROUNDS_MAX):
            book = executor.book
            trade = book.trades.open.get(symbol)
            if trade is None:
                self._unprotected.pop(symbol, None)
                return
            statuses: set[OrderStatus | None] = {
                await self._do(trade, action)
                for action in protection.protect(
                    trade,
                    book.orders.of_symbol(symbol),
                    resting,
                    limits=self._limits,
                    now_ms=self._now_ms(trade),
                    failures=protection.StopFailures(
                        unreachable_ms=self._unanswered_ms(trade.unprotected_since_ms),
                        stop_rejected=rejected,
                    ),
                )
            }
            rejected = rejected or OrderStatus.REJECTED in statuses
            if not statuses & FAILED or not trade.unprotected_since_ms:
                break  # otherwise act again without a read: a surplus order only reduces
        after = executor.book.trades.open.get(symbol)
        if after is not None and not executor.port.capabilities.attached_stop:
            await self.place_target(after)

    def _now_ms(self, trade: OpenTrade) -> int:
        """Return the wall time in ms; if the clock was set back, without that step.

        Only steps since the first check of the unprotected position count.
        """
        now_ms, now_s = self._executor.clock.now_ms(), trio.current_time()
        found = self._unprotected.get(trade.symbol)
        if found is None or found.since_ms != trade.unprotected_since_ms:
            found = _Unprotected(trade.unprotected_since_ms, now_ms, now_s)
            self._unprotected[trade.symbol] = found
        return max(now_ms, found.seen_ms + int(1000 * (now_s - found.seen_s)))

    async def _read_back(self) -> tuple[OrderReport, ...] | None:
        """Return the venue's open orders; None without an answer or at the rate limit."""
        trades = self._executor.book.trades.open.values()
        if not any(trade.unprotected_since_ms for trade in trades):
            self._unanswered.clear()  # no deadline needs them
        try:
            resting = await self._executor.port.open_orders()
        except (UnreachableError, RateLimitedError):
            now = self._executor.clock.now_ms()
            self._record_unanswered(now)
            self._failed_ms = now
            return None
        self._record_unanswered(self._executor.clock.now_ms())
        self._failed_ms = 0
        return resting

    def _record_unanswered(self, now_ms: int) -> None:
        """Record that the venue did not answer since the last failed read, if recent."""
        if self._failed_ms and now_ms - self._failed_ms <= FAILED_READS_APART_MAX_MS:
            self._unanswered.append((self._failed_ms, now_ms))

    def _unanswered_ms(self, since_ms: int) -> int:
        """Return the time without an answer of the venue after ``since_ms``, in ms.

        Deadlines of stops do not count this time.
        """
        return sum(max(0, to - max(since, since_ms)) for since, to in self._unanswered)

    async def _do(self, trade: OpenTrade, action: protection.Action) -> OrderStatus | None:
        """Carry out one action; return the status of the order that was sent, or None."""
        executor = self._executor
        now = executor.clock.now_ms()
        match action:
            case protection.ConfirmStop():
                await executor.commit(
                    StopConfirmed(
                        at_ms=now,
                        cause_id=action.client_order_id,
                        symbol=action.symbol,
                        client_order_id=action.client_order_id,
                        quantity=action.quantity,
                        trigger_price=action.trigger_price,
                    )
                )
            case protection.PlaceStop():
                return await self._place_stop(trade, action)
            case protection.CancelOrder():
                await executor.cancel(action.client_order_id, action.symbol, action.reason)
            case protection.ClosePosition():
                return await self.close(action.symbol, action.reason, again=True)
            case protection.Await():
                pass  # the order manager checks again within a second
        return None

    async def _place_stop(
        self, trade: OpenTrade, action: protection.PlaceStop
    ) -> OrderStatus | None:
        executor = self._executor
        now = executor.clock.now_ms()
        if trade.confirmed is not None and not trade.unprotected_since_ms:
            lost = ProtectionLost(
                at_ms=now, cause_id=trade.trade_id, symbol=trade.symbol, reason="not read back"
            )
            if trade.confirmed.quantity < trade.quantity:
                await executor.commit(lost)
        status = await self._exit(OrderRole.STOP_LOSS, trade, action.quantity, action.trigger_price)
        if status in LIVE:
            await self.protect(trade.symbol)
        return status

    async def place_target(self, trade: OpenTrade) -> None:
        """Place a trade's take profit, if it has one that was not placed before.

        Do nothing until the entry has ended and every position has its stop. Call this only for a
        venue that cannot attach the take profit to the entry.
        """
        executor = self._executor
        book = executor.book
        if (
            trade.target_price is None
            or not trade.protected
            or book.orders.has_live_entry(trade.symbol)
            or any(other.unprotected_since_ms for other in book.trades.open.values())
            or _attempt(book, trade, OrderRole.TAKE_PROFIT) > 1
        ):
            return
        await self._exit(OrderRole.TAKE_PROFIT, trade, trade.quantity, trade.target_price)

    async def close(self, symbol: str, reason: str, *, again: bool = False) -> OrderStatus | None:
        """Close the whole position reduce-only; its stop stays until the position is flat.

        After ``CLOSE_ATTEMPTS_MAX`` failed exits in a row of a position that is unprotected and may
        be open, call ``on_failed``.

        Args:
            symbol: the symbol of the position.
            reason: the reason for the cancel of a resting take profit.
            again: send an exit even if an earlier one timed out.

        Returns:
            The status of the exit; None if none was sent now, or the governor denied it.
        """
        executor = self._executor
        book = executor.book
        trade = book.trades.open.get(symbol)
        if trade is None or trade.quantity <= 0:
            return None
        orders = book.orders.of_symbol(symbol)
        closes = protection.pending_exits(trade, orders)
        if any(is_awaited(o, executor.clock.now_ms()) or not again for o in closes):
            return None  # one exit at a time; the query resolves it
        if executor.clock.now_ms() < self._again_ms.get(trade.trade_id, 0):
            return None  # not sent just now: reconciliation may find that the position is gone
        for order in orders:
            # A venue may reserve the position's quantity for a resting take profit.
            if order.role is OrderRole.TAKE_PROFIT and not order.status.terminal:
                await executor.cancel(order.client_order_id, symbol, reason)
        trade = executor.book.trades.open.get(symbol)
        if trade is None or trade.quantity <= 0:
            return None  # the take profit filled while it was being canceled
        status = await self._exit(OrderRole.EXIT, trade, trade.quantity)
        if status in LIVE:
            self._failed_closes.pop(trade.trade_id, None)
            self._again_ms.pop(trade.trade_id, None)
            return status
        failures = self._failed_closes[trade.trade_id] = (
            self._failed_closes.get(trade.trade_id, 0) + 1
        )
        if status is not OrderStatus.UNKNOWN:
            wait_ms = min(CLOSE_WAIT_MAX_MS, CLOSE_WAIT_MS << (failures - 1))
            self._again_ms[trade.trade_id] = executor.clock.now_ms() + wait_ms
        if failures < CLOSE_ATTEMPTS_MAX or not trade.unprotected_since_ms:
            return status
        if await self._may_be_open(symbol):  # else the exits failed because there is no position
            self._on_failed(symbol)
        return status

    async def _may_be_open(self, symbol: str) -> bool:
        """Return True if the venue lists the position, or the read fails."""
        try:
            positions = await self._executor.port.positions()
        except (UnreachableError, RateLimitedError):
            return True
        return any(p.symbol == symbol and p.quantity != 0 for p in positions)

    async def _exit(
        self, role: OrderRole, trade: OpenTrade, quantity: Decimal, price: Decimal | None = None
    ) -> OrderStatus | None:
        """Send the trade's next order of this role and return its status."""
        executor = self._executor
        intent = exit_intent(
            role,
            position=PositionToClose(
                trade_id=trade.trade_id,
                symbol=trade.symbol,
                side=trade.side,
                quantity=quantity,
                leverage=trade.leverage,
            ),
            origin=IntentOrigin(
                attempt=_attempt(executor.book, trade, role),
                at_ms=executor.clock.now_ms(),
                cause_id=trade.trade_id,
            ),
            salt_of=executor.salt_of,
            price=price,
        )
        return await executor.reduce(intent)

    async def cancel_orphans(self, book: PositionBook) -> bool:
        """Cancel at most ``ORPHANS_MAX`` orphan orders; return True if there are more."""
        canceled = 0
        young_ms = self._executor.clock.now_ms() - ORPHAN_AFTER_MS
        for orphan in sorted(
            protection.cancel_orphans(book.trades.open, book.orders.unsettled.values()),
            key=lambda o: o.symbol,
        ):
            order = self._executor.book.orders.unsettled.get(orphan.client_order_id)
            if order is None or (order.status in IN_FLIGHT and order.changed_at_ms > young_ms):
                continue  # it ended meanwhile, or its answer may still come
            if canceled == ORPHANS_MAX:
                return True
            canceled += 1
            await self._executor.cancel(orphan.client_order_id, orphan.symbol, orphan.reason)
        return False


def _attempt(book: PositionBook, trade: OpenTrade, role: OrderRole) -> int:
    """Return the number of the trade's next intent of this role, from 1."""
    known = (*book.orders.unsettled.values(), *book.orders.settled.values())
    return 1 + sum(1 for o in known if o.intent.trade_id == trade.trade_id and o.role is role)
