"""Keeping positions protected: reads the venue back, places stops, closes what cannot be kept."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs
import trio

from kamou.actors.order_executor import OrderExecutor
from kamou.core.book.events import ProtectionLost, StopConfirmed
from kamou.core.book.intents import exit_intent
from kamou.core.book.orders import IN_FLIGHT, is_awaited
from kamou.core.book.position_book import PositionBook
from kamou.core.book.trades import OpenTrade
from kamou.core.model import OrderRole, OrderStatus, VenueOrder
from kamou.core.reconciliation import protection
from kamou.core.risk.limits import RiskLimits
from kamou.errors import RateLimitedError, UnreachableError

CLOSE_ATTEMPTS_MAX = 3  # refused closes of one trade before the governor must flatten
CLOSE_WAIT_MS, CLOSE_WAIT_MAX_MS = 500, 16_000  # after a refusal, doubled each time
SILENCE_STEP_MAX_MS = 12_000  # two failed reads further apart prove no silence between them
ROUNDS_MAX = 4  # of orders that time out or are refused, before the venue is read again
FAILED = frozenset({OrderStatus.UNKNOWN, OrderStatus.REJECTED})
LIVE = frozenset(OrderStatus) - FAILED
ORPHANS_MAX = 3  # cancels of one sweep: a venue that does not answer holds up whatever waits
ORPHAN_AFTER_MS = 5_000  # an order in flight may be ended by the venue's own answer


@attrs.frozen
class _Bare:
    """A position without a stop, as first looked at: by our clock, which may leap, and Trio's."""

    since_ms: int
    seen_ms: int
    seen_s: float


class Protector:
    """The order manager's arm for stops.

    Remembers nothing that the journal should: how long the venue was silent, since when by Trio's
    clock a position stands bare, and which closes were refused.
    """

    def __init__(
        self, *, executor: OrderExecutor, limits: RiskLimits, on_failed: Callable[[str], None]
    ) -> None:
        self._executor = executor
        self._limits = limits
        self._on_failed = on_failed
        self.forget()

    def forget(self) -> None:
        """A new incarnation knows of no silence: the deadline then is the stricter one."""
        self._silences: list[tuple[int, int]] = []  # from, to: the venue answered nothing
        self._failed_ms = 0  # the last read, if it failed
        self._bare: dict[str, _Bare] = {}  # by symbol
        self._refused: dict[str, int] = {}  # closes in a row, by trade
        self._again_ms: dict[str, int] = {}  # when a refused close may be tried again

    async def protect(self, symbol: str) -> None:
        """Read the venue's open orders back and do what ``core.reconciliation.protection`` says."""
        executor = self._executor
        resting = await self._read_back()
        if resting is None:
            return
        refused = False  # a stop: then closes follow each other without another one (seed 930189)
        for _ in range(ROUNDS_MAX):
            book = executor.book
            trade = book.trades.get(symbol)
            if trade is None:
                self._bare.pop(symbol, None)
                return
            told: set[OrderStatus | None] = {
                await self._do(trade, action)
                for action in protection.protect(
                    trade,
                    book.orders_of(symbol),
                    resting,
                    limits=self._limits,
                    now_ms=self._now_ms(trade),
                    silent_ms=self._silent_since(trade.unprotected_since_ms),
                    stop_refused=refused,
                )
            }
            refused = refused or OrderStatus.REJECTED in told
            if not told & FAILED or not trade.unprotected_since_ms:
                break  # else again at once: an order too many only reduces, and a read takes time
        after = executor.book.trades.get(symbol)
        if after is not None and not executor.port.capabilities.attached_stop:
            await self.aim(after)

    def _now_ms(self, trade: OpenTrade) -> int:
        """Our time, or later if our clock was set back while the position stood bare."""
        now_ms, now_s = self._executor.clock.now_ms(), trio.current_time()
        bare = self._bare.get(trade.symbol)
        if bare is None or bare.since_ms != trade.unprotected_since_ms:
            bare = _Bare(trade.unprotected_since_ms, now_ms, now_s)
            self._bare[trade.symbol] = bare
        return max(now_ms, bare.seen_ms + int(1000 * (now_s - bare.seen_s)))

    async def _read_back(self) -> tuple[VenueOrder, ...] | None:
        """The venue's open orders; None when it is silent, which is never read as none."""
        trades = self._executor.book.trades.values()
        if not any(trade.unprotected_since_ms for trade in trades):
            self._silences.clear()  # nobody's deadline needs them
        try:
            resting = await self._executor.port.open_orders()
        except (UnreachableError, RateLimitedError):
            now = self._executor.clock.now_ms()
            self._note_silence(now)
            self._failed_ms = now
            return None
        self._note_silence(self._executor.clock.now_ms())
        self._failed_ms = 0
        return resting

    def _note_silence(self, now_ms: int) -> None:
        """Between a failed read and this one the venue was silent, if they are near enough."""
        if self._failed_ms and now_ms - self._failed_ms <= SILENCE_STEP_MAX_MS:
            self._silences.append((self._failed_ms, now_ms))

    def _silent_since(self, since_ms: int) -> int:
        """Milliseconds of silence after ``since_ms``: they do not count towards a deadline."""
        return sum(max(0, to - max(since, since_ms)) for since, to in self._silences)

    async def _do(self, trade: OpenTrade, action: protection.Action) -> OrderStatus | None:
        """Carry it out. What became of the order, if it is one."""
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
                pass  # the next look is within a second
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
        told = await self._exit(OrderRole.STOP_LOSS, trade, action.quantity, action.trigger_price)
        if told in LIVE:
            await self.protect(trade.symbol)
        return told

    async def aim(self, trade: OpenTrade) -> None:
        """Place the target of a trade whose entry could not carry it. Once, after all stops."""
        executor = self._executor
        book = executor.book
        if (
            trade.target_price is None
            or not trade.protected
            or book.entry_live(trade.symbol)
            or any(other.unprotected_since_ms for other in book.trades.values())
            or _attempt(book, trade, OrderRole.TAKE_PROFIT) > 1
        ):
            return
        await self._exit(OrderRole.TAKE_PROFIT, trade, trade.quantity, trade.target_price)

    async def close(self, symbol: str, reason: str, *, again: bool = False) -> OrderStatus | None:
        """Close the whole position reduce-only. Its stop stays until the position is flat.

        ``again``: even where an earlier close timed out. None: nothing was sent now.
        """
        executor = self._executor
        book = executor.book
        trade = book.trades.get(symbol)
        if trade is None or trade.quantity <= 0:
            return None
        ours = book.orders_of(symbol)
        closes = protection.closes_under_way(trade, ours)
        if any(is_awaited(o, executor.clock.now_ms()) or not again for o in closes):
            return None  # one at a time; it is resolved by query
        if executor.clock.now_ms() < self._again_ms.get(trade.trade_id, 0):
            return None  # refused just now: the venue may know what reconciliation has yet to see
        for order in ours:
            # A resting reduce-only target could leave a venue no quantity for the close.
            if order.role is OrderRole.TAKE_PROFIT and not order.status.terminal:
                await executor.cancel(order.client_order_id, symbol, reason)
        trade = executor.book.trades.get(symbol)
        if trade is None or trade.quantity <= 0:
            return None  # the target filled while it was being cancelled
        told = await self._exit(OrderRole.EXIT, trade, trade.quantity)
        if told in LIVE:
            self._refused.pop(trade.trade_id, None)
            self._again_ms.pop(trade.trade_id, None)
            return told
        refused = self._refused[trade.trade_id] = self._refused.get(trade.trade_id, 0) + 1
        if told is not OrderStatus.UNKNOWN:
            wait_ms = min(CLOSE_WAIT_MAX_MS, CLOSE_WAIT_MS << (refused - 1))
            self._again_ms[trade.trade_id] = executor.clock.now_ms() + wait_ms
        if refused < CLOSE_ATTEMPTS_MAX or not trade.unprotected_since_ms:
            return told
        if await self._held(symbol):  # else no wonder: reconciliation finds out why
            self._on_failed(symbol)
        return told

    async def _held(self, symbol: str) -> bool:
        """Whether the venue may still hold the position. Silence does not say that it is gone."""
        try:
            positions = await self._executor.port.positions()
        except (UnreachableError, RateLimitedError):
            return True
        return any(p.symbol == symbol and p.quantity != 0 for p in positions)

    async def _exit(
        self, role: OrderRole, trade: OpenTrade, quantity: Decimal, price: Decimal | None = None
    ) -> OrderStatus | None:
        """Send the trade's next order of this role; what became of it."""
        executor = self._executor
        intent = exit_intent(
            role,
            trade_id=trade.trade_id,
            symbol=trade.symbol,
            side=trade.side,
            quantity=quantity,
            price=price,
            leverage=trade.leverage,
            attempt=_attempt(executor.book, trade, role),
            now_ms=executor.clock.now_ms(),
            cause_id=trade.trade_id,
            salt_of=executor.salt_of,
        )
        return await executor.reduce(intent)

    async def cancel_orphans(self, book: PositionBook) -> bool:
        """Cancel our stops and targets whose trade is over: a few. True: there are more."""
        swept = 0
        young_ms = self._executor.clock.now_ms() - ORPHAN_AFTER_MS
        for orphan in sorted(
            protection.orphans(book.trades, book.orders.values()), key=lambda o: o.symbol
        ):
            order = book.orders.get(orphan.client_order_id)
            if order is None or (order.status in IN_FLIGHT and order.changed_at_ms > young_ms):
                continue  # it ended meanwhile, or its answer may be on its way
            if swept == ORPHANS_MAX:
                return True
            swept += 1
            await self._executor.cancel(orphan.client_order_id, orphan.symbol, orphan.reason)
        return False


def _attempt(book: PositionBook, trade: OpenTrade, role: OrderRole) -> int:
    """The number of the next intent of this role: one more than there were."""
    known = (*book.orders.values(), *book.closed.values())
    return 1 + sum(1 for o in known if o.intent.trade_id == trade.trade_id and o.role is role)
