"""Feed and loader read the premium index if a strategy wants it and the venue has it."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import trio

from kamou.actors.feed import Feed, FeedShard
from kamou.actors.panel_loader import LoadedPanel, PanelLoader, split_symbols
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import Bars, Series
from kamou.core.market.panel import Panel
from kamou.exchange.base import Capabilities
from kamou.messages.market import BarsClosed
from kamou.runtime.mailboxes import Mailbox
from kamou.settings.config import CycleSettings
from kamou.venue.market.generator import GeneratedMarket
from tests.actors import bars_port
from tests.actors.test_feed import BAR_MS, CYCLE_MS, Clock

START_MS = Clock().ms
MARKET = GeneratedMarket(seed=3, origin_ms=START_MS, symbols=4, step_ms=CYCLE_MS)
CHOICES = pytest.mark.parametrize(
    ("wanted", "listed"), [(True, True), (True, False), (False, True)]
)


@attrs.define
class Port:
    """Exchange port of a generated market, which may have no premium index."""

    clock: Clock
    listed: bool

    @property
    def capabilities(self) -> Capabilities:
        return attrs.evolve(bars_port.Port().capabilities, premium_index=self.listed)

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        return MARKET.bars(period_ms, since_ms, until_ms)

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return MARKET.open_interest(since_ms, until_ms)

    async def premium_index(self, since_ms: int, until_ms: int) -> Series:
        assert self.listed, "a premium index was read that the venue lacks"
        return MARKET.premium_index(since_ms, min(until_ms, self.clock.ms))


@CHOICES
async def test_the_feed_sends_each_premium_index_once_with_the_bar_that_closes_then(
    wanted: bool, listed: bool
) -> None:
    clock, sent = Clock(), list[BarsClosed]()
    port: Any = Port(clock, listed)

    class Inbox:
        def put_nowait(self, message: BarsClosed) -> None:
            sent.append(message)

    inbox: Any = Inbox()
    feed = Feed(
        inbox=Mailbox("feed", 1, now_ms=clock.now_ms),
        clock=clock,
        port=port,
        shards=(FeedShard(index=0, symbols=MARKET.symbols[1:3], columns=slice(1, 3), inbox=inbox),),
        cycle=CycleSettings(period_s=BAR_MS // 1000),
        period_ms=BAR_MS,
        handler_deadline_s=1.0,
        on_cycle=lambda _cycle: None,
        premium_wanted=wanted,
    )
    await feed.recover()
    while clock.ms < START_MS + 5 * HOUR_MS:
        due_ms = feed.next_due_ms()
        assert due_ms is not None
        clock.ms = due_ms
        await feed.tick()
        await trio.lowlevel.checkpoint()
    times = [at_ms for message in sent for at_ms in message.premium_ms.tolist()]
    if not (wanted and listed):
        assert times == []
        return
    assert times == [START_MS + hour * HOUR_MS for hour in range(1, 6)]
    seen = [message for message in sent if len(message.premium_ms)]
    premium = np.concatenate([message.premium for message in seen])
    expected = MARKET.premium_index(START_MS, clock.ms).values[:, 1:3]
    np.testing.assert_array_equal(premium, expected)
    for message in seen:
        assert (message.premium_ms > message.cycle_at_ms - BAR_MS).all()
        assert (message.premium_ms <= message.cycle_at_ms).all()


@CHOICES
def test_a_loaded_panel_has_the_premium_index_of_its_history_if_both_sides_have_it(
    wanted: bool, listed: bool
) -> None:
    clock = Clock()
    clock.ms = START_MS + 3 * DAY_MS + 5 * CYCLE_MS

    def make_panel(symbols: tuple[str, ...]) -> Panel:
        panel = Panel(symbols, BAR_MS, 4)
        panel.keep_premium(30 if wanted else 0)
        return panel

    async def load() -> list[LoadedPanel]:
        port: Any = Port(clock, listed)
        parts = split_symbols(MARKET.symbols, 2)
        panels = PanelLoader(port=port, clock=clock, parts=parts, new_panel=make_panel)
        return [await panels.load(index) for index in range(2)]

    for part, loaded in enumerate(trio.run(load)):
        times, values = loaded.panel.premium(clock.ms)
        if not (wanted and listed):
            assert np.isnan(values).all()
            continue
        newest_ms = START_MS + 3 * DAY_MS
        series = MARKET.premium_index(newest_ms - 30 * HOUR_MS, clock.ms)
        chosen = series.values[:, 2 * part : 2 * part + 2]
        for column in times.T:
            np.testing.assert_array_equal(column, series.available_ms)
        np.testing.assert_array_equal(values[:, 0], chosen)
        assert loaded.premium_at_ms == newest_ms
        loaded.take_premium(series.available_ms, 2 * chosen)  # nothing is newer
        np.testing.assert_array_equal(loaded.panel.premium(clock.ms)[1], values)
