"""The exchange port with faults between its checks and the engine.

``submit`` and ``reduce`` are the production code. Behind them a request may be lost, be late or
get a wrong response. The monitor sees every order before it is sent.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from typing import Any, TypeVar

import attrs
import numpy as np
import trio

from kamou.clock import Clock
from kamou.core.book.updates import VenueEvent
from kamou.core.market.bars import Bars, Series
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import (
    Account,
    FillReport,
    Income,
    Instrument,
    Intent,
    OrderReport,
    OrderRole,
    Permissions,
    PositionReport,
    Quote,
)
from kamou.errors import (
    RateLimitedError,
    RejectedError,
    UnknownOutcomeError,
    UnreachableError,
)
from kamou.exchange.embedded import SimulatedExchange, make_order_request
from kamou.simulator.faults import Chaos
from kamou.simulator.invariants import Monitor
from kamou.simulator.simulated_process import CrashSchedule
from kamou.simulator.venue import OnTheWire, Venue

T = TypeVar("T")

TIMEOUT_S = 3.0  # of the client, for orders
LATE_MAX_S = 8.0  # longest delay of an accepted order, within the venue's receive window
PORT_TIMEOUT_S = 2.0  # of the client, for reads
NAN = Decimal("nan")


class FaultyExchange(SimulatedExchange):
    """A ``SimulatedExchange`` with the faults of ``Chaos``.

    The venue outlives this port and its process.
    """

    def __init__(
        self,
        *args: Any,
        venue: Venue,
        chaos: Chaos,
        monitor: Monitor,
        crashes: CrashSchedule,
        true_clock: Clock,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self._venue = venue
        self._chaos = chaos
        self._monitor = monitor
        self._crashes = crashes
        self._true = true_clock
        self._late: list[tuple[int, int, VenueEvent]] = []
        self._pushed = 0
        self._cut = False
        venue.pushed.clear()  # events before this process are lost

    # --- time and the stream -------------------------------------------------------

    async def _step(self, to_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        self._sync()

    def _sync(self) -> int:
        """Advance the venue to the true time, deliver its events and return the time."""
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
        cut = self._chaos.inside("disconnect", now_ms) is not None
        if self._cut and not cut:
            self._lost = True  # connected again; events may have been missed
        self._cut = cut
        return now_ms

    def _push(self, event: VenueEvent, now_ms: int) -> None:
        chaos = self._chaos
        if chaos.inside("disconnect", now_ms) or chaos.inside("half_open", now_ms):
            return
        if chaos.chance("lost_events", now_ms):
            return
        copies = 2 if chaos.chance("duplicate_events", now_ms) else 1
        for _ in range(copies):
            due_ms = now_ms
            if chaos.chance("out_of_order_events", now_ms):
                due_ms += int(1000 * 10 ** chaos.draw("out_of_order_events").uniform(-2, 1))
            self._pushed += 1
            heapq.heappush(self._late, (due_ms, self._pushed, event))

    async def _request(self) -> None:
        """Wait for the travel time of one message."""
        chaos = self._chaos
        if chaos.chance("latency_reorder", self._true.now_ms()):
            await trio.sleep(10 ** chaos.draw("latency_reorder").uniform(-2.5, 0.3))
        else:
            await trio.lowlevel.checkpoint()

    # --- reads -----------------------------------------------------------------------

    async def _read(self, name: str, read: Callable[[], T]) -> T:
        self._crashes.check()
        chaos, now_ms = self._chaos, self._true.now_ms()
        if chaos.inside("rate_limit_and_ban", now_ms):
            await trio.lowlevel.checkpoint()
            raise RateLimitedError(f"{name}: the simulated venue answers 429 and bans the client")
        if chaos.inside("disconnect", now_ms) or chaos.inside("maintenance", now_ms):
            await trio.sleep(PORT_TIMEOUT_S)
            raise UnreachableError(
                f"{name}: the simulated venue did not answer in {PORT_TIMEOUT_S:g} s"
            )
        await self._request()
        self._crashes.kill_if_due("call")
        self._sync()
        found = read()
        await self._request()
        self._crashes.check()
        return found

    async def instruments(self) -> tuple[Instrument, ...]:
        return await self._read("instruments", lambda: self.engine.source.instruments)

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        return await self._read(
            "bars", lambda: self._bars(period_ms, since_ms, min(until_ms, self._data_ms()))
        )

    def _data_ms(self) -> int:
        """Return the time up to which the venue serves market data."""
        now_ms = self._true.now_ms()
        frozen = self._chaos.inside("frozen_feed", now_ms)
        if frozen:
            return frozen[0]
        stale = self._chaos.inside("stale_feed", now_ms)
        return now_ms - min(90_000, now_ms - stale[0]) if stale else now_ms

    def _bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        bars = self.engine.source.bars(period_ms, since_ms, until_ms)
        if not len(bars.open_ms) or not self._chaos.inside("bad_data", self._true.now_ms()):
            return bars
        draw = self._chaos.draw("bad_data")
        row, column = draw.randrange(len(bars.open_ms)), draw.randrange(len(bars.symbols))
        kind = draw.randrange(3)
        if kind == 0:  # a bar is missing
            keep = np.arange(len(bars.open_ms)) != row
            return attrs.evolve(
                bars,
                open_ms=bars.open_ms[keep],
                **{name: getattr(bars, name)[keep] for name in _COLUMNS},
            )
        bad = {name: getattr(bars, name).copy() for name in _COLUMNS}
        for name in _COLUMNS if kind == 1 else ("close",):
            bad[name][row, column] = np.nan
        return attrs.evolve(bars, **bad)

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return await self._read(
            "open_interest",
            lambda: self.engine.source.open_interest(since_ms, min(until_ms, self._data_ms())),
        )

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        return await self._read(
            "funding_rates",
            lambda: self.engine.source.funding_rates(since_ms, min(until_ms, self._data_ms())),
        )

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        quotes = await self._read("quotes", lambda: self._quoted(symbols))
        self._monitor.due_actions.record_quotes(self._true.now_ms(), quotes)
        return quotes

    def _quoted(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        quotes = self.engine.quotes(symbols)
        now_ms, data_ms = self._true.now_ms(), self._data_ms()
        if data_ms < now_ms:
            prices = self.engine.source.prices(data_ms)
            for symbol, quote in quotes.items():
                price = prices[self.engine.source.symbols.index(symbol)]
                tick = self.engine.instruments[symbol].tick
                then = round_to_tick(Decimal(repr(float(price))), tick, ROUND_FLOOR)
                quotes[symbol] = attrs.evolve(
                    quote, bid=then, ask=then + tick, mark=then, at_ms=data_ms
                )
        if quotes and self._chaos.inside("bad_data", now_ms):
            draw = self._chaos.draw("bad_data")
            symbol = sorted(quotes)[draw.randrange(len(quotes))]
            quote = quotes[symbol]
            match draw.randrange(4):
                case 0:
                    quotes[symbol] = attrs.evolve(quote, bid=quote.ask, ask=quote.bid)
                case 1:
                    quotes[symbol] = attrs.evolve(quote, mark=NAN)
                case 2:
                    quotes[symbol] = attrs.evolve(quote, ask=NAN)
                case 3:
                    del quotes[symbol]
        return quotes

    async def marks_at(self, symbols: tuple[str, ...], at_ms: int) -> dict[str, Decimal]:
        return await self._read("marks_at", lambda: self._marks_at(symbols, at_ms))

    def _marks_at(self, symbols: tuple[str, ...], at_ms: int) -> dict[str, Decimal]:
        if at_ms > self._data_ms():
            return {}
        marks = self.engine.marks_of(self.engine.source.prices(at_ms), symbols)
        if marks and self._chaos.inside("bad_data", self._true.now_ms()):
            draw = self._chaos.draw("bad_data")
            symbol = sorted(marks)[draw.randrange(len(marks))]
            if draw.randrange(2):
                marks[symbol] = NAN
            else:
                del marks[symbol]
        return marks

    async def account(self) -> Account:
        if self._chaos.inside("blind_account", self._true.now_ms()):
            await self._request()
            raise UnreachableError("account: the simulated venue did not answer")
        return await self._read("account", self.engine.account)

    async def positions(self) -> tuple[PositionReport, ...]:
        return await self._read(
            "positions", lambda: self._lie("positions", self.engine.positions())
        )

    async def open_orders(self) -> tuple[OrderReport, ...]:
        return await self._read(
            "open_orders", lambda: self._lie("open_orders", self.engine.open_orders())
        )

    async def order(self, client_order_id: str) -> OrderReport | None:
        return await self._read("order", lambda: self.engine.order(client_order_id))

    async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        return await self._read("fills", lambda: self._lie("fills", self.engine.fills(since_ms)))

    async def income(self, since_ms: int) -> tuple[Income, ...]:
        return await self._read("income", lambda: self._lie("income", self.engine.income(since_ms)))

    async def permissions(self) -> Permissions:
        return await self._read("permissions", lambda: _TRADER)

    async def server_time_ms(self) -> int:
        return await self._read("server_time", self._true.now_ms)

    def _lie(self, name: str, listed: tuple[T, ...]) -> tuple[T, ...]:
        """Return the list, without one of its rows if ``lying_venue`` strikes."""
        if not listed or not self._chaos.chance("lying_venue", self._true.now_ms()):
            return listed
        out = self._chaos.draw("lying_venue").randrange(len(listed))
        return listed[:out] + listed[out + 1 :]

    # --- orders ------------------------------------------------------------------------

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        self._crashes.check()
        now_ms = self._true.now_ms()
        self._show_skew(now_ms)
        self._monitor.check_order(intent, attached, now_ms)
        await self._may_send(intent.client_order_id)
        if intent.role is OrderRole.STOP_LOSS and self._chaos.inside("stops_rejected", now_ms):
            await self._request()
            raise RejectedError("STOPS_REJECTED", "the venue takes no stops now")
        if self._chaos.chance("timeout_before_accept", now_ms):
            await self._time_out(intent.client_order_id)
        acts_ms = self.engine.models.latency.acts_ms(now_ms)
        children = tuple(make_order_request(child) for child in attached)
        late = self._chaos.chance("timeout_after_accept", now_ms)
        if late:
            draw = self._chaos.draw("timeout_after_accept")
            acts_ms += int(1000 * LATE_MAX_S * draw.random() ** 3)
        elif self._chaos.chance("latency_reorder", now_ms):
            draw = self._chaos.draw("latency_reorder")
            acts_ms += int(1000 * 10 ** draw.uniform(-2, 0.3))
        self._crashes.kill_if_due("before a call")
        sent = self._venue.place(make_order_request(intent), children, acts_ms)
        if late:
            await self._time_out(intent.client_order_id)
        return await self._answer(sent, intent.client_order_id)

    def _show_skew(self, now_ms: int) -> None:
        """Report the clock's error to the due actions if responses are immediate.

        With late responses the system cannot measure the error, so no rule applies.
        """
        window = self._chaos.inside("clock_skew", now_ms)
        if window is None or "latency_reorder" in self._chaos.on:
            self._monitor.due_actions.skew = (0, 0)
        else:
            self._monitor.due_actions.skew = (self._clock.now_ms() - now_ms, window[0])

    async def _cancel(self, client_order_id: str, symbol: str) -> None:
        self._crashes.check()
        now_ms = self._true.now_ms()
        await self._may_send(client_order_id)
        if self._chaos.chance("timeout_before_accept", now_ms):
            await self._time_out(client_order_id)
        acts_ms = self.engine.models.latency.acts_ms(now_ms)
        self._crashes.kill_if_due("before a call")
        await self._answer(self._venue.cancel(client_order_id, acts_ms), client_order_id)

    async def _may_send(self, client_order_id: str) -> None:
        chaos, now_ms = self._chaos, self._true.now_ms()
        if chaos.inside("rate_limit_and_ban", now_ms):
            await trio.lowlevel.checkpoint()
            raise RateLimitedError(
                f"{client_order_id}: the simulated venue answers 429 and bans the client"
            )
        if chaos.inside("disconnect", now_ms) or chaos.inside("maintenance", now_ms):
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


_COLUMNS = ("open", "high", "low", "close", "volume")
_TRADER = Permissions(trade=True, withdraw=False, transfer=False)
