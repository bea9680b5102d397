"""Feed and loader read long/short ratios if a strategy wants them and the venue has them."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import trio

from kamou.actors.feed import Feed, FeedShard
from kamou.actors.panel_loader import LoadedPanel, PanelLoader, split_symbols
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.market.bars import Bars, RatioSeries, Series
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


def list_ratios(since_ms: int, until_ms: int) -> RatioSeries:
    """Return the market's ratios, with twice as many top traders long."""
    ratios = MARKET.long_short_ratios(since_ms, until_ms)
    return RatioSeries(**attrs.asdict(ratios, recurse=False), top_traders=2 * ratios.values)


@attrs.define
class Port:
    """Exchange port of a generated market, which may have no long/short ratios."""

    clock: Clock
    listed: bool

    @property
    def capabilities(self) -> Capabilities:
        return attrs.evolve(bars_port.Port().capabilities, long_short_ratio=self.listed)

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        return MARKET.bars(period_ms, since_ms, until_ms)

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return MARKET.open_interest(since_ms, until_ms)

    async def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        assert self.listed, "ratios were read that the venue lacks"
        return list_ratios(since_ms, min(until_ms, self.clock.ms))


CHOICES = pytest.mark.parametrize(
    ("wanted", "listed"), [(True, True), (True, False), (False, True)]
)


@CHOICES
async def test_the_feed_sends_each_ratio_once_if_a_strategy_wants_it_and_the_venue_has_it(
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
        ratios_wanted=wanted,
    )
    await feed.recover()
    while clock.ms < START_MS + 5 * HOUR_MS:
        due_ms = feed.next_due_ms()
        assert due_ms is not None
        clock.ms = due_ms
        await feed.tick()
        await trio.lowlevel.checkpoint()
    times = [at_ms for message in sent for at_ms in message.ratios_ms.tolist()]
    if not (wanted and listed):
        assert times == []
        return
    assert times == [START_MS + hour * HOUR_MS for hour in range(1, 6)]
    expected = list_ratios(START_MS, clock.ms)
    seen = [message for message in sent if len(message.ratios_ms)]
    ratios = np.concatenate([message.ratios for message in seen])
    np.testing.assert_array_equal(ratios, expected.values[:, 1:3])
    top = np.concatenate([message.top_ratios for message in seen])
    np.testing.assert_array_equal(top, expected.top_traders[:, 1:3])
    for message in sent:  # a ratio comes with the first bar that closes when it is available
        assert (message.ratios_ms > message.cycle_at_ms - BAR_MS).all()
        assert (message.ratios_ms <= message.cycle_at_ms).all()


@CHOICES
def test_a_loaded_panel_has_the_ratios_of_its_history_if_both_sides_have_them(
    wanted: bool, listed: bool
) -> None:
    clock = Clock()
    clock.ms = START_MS + 3 * DAY_MS + 5 * CYCLE_MS

    def make_panel(symbols: tuple[str, ...]) -> Panel:
        panel = Panel(symbols, BAR_MS, 4)
        panel.keep_ratios(30 if wanted else 0)
        return panel

    async def load() -> list[LoadedPanel]:
        port: Any = Port(clock, listed)
        parts = split_symbols(MARKET.symbols, 2)
        panels = PanelLoader(port=port, clock=clock, parts=parts, new_panel=make_panel)
        return [await panels.load(index) for index in range(2)]

    for part, loaded in enumerate(trio.run(load)):
        times, logs = loaded.panel.ratios(clock.ms)
        if not (wanted and listed):
            assert np.isnan(logs).all()
            continue
        newest_ms = START_MS + 3 * DAY_MS
        series = list_ratios(newest_ms - 30 * HOUR_MS, clock.ms)
        columns = slice(2 * part, 2 * part + 2)
        for column in times.T:
            np.testing.assert_array_equal(column, series.available_ms)
        np.testing.assert_allclose(np.exp(logs[:, 0]), series.values[:, columns])
        np.testing.assert_allclose(np.exp(logs[:, 1]), series.top_traders[:, columns])
        seen = loaded.ratios_at_ms
        loaded.take_ratios(
            series.available_ms, series.values[:, columns], series.values[:, columns]
        )
        assert loaded.ratios_at_ms == seen == newest_ms
        np.testing.assert_array_equal(loaded.panel.ratios(clock.ms)[1], logs)
