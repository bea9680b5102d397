"""The order manager: plans entries, keeps every position protected, and closes what is due."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping

import trio

from kamou.actors.base import Actor
from kamou.actors.entries import LOOK_MAX_MS, Entries
from kamou.actors.order_executor import OrderExecutor
from kamou.actors.protection import Protector
from kamou.clock import Clock, next_ms
from kamou.core.book.events import Event, FillRecorded, PermitReleased
from kamou.core.book.orders import IN_FLIGHT, OrderState
from kamou.core.book.position_book import PositionBook
from kamou.core.book.updates import FillUpdate, OrderUpdate
from kamou.core.model import Fill, Instrument, OrderRole, TradingState
from kamou.core.record.gate import Gate
from kamou.core.risk.limits import CostModel, RiskLimits
from kamou.errors import DiskFullError, KamouError
from kamou.messages.orders import CancelOrphanOrder, ProtectPosition, ReconcileNow, ResolveOrder
from kamou.messages.signals import SignalsRefined
from kamou.messages.system import StateNotice
from kamou.runtime.mailboxes import Mailbox

IN_FLIGHT_MAX_MS = 5_000  # an order without an answer for this long is asked after
ORDER_RETRY_MS = 1_000  # between attempts at what must not wait for the next cycle


class OrderManager(Actor):
    """The only actor that sends orders. Its state is its executor's book.

    Between messages it looks after what is due: unprotected positions and unanswered orders
    every second, time stops and expiries every cycle.
    """

    def __init__(
        self,
        *,
        inbox: Mailbox[object],
        clock: Clock,
        executor: OrderExecutor,
        protector: Protector,
        reconciler: Mailbox[object],
        gate: Gate,
        instruments: Mapping[str, Instrument],
        limits: RiskLimits,
        costs: CostModel,
        cycle_period_ms: int,
        handler_deadline_s: float,
    ) -> None:
        super().__init__(
            name="order_manager", inbox=inbox, clock=clock, handler_deadline_s=handler_deadline_s
        )
        self._executor = executor
        self._protector = protector
        self._reconciler = reconciler
        self._entries = Entries(
            executor=executor,
            protector=protector,
            gate=gate,
            instruments=instruments,
            limits=limits,
            costs=costs,
            clock=clock,
            settle=self._settle,
        )
        self._cycle_period_ms = cycle_period_ms
        self._due_ms = 0
        self._due_s = math.inf  # the same by Trio's clock
        self._left: tuple[str, str] | None = None  # the deed that the last look had no time for
        self._orphans_left = False  # the last sweep left orphans

    async def recover(self) -> None:
        """Fold the journal, ask after everything in flight, re-prove every stop."""
        await self._executor.follower.recover()
        self._protector.forget()
        self._wake_at(self.clock.now_ms())

    def next_due_ms(self) -> int | None:
        return self._due_ms

    def next_due_s(self) -> float:
        return self._due_s

    def _wake_at(self, at_ms: int) -> None:
        """Look after what is due at this time.

        By Trio's clock too: deadlines of stops do not wait while our clock catches up (seed 295).
        """
        self._due_ms = at_ms
        self._due_s = trio.current_time() + (at_ms - self.clock.now_ms()) / 1000

    def _wake_by(self, at_ms: int) -> None:
        """Look after what is due at this time, or when it was to be done, if that is earlier."""
        before_ms, before_s = self._due_ms, self._due_s
        self._wake_at(min(before_ms, at_ms))
        self._due_s = min(before_s, self._due_s)

    async def tick(self) -> None:
        try:
            await self._entries.retry()
            await self._look_after()
        except DiskFullError:
            self._wake_at(self.clock.now_ms() + ORDER_RETRY_MS)  # stops stand; nothing new is sent

    async def handle(self, message: object) -> None:
        try:
            await self._hear(message)
            self._wake_by(self._next(self._executor.book))
        except DiskFullError:
            # What this message told is lost here and found again by reconciliation.
            self._wake_by(self.clock.now_ms() + ORDER_RETRY_MS)

    async def _hear(self, message: object) -> None:
        match message:
            case FillUpdate():
                await self._on_fill(message)
            case OrderUpdate():
                await self._on_update(message)
            case SignalsRefined():
                await self._entries.take(message)
            case StateNotice():
                await self._look_after()
            case ProtectPosition():
                await self._protector.protect(message.symbol)
                await self._settle()
            case CancelOrphanOrder():
                await self._executor.cancel(message.client_order_id, message.symbol, message.reason)
            case ResolveOrder():
                order = self._executor.book.order(message.client_order_id)
                if order is not None:
                    await self._resolve(order)
                await self._settle()
            case _:
                raise AssertionError(message)

    async def finish(self) -> None:
        """Journal what the venue has pushed; all else waits for the next incarnation.

        The next start would find it. Until then the record, and the last line of the run, would
        lack a position. If the journal does not take it, the next start finds it after all.
        """
        await trio.lowlevel.checkpoint()
        left: list[object] = []
        with contextlib.suppress(KamouError, trio.WouldBlock):
            while True:
                message = self.inbox.get_nowait()
                if isinstance(message, FillUpdate):
                    await self._record(message.fill)
                elif isinstance(message, OrderUpdate):
                    await self._executor.told(message.order)
                else:
                    left.append(message)
        for message in left:
            self.inbox.put_nowait(message)

    # --- fills -------------------------------------------------------------------

    async def _on_update(self, message: OrderUpdate) -> None:
        """An order ended, or rests. A stop that ended by other hands is missed at once."""
        await self._executor.told(message.order)
        if (
            message.order.client_order_id in self._executor.book.orders
            and message.order.status.terminal
        ):
            self._wake_by(self.clock.now_ms() + ORDER_RETRY_MS)  # its fills are untold
        await self._settle()
        trade = self._executor.book.trades.get(message.order.symbol)
        if message.order.status.terminal and trade is not None and trade.unprotected_since_ms:
            await self._protector.protect(trade.symbol)

    async def _on_fill(self, message: FillUpdate) -> None:
        fill = message.fill
        await self._record(fill)
        book = self._executor.book
        trade = book.trades.get(fill.symbol)
        if trade is not None and trade.unprotected_since_ms:
            # A stop that is merely too large only reduces: the next reconciliation shrinks it.
            await self._protector.protect(fill.symbol)
        if book.order(fill.client_order_id) is None or (trade is not None and trade.quantity < 0):
            self._reconciler.put_nowait(ReconcileNow())  # others trade here: look at once
        await self._settle()

    async def _record(self, fill: Fill) -> None:
        if fill.key not in self._executor.book.fills_seen:
            event = FillRecorded(
                at_ms=self.clock.now_ms(), cause_id=fill.client_order_id, fill=fill, source="stream"
            )
            await self._executor.commit(event)

    async def _settle(self) -> None:
        """Publish trades that are flat, end their reservations, sweep what they left behind."""
        book = self._executor.book
        now = self.clock.now_ms()
        closures: list[Event] = [
            *book.pending_closures(now),
            *book.pending_corrections(now),
            *book.pending_day_corrections(now),
            *book.pending_valuations(now),
        ]
        if closures:
            book = await self._executor.commit(*closures)
            if book.state is TradingState.FLATTENING:
                # What a flatten closed is published with an equity of the same time.
                self._reconciler.put_nowait(ReconcileNow())
        released = [
            PermitReleased(at_ms=now, cause_id=permit, permit_id=permit, reason=reason)
            for permit, reason in book.releasable(now)
        ]
        if released:
            book = await self._executor.commit(*released)
        self._orphans_left = await self._protector.cancel_orphans(book)

    # --- what is due -------------------------------------------------------------

    async def _look_after(self) -> None:
        """Do what is due, as far as the time goes; the next look begins with what was left."""
        until_ms = self.clock.now_ms() + LOOK_MAX_MS
        deeds = self._deeds(self._executor.book)
        first = deeds.index(self._left) if self._left in deeds else 0
        self._left = None
        for deed in (*deeds[first:], *deeds[:first]):
            if self.clock.now_ms() >= until_ms:
                self._left = deed
                break
            await self._carry_out(*deed)
        await self._settle()
        self._wake_at(self._next(self._executor.book))

    def _deeds(self, book: PositionBook) -> list[tuple[str, str]]:
        """What is due: orders to ask after, entries to cancel, trades to close or protect."""
        now = self.clock.now_ms()
        deeds = []
        for order in book.orders.values():
            age_ms = now - order.changed_at_ms
            late = age_ms >= IN_FLIGHT_MAX_MS or order.unknown_since_ms
            # Ended, and of some of its fills nobody told: they may have opened a bare position.
            # So may an entry that rests: it was to trade at once or not at all.
            over = order.status.terminal or order.role is OrderRole.ENTRY
            untold = over and order.status not in IN_FLIGHT and age_ms >= ORDER_RETRY_MS
            if untold or (order.status in IN_FLIGHT and late):
                deeds.append(("resolve", order.client_order_id))
        if not book.state.entries_allowed:
            entries = (o for o in book.orders.values() if o.role is OrderRole.ENTRY)
            deeds += [("cancel", o.client_order_id) for o in entries if not o.status.terminal]
        bare_first = sorted(book.trades.values(), key=lambda t: not t.unprotected_since_ms)
        deeds += [("trade", trade.symbol) for trade in bare_first]
        return deeds

    async def _carry_out(self, what: str, name: str) -> None:
        """One deed; it may have been done meanwhile."""
        executor, book = self._executor, self._executor.book
        if what == "trade":
            await self._look_at(name)
            return
        order = book.orders.get(name)
        if order is None:
            return
        if what == "resolve":
            await self._resolve(order)
        elif not order.status.terminal:
            await executor.cancel(name, order.intent.symbol, book.state.value)

    async def _resolve(self, order: OrderState) -> None:
        """Ask what became of an order. A position that is new by its fills is protected at once.

        Later in the same look, or a second later, may be too late on a slow line (seed 94007).
        """
        symbol = order.intent.symbol
        before = self._executor.book.trades.get(symbol)
        await self._executor.resolve(order)
        trade = self._executor.book.trades.get(symbol)
        if trade is None or not trade.unprotected_since_ms:
            return
        if before is None or not before.unprotected_since_ms:
            await self._look_at(symbol)

    async def _look_at(self, symbol: str) -> None:
        trade = self._executor.book.trades.get(symbol)
        if trade is None:
            return
        if self._executor.book.state is TradingState.FLATTENING:
            # It is not left to a query what became of a close that timed out (seed 995256).
            await self._protector.close(symbol, "flatten", again=True)
        elif 0 < trade.hold_until_ms <= self.clock.now_ms():
            await self._protector.close(symbol, "time stop")
        elif trade.unprotected_since_ms:
            await self._protector.protect(symbol)
        elif not self._executor.port.capabilities.attached_stop:
            await self._protector.aim(trade)

    def _next(self, book: PositionBook) -> int:
        """A second from now while something must not wait, else just after the next cycle."""
        now = self.clock.now_ms()
        urgent = (
            any(
                o.status in IN_FLIGHT or o.status.terminal or o.role is OrderRole.ENTRY
                for o in book.orders.values()
            )
            or any(t.unprotected_since_ms for t in book.trades.values())
            or (book.trades and book.state is TradingState.FLATTENING)
            or book.finished  # flat, and its funding is awaited
            or self._left
            or self._orphans_left
            or self._entries.waiting
        )
        if urgent:
            return now + ORDER_RETRY_MS
        cycle = next_ms(now, self._cycle_period_ms)
        holds = [t.hold_until_ms for t in book.trades.values() if t.hold_until_ms > now]
        return min([cycle, *holds])
