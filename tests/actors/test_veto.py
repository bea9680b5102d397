"""The events of the veto actor in a cycle, and cycles without events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import attrs
import numpy as np
import pytest
import trio
import trio.testing

from kamou.actors.funding_rates import FundingRates
from kamou.actors.journal import Journal
from kamou.actors.veto import VetoActor
from kamou.clock import SimulatedClock
from kamou.core.book.events import CycleRanked, Event
from kamou.core.day import HOUR_MS
from kamou.core.market.bars import Series
from kamou.core.model import Instrument
from kamou.core.risk.limits import TradingParameters, VetoLimits
from kamou.errors import UnreachableError
from kamou.exchange.base import ExchangePort
from kamou.exchange.embedded import SimulatedExchange
from kamou.messages.signals import ShardRanked
from kamou.runtime.mailboxes import Mailbox
from kamou.settings.config import CycleSettings
from tests.actors import scripted_market
from tests.actors.system_harness import at, run_system

PERIOD_MS = 900_000
BAR_MS = 1_700_000_100_000 // PERIOD_MS * PERIOD_MS


class FakeJournal:
    """Empty journal that keeps the events that are cast to it."""

    head_seq = 0

    def __init__(self) -> None:
        self.events: list[Event] = []

    def cast(self, *events: Event) -> None:
        self.events.extend(events)

    def load_book_snapshot(self) -> None:
        return None


class Silent:
    """A venue that gets no requests."""

    funding_rates = None


def veto(journal: FakeJournal, shards: int = 1) -> VetoActor:
    clock = SimulatedClock(start_ms=BAR_MS)
    boxes: list[Mailbox[Any]] = [Mailbox(n, 8, now_ms=clock.now_ms) for n in ("veto", "refiner")]
    return VetoActor(
        inbox=boxes[0],
        clock=clock,
        port=cast(ExchangePort, Silent()),
        journal=cast(Journal, journal),
        refiner=boxes[1],
        universe=tuple((f"S{n}USDT",) for n in range(shards)),
        strategies={},
        vetoes={},
        cycle=CycleSettings(),
        period_ms=PERIOD_MS,
        step_ms=PERIOD_MS,
        limits=VetoLimits(),
        parameters=TradingParameters(),
        handler_deadline_s=30.0,
        keep_detail=False,
    )


class Dear(SimulatedExchange):
    """A venue at which longs pay half of the notional every hour."""

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        rates = await super().funding_rates(since_ms, until_ms)
        shape = (1, len(scripted_market.SYMBOLS))
        return attrs.evolve(
            rates,
            symbols=scripted_market.SYMBOLS,
            available_ms=np.array([until_ms], dtype=np.int64),
            values=np.full(shape, 0.5),
        )

    async def instruments(self) -> tuple[Instrument, ...]:
        listed = await super().instruments()
        return tuple(attrs.evolve(each, funding_interval_h=1) for each in listed)


@pytest.mark.parametrize(("venue", "vetoed"), [(SimulatedExchange, []), (Dear, ["AAA", "CCC"])])
def test_the_last_settled_funding_rate_counts_in_the_reward_to_risk_of_a_candidate(
    venue: type[SimulatedExchange], vetoed: list[str]
) -> None:
    """Longs would be held for 5 minutes; the shorts of that minute pay nothing."""
    lines = [each for at_ms, each in run_system(adapter=venue, minutes=2).vetoed if at_ms < at(2)]
    found = {e.symbol for e in lines for denial in e.denials if denial.code == "REWARD_TO_RISK_LOW"}
    assert sorted(found - {"GGG"}) == vetoed


def heartbeat(cycle_at_ms: int) -> ShardRanked:
    """Return a shard's message in a cycle without a bar."""
    return ShardRanked(
        cause_id="",
        cycle_at_ms=cycle_at_ms,
        shard=0,
        bar_closed_at_ms=0,
        close=np.empty(0),
        columns=(),
    )


async def test_a_cycle_without_a_due_bar_journals_no_event() -> None:
    journal = FakeJournal()
    await veto(journal).handle(heartbeat(BAR_MS + 300_000))
    assert journal.events == []


async def test_a_cycle_whose_due_bar_is_missing_is_journalled() -> None:
    journal = FakeJournal()
    await veto(journal).handle(heartbeat(BAR_MS))
    (event,) = journal.events
    assert isinstance(event, CycleRanked)
    assert (event.cycle_at_ms, event.bar_closed_at_ms, event.candidates) == (BAR_MS, 0, 0)


async def test_a_late_shard_is_journalled_even_when_no_bar_was_due() -> None:
    journal = FakeJournal()
    actor = veto(journal, shards=2)
    await actor.handle(heartbeat(BAR_MS + 300_000))
    await actor.tick()
    (event,) = journal.events
    assert isinstance(event, CycleRanked)
    assert event.late_shards == 1


async def test_a_funding_rate_older_than_a_day_is_not_used_even_if_no_newer_one_can_be_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock, away = SimulatedClock(start_ms=BAR_MS), False

    async def read(since_ms: int, until_ms: int) -> Series:
        await trio.lowlevel.checkpoint()
        if away:
            raise UnreachableError("no answer")
        return Series(
            symbols=("AAA",),
            available_ms=np.array([until_ms], dtype=np.int64),
            values=np.full((1, 1), 0.01),
            period_ms=HOUR_MS,
        )

    rates = FundingRates(read, clock=clock)
    await rates.refresh()
    assert rates.rates == {"AAA": Decimal("0.01")}
    away = True
    for hours, known in ((24, ["AAA"]), (25, [])):
        await clock.sleep_until(BAR_MS + hours * HOUR_MS)
        await rates.refresh()
        assert list(rates.rates) == known
