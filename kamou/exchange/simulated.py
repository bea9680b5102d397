"""The embedded exchange behind the port: Kamou's paper venue, and the fake of its tests.

Orders and cancels act ``latency_ms`` after they are sent and are answered then; reads answer at
once. Every call first brings the engine to the clock's now.
"""

from __future__ import annotations

import trio

from kamou.clock import Clock
from kamou.core.bars import Candles, Series
from kamou.core.model import (
    Account,
    Fill,
    Income,
    Instrument,
    Intent,
    Permissions,
    Quote,
    VenueOrder,
    VenuePosition,
)
from kamou.errors import DiskFullError, UnknownOutcomeError
from kamou.exchange.base import (
    Capabilities,
    GuardedPort,
    HaltLatch,
    JournalProof,
    PermitStore,
    VenueEvent,
)
from kamou.exchange.engine import Engine
from kamou.exchange.venue_state import OrderRequest

EVENTS_MAX = 4_096  # pushed events not yet read; beyond it the reader must reconcile


def as_request(intent: Intent) -> OrderRequest:
    """What of an intent goes over the wire."""
    return OrderRequest(
        client_id=intent.client_id,
        symbol=intent.symbol,
        side=intent.side,
        type=intent.type,
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        trigger_price=intent.trigger_price,
        time_in_force=intent.time_in_force,
        reduce_only=intent.reduce_only,
        leverage=intent.leverage,
    )


class SimulatedExchange(GuardedPort):
    """``ExchangePort`` over ``Engine``.

    ``needs_reconcile`` is set when the event channel overflowed or another process traded; the
    reader clears it when it reconciles. A cancelled ``submit``, ``reduce`` or ``cancel`` that
    has not acted yet never acts.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        permits: PermitStore,
        halted: HaltLatch,
        journal_proof: JournalProof,
        attached_stop: bool = True,
    ) -> None:
        super().__init__(clock=clock, permits=permits, halted=halted, journal_proof=journal_proof)
        self.engine = engine
        self.needs_reconcile = False
        self.capabilities = Capabilities(
            attached_stop=attached_stop,
            open_interest=True,
            long_short_ratio=True,
            reduce_only=True,
            withdraw_check=True,
        )
        self._reloads = engine.reloads
        self._send, self._receive = trio.open_memory_channel[VenueEvent](EVENTS_MAX)

    async def step(self, to_ms: int) -> None:
        """Advance market time; its actor calls this. Cheap when nothing rests and none is held."""
        await trio.lowlevel.checkpoint()
        self._advance(to_ms)

    def events(self) -> trio.MemoryReceiveChannel[VenueEvent]:
        """The private stream. Lossy across restarts: reconciliation recovers what it missed."""
        return self._receive.clone()

    # --- reads -----------------------------------------------------------------

    async def instruments(self) -> tuple[Instrument, ...]:
        await self._now()
        return self.engine.source.instruments

    async def candles(self, period_ms: int, since_ms: int, until_ms: int) -> Candles:
        now_ms = await self._now()
        return self.engine.source.candles(period_ms, since_ms, min(until_ms, now_ms))

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        now_ms = await self._now()
        return self.engine.source.open_interest(since_ms, min(until_ms, now_ms))

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        now_ms = await self._now()
        return self.engine.source.funding_rates(since_ms, min(until_ms, now_ms))

    async def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        now_ms = await self._now()
        return self.engine.source.long_short_ratios(since_ms, min(until_ms, now_ms))

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        await self._now()
        return self.engine.quotes(symbols)

    async def account(self) -> Account:
        await self._now()
        return self.engine.account()

    async def positions(self) -> tuple[VenuePosition, ...]:
        await self._now()
        return self.engine.positions()

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        await self._now()
        return self.engine.open_orders()

    async def order(self, client_id: str) -> VenueOrder | None:
        await self._now()
        return self.engine.order(client_id)

    async def fills(self, since_ms: int) -> tuple[Fill, ...]:
        await self._now()
        return self.engine.fills(since_ms)

    async def income(self, since_ms: int) -> tuple[Income, ...]:
        await self._now()
        return self.engine.income(since_ms)

    async def permissions(self) -> Permissions:
        """The embedded venue's key trades, and can do nothing else."""
        await self._now()
        return Permissions(trade=True, withdraw=False, transfer=False)

    async def server_time_ms(self) -> int:
        return await self._now()

    # --- orders ----------------------------------------------------------------

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> VenueOrder:
        await self._travel()
        requests = tuple(as_request(child) for child in attached)
        try:
            return self.engine.place(as_request(intent), requests)
        except DiskFullError as full:
            raise UnknownOutcomeError(f"the venue could not store the order: {full}") from full
        finally:
            self._forward(self.engine.take_events())

    async def _cancel(self, client_id: str, symbol: str) -> None:
        await self._travel()
        try:
            self.engine.cancel(client_id)
        except DiskFullError as full:
            raise UnknownOutcomeError(f"the venue could not store the cancel: {full}") from full
        finally:
            self._forward(self.engine.take_events())

    # --- time ------------------------------------------------------------------

    async def _now(self) -> int:
        """A checkpoint, then the engine at the clock's now."""
        await trio.lowlevel.checkpoint()
        now_ms = self._clock.now_ms()
        self._advance(now_ms)
        return now_ms

    async def _travel(self) -> None:
        """The time between sending and acting."""
        acts_ms = self.engine.models.latency.acts_ms(self._clock.now_ms())
        await self._clock.sleep_until(acts_ms)
        self._advance(max(acts_ms, self._clock.now_ms()))

    def _advance(self, to_ms: int) -> None:
        self._forward(self.engine.advance(to_ms))
        if self.engine.reloads != self._reloads:
            self._reloads = self.engine.reloads
            self.needs_reconcile = True

    def _forward(self, events: list[VenueEvent]) -> None:
        for event in events:
            try:
                self._send.send_nowait(event)
            except trio.WouldBlock:
                self.needs_reconcile = True
