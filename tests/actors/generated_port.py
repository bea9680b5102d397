"""A generated market behind a port, and what feed and loader make of its hourly sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
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
LOADED_MS = START_MS + 3 * DAY_MS + 5 * CYCLE_MS
MARKET = GeneratedMarket(seed=3, origin_ms=START_MS, symbols=4, step_ms=CYCLE_MS)
CHOICES = pytest.mark.parametrize(
    ("wanted", "listed"), [(True, True), (True, False), (False, True)]
)


@attrs.define
class GeneratedPort:
    """Exchange port of a generated market, which may lack the source ``capability``."""

    clock: Clock
    listed: bool
    capability: str

    @property
    def capabilities(self) -> Capabilities:
        return attrs.evolve(bars_port.Port().capabilities, **{self.capability: self.listed})

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        return MARKET.bars(period_ms, since_ms, until_ms)

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return MARKET.open_interest(since_ms, until_ms)


async def feed_for_five_hours(port: Any, **wanted: Any) -> list[BarsClosed]:
    """Return the messages for the middle two symbols; ``wanted`` are arguments of the feed."""
    clock, sent = port.clock, list[BarsClosed]()

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
        **wanted,
    )
    await feed.recover()
    while clock.ms < START_MS + 5 * HOUR_MS:
        due_ms = feed.next_due_ms()
        assert due_ms is not None
        clock.ms = due_ms
        await feed.tick()
        await trio.lowlevel.checkpoint()
    return sent


def load_panels(port: Any, keep: Callable[[Panel], None]) -> list[LoadedPanel]:
    """Return the panels of both halves of the symbols; ``keep`` sets what a panel keeps."""

    def make_panel(symbols: tuple[str, ...]) -> Panel:
        panel = Panel(symbols, BAR_MS, 4)
        keep(panel)
        return panel

    async def load() -> list[LoadedPanel]:
        parts = split_symbols(MARKET.symbols, 2)
        panels = PanelLoader(port=port, clock=port.clock, parts=parts, new_panel=make_panel)
        return [await panels.load(index) for index in range(2)]

    return trio.run(load)


def clock_at(at_ms: int = START_MS) -> Clock:
    clock = Clock()
    clock.ms = at_ms
    return clock
