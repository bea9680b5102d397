"""The exchange port with faults between its checks and the engine.

``submit`` and ``reduce`` are the production code. After their checks a request may be lost or late.
``faulty_answers.py`` makes wrong responses. The monitor checks every order before it is sent.
"""

from __future__ import annotations

import heapq
from typing import TypeVar

import attrs
import trio

from kamou.clock import Clock
from kamou.core.book.updates import VenueEvent
from kamou.core.model import Intent, OrderReport, OrderRole, Quote
from kamou.errors import (
    RateLimitedError,
    RejectedError,
    UnknownOutcomeError,
    UnreachableError,
)
from kamou.exchange.base import PortChecks
from kamou.exchange.embedded import SimulatedExchange, make_order_request
from kamou.exchange.reads import VenueQuery
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.faulty_answers import FaultyAnswers
from kamou.simulator.monitor import Monitor
from kamou.simulator.simulated_flow import FaultyFlowStreams
from kamou.simulator.simulated_process import CrashSchedule
from kamou.simulator.venue import OnTheWire, Venue
from kamou.venue.engine import Engine

T = TypeVar("T")

TIMEOUT_S = 3.0  # of the client, for orders
LATE_MAX_S = 8.0  # longest delay of an accepted order, within the venue's receive window
PORT_TIMEOUT_S = 2.0  # of the client, for reads

_F = FaultName


@attrs.frozen(kw_only=True)
class Surroundings:
    """Venue, true time, faults, monitor and kills of one simulated process."""

    venue: Venue
    clock: Clock  # true time; the process has a skewed clock
    chaos: Chaos
    monitor: Monitor
    crashes: CrashSchedule


class FaultyExchange(SimulatedExchange):
    """A ``SimulatedExchange`` with the faults of ``Chaos``.

    The venue outlives this port and its process.
    """

    def __init__(
        self,
        engine: Engine,
        checks: PortChecks,
        *,
        attached_stop: bool,
        around: Surroundings,
    ) -> None:
        super().__init__(
            engine,
            checks,
            attached_stop=attached_stop,
            venue_clock=around.clock,
            answers=FaultyAnswers(engine, around.chaos, around.clock),
        )
        self._flow_streams = FaultyFlowStreams(engine.source, around.chaos, around.clock)
        self._venue = around.venue
        self._chaos = around.chaos
        self._monitor = around.monitor
        self._crashes = around.crashes
        self._true = around.clock
        self._late: list[tuple[int, int, VenueEvent]] = []
        self._pushed = 0
        self._cut = False
        around.venue.pushed.clear()  # events before this process are lost

    # --- time and the stream -------------------------------------------------------

    async def _step(self, to_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        self._sync()

    def _sync(self) -> int:
        """Advance and check the venue, deliver its events and return the true time.

        Raises:
            Killed: the process was killed.
        """
        self._crashes.check()
        now_ms = self._true.now_ms()
        self._venue.advance(now_ms)
        self._monitor.check_venue(now_ms)
        if self._venue.pushed:
            pushed, self._venue.pushed = self._venue.pushed, []
            for event in pushed:
                self._push(event, now_ms)
        while self._late and self._late[0][0] <= now_ms:
            self._forward([heapq.heappop(self._late)[2]])
        cut = self._chaos.inside(_F.DISCONNECT, now_ms) is not None
        if self._cut and not cut:
            self._lost = True  # connected again; events may have been missed
        self._cut = cut
        return now_ms

    def _push(self, event: VenueEvent, now_ms: int) -> None:
        chaos = self._chaos
        if chaos.inside(_F.DISCONNECT, now_ms) or chaos.inside(_F.HALF_OPEN, now_ms):
            return
        if chaos.chance(_F.LOST_EVENTS, now_ms):
            return
        copies = 2 if chaos.chance(_F.DUPLICATE_EVENTS, now_ms) else 1
        for _ in range(copies):
            due_ms = now_ms
            if chaos.chance(_F.OUT_OF_ORDER_EVENTS, now_ms):
                due_ms += int(1000 * 10 ** chaos.draw(_F.OUT_OF_ORDER_EVENTS).uniform(-2, 1))
            self._pushed += 1
            heapq.heappush(self._late, (due_ms, self._pushed, event))

    async def _request(self) -> None:
        """Wait for the travel time of one message."""
        chaos = self._chaos
        if chaos.chance(_F.LATENCY_REORDER, self._true.now_ms()):
            await trio.sleep(10 ** chaos.draw(_F.LATENCY_REORDER).uniform(-2.5, 0.3))
        else:
            await trio.lowlevel.checkpoint()

    # --- reads -----------------------------------------------------------------------

    async def read(self, query: VenueQuery[T]) -> T:
        """Return the venue's answer after the travel times of query and response.

        Raises:
            RateLimitedError, UnreachableError: a fault strikes; nothing was read.
        """
        chaos, now_ms = self._chaos, self._true.now_ms()
        if query.name == "account" and chaos.inside(_F.BLIND_ACCOUNT, now_ms):
            await self._request()
            raise UnreachableError("account: the simulated venue did not answer")
        self._crashes.check()
        if chaos.inside(_F.RATE_LIMIT_AND_BAN, now_ms):
            await trio.lowlevel.checkpoint()
            raise RateLimitedError(
                f"{query.name}: the simulated venue answers 429 and bans the client"
            )
        if chaos.inside(_F.DISCONNECT, now_ms) or chaos.inside(_F.MAINTENANCE, now_ms):
            await trio.sleep(PORT_TIMEOUT_S)
            raise UnreachableError(
                f"{query.name}: the simulated venue did not answer in {PORT_TIMEOUT_S:g} s"
            )
        await self._request()
        self._crashes.kill_if_due("call")
        self._sync()
        found = await query.ask(self._answers)
        await self._request()
        self._crashes.check()
        return found

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        quotes = await super().quotes(symbols)
        self._monitor.inputs.record_quotes(self._true.now_ms(), quotes)
        return quotes

    # --- orders ------------------------------------------------------------------------

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        self._crashes.check()
        now_ms = self._true.now_ms()
        self._show_skew(now_ms)
        self._monitor.check_order(intent, attached, now_ms)
        await self._may_send(intent.client_order_id)
        if intent.role is OrderRole.STOP_LOSS and self._chaos.inside(_F.STOPS_REJECTED, now_ms):
            await self._request()
            raise RejectedError("STOPS_REJECTED", "the venue takes no stops now")
        if self._chaos.chance(_F.TIMEOUT_BEFORE_ACCEPT, now_ms):
            await self._time_out(intent.client_order_id)
        acts_ms = self.engine.models.latency.acts_ms(now_ms)
        children = tuple(make_order_request(child) for child in attached)
        late = self._chaos.chance(_F.TIMEOUT_AFTER_ACCEPT, now_ms)
        if late:
            draw = self._chaos.draw(_F.TIMEOUT_AFTER_ACCEPT)
            acts_ms += int(1000 * LATE_MAX_S * draw.random() ** 3)
        elif self._chaos.chance(_F.LATENCY_REORDER, now_ms):
            draw = self._chaos.draw(_F.LATENCY_REORDER)
            acts_ms += int(1000 * 10 ** draw.uniform(-2, 0.3))
        self._crashes.kill_if_due("before a call")
        sent = self._venue.place(make_order_request(intent), children, acts_ms)
        if late:
            await self._time_out(intent.client_order_id)
        return await self._answer(sent, intent.client_order_id)

    def _show_skew(self, now_ms: int) -> None:
        """Report the clock's error to the invariants if responses are immediate.

        With late responses the system cannot measure the error, so no rule applies.
        """
        window = self._chaos.inside(_F.CLOCK_SKEW, now_ms)
        if window is None or _F.LATENCY_REORDER in self._chaos.on:
            self._monitor.inputs.skew = (0, 0)
        else:
            self._monitor.inputs.skew = (self._clock.now_ms() - now_ms, window[0])

    async def _cancel(self, client_order_id: str, symbol: str) -> None:
        self._crashes.check()
        now_ms = self._true.now_ms()
        await self._may_send(client_order_id)
        if self._chaos.chance(_F.TIMEOUT_BEFORE_ACCEPT, now_ms):
            await self._time_out(client_order_id)
        acts_ms = self.engine.models.latency.acts_ms(now_ms)
        self._crashes.kill_if_due("before a call")
        await self._answer(self._venue.cancel(client_order_id, acts_ms), client_order_id)

    async def _may_send(self, client_order_id: str) -> None:
        chaos, now_ms = self._chaos, self._true.now_ms()
        if chaos.inside(_F.RATE_LIMIT_AND_BAN, now_ms):
            await trio.lowlevel.checkpoint()
            raise RateLimitedError(
                f"{client_order_id}: the simulated venue answers 429 and bans the client"
            )
        if chaos.inside(_F.DISCONNECT, now_ms) or chaos.inside(_F.MAINTENANCE, now_ms):
            await self._time_out(client_order_id)

    async def _time_out(self, client_order_id: str) -> None:
        now_ms = self._true.now_ms()
        self._monitor.stalls.append((now_ms, now_ms + int(1000 * TIMEOUT_S)))
        await trio.sleep(TIMEOUT_S)
        self._sync()
        raise UnknownOutcomeError(
            f"{client_order_id}: the simulated venue did not answer in {TIMEOUT_S:g} s"
        )

    async def _answer(self, sent: OnTheWire, client_order_id: str) -> OrderReport:
        """Wait until the request acts and its response arrives, and return it.

        Raises:
            RejectedError: the response is a rejection.
        """
        await self._true.sleep_until(sent.arrives_ms)
        self._sync()
        assert sent.arrived
        self._crashes.kill_if_due("after a call")
        await self._request()
        self._sync()
        if isinstance(sent.answer, RejectedError):
            raise sent.answer
        return sent.answer  # type: ignore[return-value]  # nothing reads a cancel's response
