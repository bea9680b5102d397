"""The port of the embedded venue, for the demo, backtests, simulations and tests.

The engine's latency model decides when an order or a cancel acts and when its response arrives. A
read has no latency. Every read or request first advances the engine to the clock's time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from kamou.clock import Clock, floor_ms, next_ms
from kamou.core.book.updates import VenueEvent
from kamou.core.day import DAY_MS
from kamou.core.market.flow_stream import FlowUpdates
from kamou.core.model import (
    Intent,
    OrderReport,
)
from kamou.errors import DiskFullError, UnknownOutcomeError
from kamou.exchange.base import Capabilities, GuardedPort, PortChecks
from kamou.exchange.engine_reads import EngineReads
from kamou.exchange.flow_streams import FlowStreams
from kamou.exchange.reads import QueriedReads, VenueQuery
from kamou.runtime.runners import Runner, run_inline
from kamou.venue.engine import Engine
from kamou.venue.market.market import MadeInDays
from kamou.venue.state import OrderRequest

T = TypeVar("T")

EVENTS_MAX = 4_096  # unread updates; further ones are lost, and a reconciliation is needed


def make_order_request(intent: Intent) -> OrderRequest:
    """Return the order request of an intent."""
    return OrderRequest(
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=intent.side,
        type=intent.type,
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        trigger_price=intent.trigger_price,
        time_in_force=intent.time_in_force,
        reduce_only=intent.reduce_only,
        post_only=intent.post_only,
        leverage=intent.leverage,
    )


class SimulatedExchange(QueriedReads, GuardedPort):
    """The exchange port of one ``Engine``, the embedded venue.

    ``runner`` makes the days of a market that is ``MadeInDays``: on the event loop's thread in
    simulated time, on one other thread in real time. Only the loop's thread uses the engine and its
    market. The runner's thread works on a twin of the market, one call at a time. A cancellation
    does not interrupt the call, and the loop's thread does not use the twin during the call
    (``tests/exchange/test_generated_ahead.py``).

    A ``submit``, ``reduce`` or ``cancel`` whose task is cancelled before the request acts never
    acts.
    """

    def __init__(
        self,
        engine: Engine,
        checks: PortChecks,
        *,
        attached_stop: bool = True,
        runner: Runner = run_inline,
        venue_clock: Clock | None = None,
        answers: EngineReads | None = None,
    ) -> None:
        """Make the port of ``engine``.

        Args:
            engine: the embedded venue.
            checks: what the checks of an order need.
            attached_stop: True if the venue takes attached orders.
            runner: see the class.
            venue_clock: the venue's clock; None: Kamou's own.
            answers: the reads of the engine; None: ``EngineReads``.
        """
        super().__init__(checks)
        self.engine = engine
        self._lost = False  # True if updates may have been lost since the last step
        self._flow_streams = FlowStreams(engine.source, runner)
        self.capabilities = Capabilities(
            attached_stop=attached_stop,
            open_interest=True,
            funding_rates=True,
            long_short_ratio=True,
            premium_index=True,
            flow_windows=True,
            reduce_only=True,
            withdraw_check=True,
            mark_history=True,
            flow_stream=self._flow_streams.available,
        )
        self._runner = runner
        self._venue_clock = checks.clock if venue_clock is None else venue_clock
        self._answers = answers or EngineReads(engine, self._venue_clock, runner)
        self._reloads = engine.reloads
        self._send, self._receive = trio.open_memory_channel[VenueEvent](EVENTS_MAX)

    async def step(self, to_ms: int) -> bool:
        """Advance market time to ``to_ms``, and drop a twin that is idle.

        Return True if updates may have been lost since the last step: the event channel was full,
        or another process has changed the venue's file. Then a reconciliation is needed.
        """
        await self._step(to_ms)
        lost, self._lost = self._lost, False
        return lost

    async def _step(self, to_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        self._advance(to_ms)
        self._answers.drop_idle_twin(to_ms)

    async def catch_up(self, to_ms: int) -> None:
        """Advance market time to ``to_ms`` over missed days, one UTC day at a time.

        The day before the first one is made too, because the first bar needs the volume before
        midnight.
        """
        first_ms = floor_ms(self.engine.market_ms, DAY_MS)
        await self.prepare(first_ms - DAY_MS)
        for day_ms in range(first_ms, to_ms + 1, DAY_MS):
            await self.prepare(day_ms)
            await self._step(min(to_ms, next_ms(day_ms, DAY_MS)))

    async def prepare(self, at_ms: int) -> None:
        """Make the UTC day of ``at_ms`` on the runner, if the market is ``MadeInDays``."""
        await trio.lowlevel.checkpoint()
        source = self.engine.source
        if isinstance(source, MadeInDays):
            maker = source.twin()
            await self._runner(maker.make_day, at_ms)
            source.adopt_day(at_ms, maker)

    def events(self) -> trio.MemoryReceiveChannel[VenueEvent]:
        """Return the private stream of the venue's updates.

        At most ``EVENTS_MAX`` updates wait for a reader. Further updates are lost, and so are those
        of a period without a process. Reconciliation reads their orders and fills.
        """
        return self._receive.clone()

    def flow_updates(self, symbols: tuple[str, ...]) -> trio.MemoryReceiveChannel[FlowUpdates]:
        """Return a new stream of quotes and trades; ``stream_flow`` sends its batches."""
        return self._flow_streams.open(symbols, self._venue_clock.now_ms())

    async def stream_flow(self) -> None:
        """Send the open streams their batches, at multiples of ``FLOW_STEP_MS``."""
        await trio.lowlevel.checkpoint()
        if self.capabilities.flow_stream:
            await self._flow_streams.run(self._venue_clock)

    # --- reads -----------------------------------------------------------------

    async def read(self, query: VenueQuery[T]) -> T:
        """Advance the engine to the venue's present, and answer at once."""
        await trio.lowlevel.checkpoint()
        self._advance(self._venue_clock.now_ms())
        return await query.ask(self._answers)

    # --- orders ----------------------------------------------------------------

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        requests = tuple(make_order_request(child) for child in attached)
        return await self._send_request(
            lambda: self.engine.place(make_order_request(intent), requests), intent.client_order_id
        )

    async def _cancel(self, client_order_id: str, _symbol: str) -> None:
        await self._send_request(
            lambda: self.engine.cancel(client_order_id), f"the cancel of {client_order_id}"
        )

    async def _send_request(self, act: Callable[[], T], what: str) -> T:
        """Wait until a request acts, let it act, and wait until its response arrives.

        Raises:
            RejectedError: the venue rejects the request.
            UnknownOutcomeError: the disk is full, so the venue may not have stored the change.
        """
        latency = self.engine.models.latency
        clock = self._venue_clock
        acts_ms = latency.acts_ms(clock.now_ms())
        await clock.sleep_until(acts_ms)
        self._advance(max(acts_ms, clock.now_ms()))
        try:
            return act()
        except DiskFullError as full:
            raise UnknownOutcomeError(
                f"the embedded venue may not have stored {what}: {full}; query the order"
            ) from full
        finally:
            self._forward(self.engine.take_events())
            answered_ms = latency.answered_ms(acts_ms)
            if answered_ms > clock.now_ms():
                await clock.sleep_until(answered_ms)

    # --- time ------------------------------------------------------------------

    def _advance(self, to_ms: int) -> None:
        self._forward(self.engine.advance(to_ms))
        if self.engine.reloads != self._reloads:
            self._reloads = self.engine.reloads
            self._lost = True

    def _forward(self, events: list[VenueEvent]) -> None:
        for event in events:
            try:
                self._send.send_nowait(event)
            except trio.WouldBlock:
                self._lost = True


class ReplayedExchange(SimulatedExchange):
    """The exchange port of a backtest and of a fast-forward.

    A read is a cancellation point, but it takes no turn of the event loop. A reconciliation makes
    eight reads, and a turn for each would take about a tenth of a backtest's CPU time.
    """

    async def read(self, query: VenueQuery[T]) -> T:
        """Advance the engine to the venue's present, and answer at once."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._advance(self._venue_clock.now_ms())
        return await query.ask(self._answers)
