"""The feed's timetable: every cycle begins, also one without a new bar."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import trio

from kamou.actors.feed import Feed, FeedShard
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.market.bars import Bars, Series
from kamou.core.market.flow import FLOW_WINDOW_MS, FlowWindows
from kamou.errors import UnreachableError
from kamou.exchange.base import Capabilities
from kamou.messages.market import BarsClosed
from kamou.runtime.mailboxes import Mailbox
from kamou.settings.config import CycleSettings
from kamou.venue.market.generator import GeneratedMarket
from tests.actors import bars_port

CYCLE_MS, BAR_MS = 5 * MINUTE_MS, 15 * MINUTE_MS
CYCLES = 6


@attrs.define
class Clock:
    ms: int = 1_735_689_600_000

    def now_ms(self) -> int:
        return self.ms

    async def sleep_until(self, at_ms: int) -> None:
        raise AssertionError


@attrs.define
class Port:
    """Exchange port without bars, which notes the end of each requested period."""

    asked_until_ms: list[int] = attrs.Factory(list)

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        self.asked_until_ms.append(until_ms)
        raise UnreachableError("no bars")

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        raise AssertionError


async def test_the_feed_begins_every_cycle_and_reads_only_closed_bars() -> None:
    clock, cycles = Clock(), list[int]()
    port: Any = Port()
    start_ms = clock.ms
    feed = Feed(
        inbox=Mailbox("feed", 1, now_ms=clock.now_ms),
        clock=clock,
        port=port,
        shards=(),
        cycle=CycleSettings(period_s=CYCLE_MS // 1000),
        period_ms=BAR_MS,
        handler_deadline_s=1.0,
        on_cycle=cycles.append,
    )
    await feed.recover()
    for _ in range(CYCLES):
        due_ms = feed.next_due_ms()
        assert due_ms is not None
        clock.ms = due_ms
        await feed.tick()
        await trio.lowlevel.checkpoint()
    assert cycles == [start_ms + n * CYCLE_MS for n in range(CYCLES)]
    assert set(port.asked_until_ms) == {start_ms, start_ms + BAR_MS}


@attrs.define
class FundingPort:
    """Exchange port of a generated market, which may lack funding rates or order flow."""

    market: GeneratedMarket
    capabilities: Capabilities

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        return self.market.bars(period_ms, since_ms, until_ms)

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return self.market.open_interest(since_ms, until_ms)

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        assert self.capabilities.funding_rates, "the feed read funding that the venue lacks"
        return self.market.funding_rates(since_ms, until_ms)

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        assert self.capabilities.flow_windows, "the feed read order flow that the venue lacks"
        return self.market.flow_windows(since_ms, until_ms)


async def run_feed(
    hours: int, lacks: dict[str, bool], flow_source: Any = None, **wanted: bool
) -> tuple[GeneratedMarket, int, int, list[BarsClosed]]:
    """Return the market, the first and the last time, and the messages to a shard of two symbols.

    ``lacks`` are capabilities of the venue, ``wanted`` what strategies read. ``flow_source`` is in
    the place of the venue's order flow.
    """
    clock, sent = Clock(), list[BarsClosed]()
    start_ms = clock.ms
    market = GeneratedMarket(seed=3, origin_ms=start_ms, symbols=4, step_ms=CYCLE_MS)
    capabilities = attrs.evolve(bars_port.Port().capabilities, **lacks)
    port: Any = FundingPort(market, capabilities)

    class Inbox:
        def put_nowait(self, message: BarsClosed) -> None:
            sent.append(message)

    inbox: Any = Inbox()
    shard = FeedShard(index=0, symbols=market.symbols[1:3], columns=slice(1, 3), inbox=inbox)
    feed = Feed(
        inbox=Mailbox("feed", 1, now_ms=clock.now_ms),
        clock=clock,
        port=port,
        shards=(shard,),
        cycle=CycleSettings(period_s=BAR_MS // 1000),
        period_ms=BAR_MS,
        handler_deadline_s=1.0,
        on_cycle=lambda _cycle: None,
        flow_source=flow_source,
        **wanted,
    )
    await feed.recover()
    while clock.ms < start_ms + hours * HOUR_MS:
        due_ms = feed.next_due_ms()
        assert due_ms is not None
        clock.ms = due_ms
        await feed.tick()
        await trio.lowlevel.checkpoint()
    return market, start_ms, clock.ms, sent


@pytest.mark.parametrize(("wanted", "listed"), [(True, True), (True, False), (False, True)])
async def test_the_feed_sends_each_settlement_once_if_a_strategy_wants_it_and_the_venue_has_it(
    wanted: bool, listed: bool
) -> None:
    market, start_ms, end_ms, sent = await run_feed(
        25, {"funding_rates": listed}, funding_wanted=wanted
    )
    times = [at_ms for message in sent for at_ms in message.funding_ms.tolist()]
    if not (wanted and listed):
        assert times == []
        return
    assert times == [start_ms + hours * HOUR_MS for hours in (8, 16, 24)]
    expected = market.funding_rates(start_ms, end_ms).values[:, 1:3]
    rates = np.concatenate([m.funding_rates for m in sent if len(m.funding_ms)])
    np.testing.assert_array_equal(rates, expected)
    for message in sent:  # a rate comes with the first bar that closes at or after its settlement
        assert (message.funding_ms > message.cycle_at_ms - BAR_MS).all()
        assert (message.funding_ms <= message.cycle_at_ms).all()


@pytest.mark.parametrize(("wanted", "listed"), [(True, True), (True, False), (False, True)])
async def test_the_feed_sends_each_window_of_order_flow_once_if_it_is_wanted_and_listed(
    wanted: bool, listed: bool
) -> None:
    market, start_ms, end_ms, sent = await run_feed(3, {"flow_windows": listed}, flow_wanted=wanted)
    times = [at_ms for message in sent for at_ms in message.flow_ms.tolist()]
    if not (wanted and listed):
        assert times == []
        return
    expected = market.flow_windows(start_ms, end_ms)
    assert times == expected.end_ms.tolist()
    assert len(times) >= 3 * HOUR_MS // FLOW_WINDOW_MS - 1
    flow = np.concatenate([m.flow for m in sent if len(m.flow_ms)])
    np.testing.assert_array_equal(flow, expected.values[..., 1:3])
    for message in sent:
        assert (message.flow_ms <= message.cycle_at_ms).all()


class Gathered:
    """Gathered windows: those of another market, without the second one."""

    market = GeneratedMarket(seed=99, origin_ms=1_735_689_600_000, symbols=4)

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        listed = self.market.flow_windows(since_ms, until_ms)
        kept = listed.end_ms != Clock().ms + 2 * FLOW_WINDOW_MS
        return attrs.evolve(listed, end_ms=listed.end_ms[kept], values=listed.values[kept])


@pytest.mark.parametrize(("wanted", "listed"), [(True, True), (True, False), (False, True)])
async def test_the_feed_sends_gathered_windows_in_the_place_of_those_of_the_venue(
    wanted: bool, listed: bool
) -> None:
    _, start_ms, end_ms, sent = await run_feed(
        2, {"flow_windows": listed}, Gathered(), flow_wanted=wanted
    )
    flow = [message for message in sent if len(message.flow_ms)]
    if not wanted:
        assert flow == []
        return
    expected = await Gathered().flow_windows(start_ms, end_ms)
    np.testing.assert_array_equal(np.concatenate([m.flow_ms for m in flow]), expected.end_ms)
    np.testing.assert_array_equal(np.concatenate([m.flow for m in flow]), expected.values[..., 1:3])
