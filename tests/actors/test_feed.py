"""The feed's timetable: every cycle begins, also one without a new bar."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from kamou.actors.feed import Feed
from kamou.core.day import MINUTE_MS
from kamou.core.market.bars import Bars, Series
from kamou.errors import UnreachableError
from kamou.runtime.mailboxes import Mailbox
from kamou.settings.config import CycleSettings

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
