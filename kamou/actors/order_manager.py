"""The order manager: enters positions, protects them, and closes them when due."""

from __future__ import annotations

import contextlib
import math
from typing import assert_never

import attrs
import trio

from kamou.actors.base import Actor
from kamou.actors.entries import LOOK_MAX_MS, Entries
from kamou.actors.order_executor import OrderExecutor
from kamou.actors.protection import Protector
from kamou.core.book.due_actions import (
    ORDER_RETRY_MS,
    CancelEntry,
    CheckTrade,
    CloseTrade,
    DueAction,
    PlaceTarget,
    ProtectTrade,
    QueryOrder,
    decide_trade,
    find_due_actions,
    is_urgent,
    next_look_ms,
)
from kamou.core.book.events import Event, FillRecorded, PermitReleased
from kamou.core.book.orders import OrderState
from kamou.core.book.position_book import PositionBook
from kamou.core.book.updates import FillUpdate, OrderUpdate
from kamou.core.kinds import FillSource
from kamou.core.model import FillReport, TradingState
from kamou.core.record.gate import Gate
from kamou.core.risk.limits import TradingParameters
from kamou.errors import DiskFullError, KamouError
from kamou.messages.governor import StateNotice
from kamou.messages.orders import (
    CancelOrphanOrder,
    OrderMessage,
    ProtectPosition,
    ReconcileNow,
    ResolveOrder,
)
from kamou.messages.signals import SignalsRefined
from kamou.runtime.mailbox_sides import Outbox


@attrs.define(kw_only=True, eq=False, slots=False)
class OrderManager(Actor[OrderMessage]):
    """The only actor that sends orders. Its journalled state is its position book.

    Between messages it carries out due actions: every second while one is urgent (for example
    while a position is unprotected, an order has no answer or an entry has not ended), else every
    cycle and at a trade's time limit.
    """

    name: str = attrs.field(init=False, default="order_manager")
    _executor: OrderExecutor
    _protector: Protector
    _reconciler: Outbox[ReconcileNow]
    _gate: Gate
    _parameters: TradingParameters
    _cycle_period_ms: int
    _entries: Entries = attrs.field(init=False)
    _due_ms: int = attrs.field(init=False, default=0)
    _due_s: float = attrs.field(init=False, default=math.inf)  # the same by Trio's clock
    # The first due action for which the last tick had no time.
    _postponed: DueAction | None = attrs.field(init=False, default=None)
    _orphans_left: bool = attrs.field(init=False, default=False)  # orphan orders to be canceled

    def __attrs_post_init__(self) -> None:
        self._entries = Entries(
            executor=self._executor,
            protector=self._protector,
            gate=self._gate,
            parameters=self._parameters,
            clock=self.clock,
            settle=self._settle,
        )

    async def recover(self) -> None:
        """Fold the journal; make due a tick that queries orders and confirms stops."""
        await self._executor.follower.recover()
        self._protector.forget()
        self._wake_at(self.clock.now_ms())

    def next_due_ms(self) -> int | None:
        return self._due_ms

    def next_due_s(self) -> float:
        return self._due_s

    def _wake_at(self, at_ms: int) -> None:
        """Set the time of the next tick, by the wall clock and by Trio's clock.

        If the wall clock is set back, the deadlines of stops must not wait until it catches up
        (seed 295).
        """
        self._due_ms = at_ms
        self._due_s = trio.current_time() + (at_ms - self.clock.now_ms()) / 1000

    def _wake_by(self, at_ms: int) -> None:
        """Set the time of the next tick, unless it is earlier already."""
        before_ms, before_s = self._due_ms, self._due_s
        self._wake_at(min(before_ms, at_ms))
        self._due_s = min(before_s, self._due_s)

    async def tick(self) -> None:
        try:
            await self._entries.retry()
            await self._do_due_actions()
        except DiskFullError:
            # Stops rest at the venue; nothing new is sent while no intent can be committed.
            self._wake_at(self.clock.now_ms() + ORDER_RETRY_MS)

    async def handle(self, message: OrderMessage) -> None:
        try:
            await self._receive(message)
            self._wake_by(self._next_tick_ms(self._executor.book))
        except DiskFullError:
            # This message is lost; reconciliation reads its order or fill from the venue.
            self._wake_by(self.clock.now_ms() + ORDER_RETRY_MS)

    async def _receive(self, message: OrderMessage) -> None:
        match message:
            case FillUpdate():
                await self._on_fill(message)
            case OrderUpdate():
                await self._on_update(message)
            case SignalsRefined():
                await self._entries.take(message)
            case StateNotice():
                await self._do_due_actions()
            case ProtectPosition():
                await self._protector.protect(message.symbol)
                await self._settle()
            case CancelOrphanOrder():
                await self._executor.cancel(message.client_order_id, message.symbol, message.reason)
            case ResolveOrder():
                order = self._executor.book.orders.find(message.client_order_id)
                if order is not None:
                    await self._resolve(order)
                await self._settle()
            case _:
                assert_never(message)

    async def finish(self) -> None:
        """Cancel resting entries, and journal the updates that wait.

        Stops stay at the venue; other messages stay for the next incarnation. Otherwise a position
        could be missing from the record, and from the run's last line, until the next start. If the
        journal fails, the next start reads the updates from the venue, and cancels the entries at
        their deadlines.
        """
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(KamouError):
            await self._cancel_resting()
        await self._journal_updates()

    async def _cancel_resting(self) -> None:
        """Cancel each post-only entry, and read what filled.

        No cancel begins after ``LOOK_MAX_MS``.
        """
        executor, until_ms = self._executor, self.clock.now_ms() + LOOK_MAX_MS
        entries = [o for o in executor.book.orders.unsettled.values() if o.intent.post_only]
        for order in entries:
            if self.clock.now_ms() < until_ms:
                await executor.cancel(order.client_order_id, order.intent.symbol, "orderly stop")
                await self._resolve(
                    executor.book.orders.unsettled.get(order.client_order_id, order)
                )
        if entries:
            await self._settle()  # so that no permit of theirs stays reserved

    async def _journal_updates(self) -> None:
        """Journal the fills and orders that wait in the mailbox."""
        others: list[OrderMessage] = []
        with contextlib.suppress(KamouError, trio.WouldBlock):
            while True:
                message = self.inbox.get_nowait()
                if isinstance(message, FillUpdate):
                    await self._record(message.fill)
                elif isinstance(message, OrderUpdate):
                    await self._executor.record_report(message.order)
                else:
                    others.append(message)
        for message in others:
            self.inbox.put_nowait(message)

    # --- fills -------------------------------------------------------------------

    async def _on_update(self, message: OrderUpdate) -> None:
        """Journal an order's update, and do what follows from it (``_settle``).

        After the order's end, protect an unprotected position. If fills of the order are missing,
        the next tick comes within ``ORDER_RETRY_MS``.
        """
        await self._executor.record_report(message.order)
        if (
            message.order.client_order_id in self._executor.book.orders.unsettled
            and message.order.status.terminal
        ):
            self._wake_by(self.clock.now_ms() + ORDER_RETRY_MS)  # some of its fills are missing
        await self._settle()
        trade = self._executor.book.trades.open.get(message.order.symbol)
        if message.order.status.terminal and trade is not None and trade.unprotected_since_ms:
            await self._protector.protect(trade.symbol)

    async def _on_fill(self, message: FillUpdate) -> None:
        fill = message.fill
        await self._record(fill)
        book = self._executor.book
        trade = book.trades.open.get(fill.symbol)
        if trade is not None and trade.unprotected_since_ms:
            # A stop that is only too large is not urgent: the next reconciliation shrinks it.
            await self._protector.protect(fill.symbol)
        if book.orders.find(fill.client_order_id) is None or (
            trade is not None and trade.quantity < 0
        ):
            self._reconciler.put_nowait(ReconcileNow())  # an external order, or a fill beyond flat
        await self._settle()

    async def _record(self, fill: FillReport) -> None:
        if fill.key not in self._executor.book.reconciliation.fills_seen:
            event = FillRecorded(
                at_ms=self.clock.now_ms(),
                cause_id=fill.client_order_id,
                fill=fill,
                source=FillSource.STREAM,
            )
            await self._executor.commit(event)

    async def _settle(self) -> None:
        """Journal results and corrections, release permits, cancel orphan orders.

        In the state FLATTENING, ask the reconciler for an equity snapshot after results or
        corrections.
        """
        book = self._executor.book
        now = self.clock.now_ms()
        closures: list[Event] = [
            *book.pending_closures(now),
            *book.trades.pending_corrections(now),
            *book.midnights.pending_corrections(now),
            *book.transfers.pending_valuations(now),
        ]
        if closures:
            book = await self._executor.commit(*closures)
            if book.trading.state is TradingState.FLATTENING:
                # Trades that a flatten closed are published with an equity snapshot of that time.
                self._reconciler.put_nowait(ReconcileNow())
        released = [
            PermitReleased(at_ms=now, cause_id=permit, permit_id=permit, reason=reason)
            for permit, reason in book.releasable_permits(now)
        ]
        if released:
            book = await self._executor.commit(*released)
        self._orphans_left = await self._protector.cancel_orphans(book)

    # --- due actions -------------------------------------------------------------

    async def _do_due_actions(self) -> None:
        """Carry out due actions, and begin none after ``LOOK_MAX_MS``.

        The next call begins with the first action that was not begun.
        """
        until_ms = self.clock.now_ms() + LOOK_MAX_MS
        attached = self._executor.port.capabilities.attached_stop
        actions = find_due_actions(self._executor.book, self.clock.now_ms(), attached_stop=attached)
        first = actions.index(self._postponed) if self._postponed in actions else 0
        self._postponed = None
        for action in (*actions[first:], *actions[:first]):
            if self.clock.now_ms() >= until_ms:
                self._postponed = action
                break
            await self._do(action)
        await self._settle()
        self._wake_at(self._next_tick_ms(self._executor.book))

    async def _do(self, action: DueAction) -> None:
        """Carry out one due action, unless it is no longer due."""
        book = self._executor.book
        match action:
            case CheckTrade():
                await self._check_trade(action.symbol)
            case QueryOrder():
                if (order := book.orders.unsettled.get(action.client_order_id)) is not None:
                    await self._resolve(order)
            case CancelEntry():
                order = book.orders.unsettled.get(action.client_order_id)
                if order is not None and not order.status.terminal:
                    await self._executor.cancel(
                        order.client_order_id, order.intent.symbol, action.reason
                    )
            case _:
                assert_never(action)

    async def _resolve(self, order: OrderState) -> None:
        """Query an order, and at once protect a position that its fills made unprotected.

        A second later may be too late if the venue answers slowly (seed 94007).
        """
        symbol = order.intent.symbol
        before = self._executor.book.trades.open.get(symbol)
        await self._executor.resolve(order)
        trade = self._executor.book.trades.open.get(symbol)
        if trade is None or not trade.unprotected_since_ms:
            return
        if before is None or not before.unprotected_since_ms:
            await self._check_trade(symbol)

    async def _check_trade(self, symbol: str) -> None:
        """Close the trade of ``symbol``, protect it or place its take profit, if needed."""
        executor, protector = self._executor, self._protector
        attached = executor.port.capabilities.attached_stop
        action = decide_trade(executor.book, symbol, self.clock.now_ms(), attached_stop=attached)
        match action:
            case CloseTrade():
                await protector.close(symbol, action.reason, again=action.again)
            case ProtectTrade():
                await protector.protect(symbol)
            case PlaceTarget():
                await protector.place_target(executor.book.trades.open[symbol])

    def _next_tick_ms(self, book: PositionBook) -> int:
        """Return the time of the next tick in ms.

        It is in ``ORDER_RETRY_MS`` if something is urgent or waits, else at the next cycle or time
        limit.
        """
        now, attached = self.clock.now_ms(), self._executor.port.capabilities.attached_stop
        urgent = is_urgent(book, now, attached_stop=attached)
        if urgent or self._postponed or self._orphans_left or self._entries.waiting:
            return now + ORDER_RETRY_MS
        return next_look_ms(book, now, self._cycle_period_ms)
