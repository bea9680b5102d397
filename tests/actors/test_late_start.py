"""A governor that starts hours after midnight: losses since midnight count."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from kamou.actors.risk_governor import KeptCommand, RiskGovernor
from kamou.clock import SimulatedClock
from kamou.core.book import events as e
from kamou.core.day import HOUR_MS
from kamou.core.model import TradingState
from kamou.core.risk.limits import TradingParameters
from kamou.core.risk.midnight_equity import LAST_PRICE_BARS, NOT_REBUILT, MidnightMarks
from kamou.messages.orders import VenueObserved
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runtime.mailboxes import Mailbox
from tests.actors.journal_bench import Bench
from tests.core.trading_cases import DAY, NOON, Story, account, income, mark

MIDNIGHT = NOON - NOON % DAY + DAY
START_MS = MIDNIGHT + 21_900_000  # 06:05
LOST = "9580"  # of 10,000, in a payment at 03:00: beyond the daily loss limit


@attrs.define
class Governed:
    governor: RiskGovernor
    clock: SimulatedClock
    bench: Bench

    async def look(self, after_ms: int, equity: str = LOST, **changes: Any) -> None:
        """Let the governor handle a read of the venue ``after_ms`` after the start."""
        at_ms = START_MS + after_ms
        await self.clock.sleep_until(at_ms)
        seen = VenueObserved(
            account=account(equity, at_ms),
            positions=(),
            reconciled=True,
            midnights=(MidnightMarks(at_ms=MIDNIGHT, source=LAST_PRICE_BARS),),
        )
        await self.governor.handle(attrs.evolve(seen, **changes))

    def opened(self) -> list[e.DayOpened]:
        return [x for x in self.bench.stored() if isinstance(x, e.DayOpened)][1:]


@asynccontextmanager
async def governed(make: Callable[..., Bench]) -> AsyncIterator[Governed]:
    """Yield a governor whose book has a payment of 03:00 and yesterday's opening."""
    bench, clock = make(), SimulatedClock(start_ms=START_MS)

    def box(name: str) -> Mailbox[Any]:
        return Mailbox(name, 1_000, now_ms=clock.now_ms)

    governor = RiskGovernor(
        inbox=box("governor"),
        clock=clock,
        journal=bench.journal,
        orders=box("orders"),
        reconciler=box("reconciler"),
        gate=AssumedLiveGate(),
        parameters=TradingParameters(),
        excluded=frozenset(),
        kept=KeptCommand(),
        handler_deadline_s=10.0,
    )
    story = Story()
    story.ready()
    paid = income("funding", "-420", MIDNIGHT + 10_800_000)
    story.say(e.IncomeRecorded(at_ms=START_MS, income=paid), mark(LOST, START_MS))
    async with bench.running():
        await bench.journal.commit(*story.events)
        await governor.recover()
        yield Governed(governor, clock, bench)


async def test_a_loss_between_midnight_and_a_late_start_halts_today(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with governed(make) as late:
        for after_ms in (0, 6_000, 12_000, 18_000):
            await late.look(after_ms)
        (opened,) = late.opened()
        assert (opened.opening, opened.equity) == (Decimal(10_000), Decimal(9_580))
        (state,) = [x for x in late.bench.stored() if isinstance(x, e.StateChanged)]
        assert (state.after, state.reason) == (TradingState.REDUCE_ONLY, "DAY_LOSS_LIMIT")


async def test_reads_that_disagree_with_the_book_open_the_day_only_after_a_minute(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with governed(make) as late:
        for after_ms in range(0, 60_000, 6_000):
            await late.look(after_ms, reconciled=False)
        assert late.opened() == []
        for after_ms in (60_000, 66_000):
            await late.look(after_ms, reconciled=False)
        assert [x.opening for x in late.opened()] == [10_000]


async def test_a_day_opens_without_midnight_marks_after_a_minute(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    unknown = (MidnightMarks(at_ms=MIDNIGHT, reachable=True),)
    async with governed(make) as late:
        for after_ms in range(0, 60_000, 6_000):
            await late.look(after_ms, midnights=unknown)
        assert late.opened() == []
        await late.look(60_000, midnights=unknown)
        (opened,) = late.opened()
        # The higher of yesterday's last equity and the equity now.
        assert (opened.opening, opened.rests_on) == (Decimal(10_000), NOT_REBUILT)


async def test_reads_whose_equity_differs_by_more_than_the_tolerance_open_no_day(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with governed(make) as late:
        for after_ms, equity in ((0, "9580"), (6_000, "9300"), (12_000, "9580")):
            await late.look(after_ms, equity)
        assert late.opened() == []
        await late.look(18_000, "9590")
        assert [x.opening for x in late.opened()] == [10_010]


@pytest.mark.parametrize("looks", [0, 1, 2, 4])
async def test_after_a_tick_the_governors_next_due_time_is_in_the_future(
    make: Callable[..., Bench], autojump_clock: MockClock, looks: int
) -> None:
    """Seed 960263: no time passed between requests for a day's second read."""
    async with governed(make) as late:
        for number in range(looks):
            await late.look(6_000 * number)
        until_ms = late.clock.now_ms() + 2 * HOUR_MS
        while (due_ms := late.governor.next_due_ms()) is not None and due_ms < until_ms:
            now_ms = late.clock.now_ms()
            await late.clock.sleep_until(due_ms)
            await late.governor.tick()
            again_ms = late.governor.next_due_ms()
            assert again_ms is None or again_ms > late.clock.now_ms() >= now_ms
        (state,) = [x for x in late.bench.stored() if isinstance(x, e.StateChanged)]
        assert state.after is TradingState.REDUCE_ONLY
