"""The gate's actor proposes, the governor commits, and the journal explains both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from kamou.actors.gate import LOOK_AGAIN_MS, LOOK_DELAY_MS, LOOK_PERIOD_MS, GateActor
from kamou.actors.risk_governor import KeptCommand, RiskGovernor
from kamou.clock import SimulatedClock
from kamou.core.book.gate_events import GateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.day import DAY_MS
from kamou.core.kinds import GateReason, GateState
from kamou.core.record import demotion
from kamou.core.record.e_values import ResultOfTrade
from kamou.core.record.gate import EarnedGate
from kamou.core.record.gate_transitions import GateRules
from kamou.core.risk.limits import TradingParameters
from kamou.messages.governor import ChangeGate
from kamou.messages.signals import ShadowRecordGrew
from kamou.runtime.mailboxes import Mailbox
from tests.actors.journal_bench import Bench, benches
from tests.core.record.test_gate_transitions import START_MS, trade
from tests.core.record.test_promotion import canary_record
from tests.core.shadow_cases import closed, closed_shadow, opened, shadow_trade

CANARY_MS = START_MS + 25 * DAY_MS


@pytest.fixture(autouse=True)
def _few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demotion, "RESAMPLED_PATHS", 200)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with benches(tmp_path) as made:
        yield made


@attrs.define
class Sent:
    """The governor's mailbox, which keeps what the actor puts."""

    proposals: list[ChangeGate] = attrs.Factory(list)

    def put_nowait(self, message: ChangeGate) -> bool:
        self.proposals.append(message)
        return True

    def put_priority(self, message: ChangeGate) -> bool:
        raise AssertionError(message)


@attrs.define
class Gated:
    """A gate's actor and a governor over one journal; messages go by hand."""

    actor: GateActor
    governor: RiskGovernor
    clock: SimulatedClock
    bench: Bench
    sent: Sent

    async def record(self, *trades: ResultOfTrade, closes: bool = True) -> None:
        """Commit the opening and, with ``closes``, the close of shadow trades."""
        for each in trades:
            name = f"{each.opened_at_ms}.{each.strategy}.{each.symbol}"
            shadow = shadow_trade(
                name,
                strategy=each.strategy,
                symbol=each.symbol,
                opened_at_ms=each.opened_at_ms,
            )
            await self.bench.journal.commit(opened(shadow, at_ms=each.opened_at_ms))
            if closes:
                end = closed_shadow(shadow, r=each.r, pnl=each.pnl, closed_at_ms=each.closed_at_ms)
                await self.bench.journal.commit(closed(end, at_ms=each.closed_at_ms))

    async def look(self, at_ms: int) -> list[ChangeGate]:
        """Return what the actor proposes at a time."""
        await self.clock.sleep_until(at_ms)
        self.sent.proposals.clear()
        await self.actor.handle(ShadowRecordGrew())
        return list(self.sent.proposals)

    async def decide(self, at_ms: int) -> GateChanged | None:
        """Let the governor commit what the actor proposes; return the change."""
        before = len(self.changes())
        for message in await self.look(at_ms):
            await self.governor.handle(message)
        found = self.changes()[before:]
        assert len(found) <= 1
        return found[0] if found else None

    def changes(self) -> list[GateChanged]:
        return [each for each in self.bench.stored() if isinstance(each, GateChanged)]


@asynccontextmanager
async def gated(make: Callable[..., Bench]) -> AsyncIterator[Gated]:
    bench, clock = make(), SimulatedClock(start_ms=START_MS)

    def box(name: str) -> Mailbox[Any]:
        return Mailbox(name, 100, now_ms=clock.now_ms)

    sent = Sent()
    actor = GateActor(
        inbox=box("gate"),
        clock=clock,
        journal=bench.journal,
        governor=sent,
        rules=GateRules(),
        handler_deadline_s=10.0,
    )
    governor = RiskGovernor(
        inbox=box("governor"),
        clock=clock,
        journal=bench.journal,
        orders=box("orders"),
        reconciler=box("reconciler"),
        gate=EarnedGate(),
        parameters=TradingParameters(),
        excluded=frozenset(),
        kept=KeptCommand(),
        handler_deadline_s=10.0,
    )
    async with bench.running():
        await actor.recover()
        await governor.recover()
        yield Gated(actor, governor, clock, bench, sent)


async def test_a_record_that_earns_it_becomes_a_canary_and_gets_a_grant(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with gated(make) as it:
        await it.record(*canary_record())
        assert await it.decide(CANARY_MS - 1) is None
        change = await it.decide(CANARY_MS)
        assert change is not None
        assert (change.to_state, change.counted) == (GateState.CANARY, 50)
        book = PositionBook()
        book.apply_all(enumerate(it.bench.stored(), 1))
        grant = EarnedGate().find_grant("one", book)
        assert grant is not None
        assert grant.size_fraction == Decimal("0.25")
        assert await it.look(CANARY_MS + 1) == []


async def test_a_proposal_that_nobody_committed_is_made_again(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with gated(make) as it:
        await it.record(*canary_record())
        (lost,) = await it.look(CANARY_MS)
        assert it.actor.next_due_ms() == CANARY_MS + LOOK_AGAIN_MS
        await it.clock.sleep_until(CANARY_MS + LOOK_AGAIN_MS)
        await it.actor.tick()
        _, again = it.sent.proposals
        assert attrs.evolve(again.change, at_ms=lost.change.at_ms) == lost.change


async def test_the_governor_drops_a_change_that_another_one_came_before(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with gated(make) as it:
        await it.record(*canary_record())
        (message,) = await it.look(CANARY_MS)
        for _ in range(2):
            await it.governor.handle(message)
        assert it.changes() == [message.change]


async def test_a_look_comes_each_hour_and_five_minutes_after_each_utc_day(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with gated(make) as it:
        await it.record(*canary_record())
        await it.look(CANARY_MS + LOOK_DELAY_MS - 2 * LOOK_PERIOD_MS)
        assert it.actor.next_due_ms() == CANARY_MS + LOOK_DELAY_MS - LOOK_PERIOD_MS
        await it.look(CANARY_MS - 3)
        assert it.actor.next_due_ms() == CANARY_MS + LOOK_DELAY_MS
        await it.clock.sleep_until(CANARY_MS + LOOK_DELAY_MS)
        await it.actor.tick()
        (message,) = it.sent.proposals
        assert message.change.reason is GateReason.CANARY_EARNED


async def test_an_open_shadow_trade_holds_the_canary_back_until_it_closes(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with gated(make) as it:
        first, *others = canary_record()
        await it.record(*others)
        await it.record(first, closes=False)
        assert await it.decide(CANARY_MS) is None
        shadow = shadow_trade(
            f"{first.opened_at_ms}.one.{first.symbol}",
            strategy="one",
            symbol=first.symbol,
            opened_at_ms=first.opened_at_ms,
        )
        await it.bench.journal.commit(closed(closed_shadow(shadow, r=first.r, pnl=first.pnl)))
        change = await it.decide(CANARY_MS + 1)
        assert change is not None
        assert change.counted == 50


async def test_a_restart_continues_with_the_committed_state_and_demotes(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with gated(make) as it:
        await it.record(*canary_record())
        assert await it.decide(CANARY_MS) is not None
    losses = [trade(25 * DAY_MS + n * 1_000, 5, "-1.05", f"L{n}") for n in range(60)]
    async with gated(make) as it:
        await it.record(*losses)
        change = await it.decide(CANARY_MS + DAY_MS)
        assert change is not None
        assert (change.from_state, change.to_state) == (GateState.CANARY, GateState.SHADOW)
        assert (change.attempt, change.reason) == (2, GateReason.CUSUM)
