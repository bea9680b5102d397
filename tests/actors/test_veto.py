"""What the veto actor tells of a cycle, and what it keeps to itself."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from kamou.actors.journal import Journal
from kamou.actors.veto import VetoActor
from kamou.clock import SimulatedClock
from kamou.config import CycleSettings
from kamou.core.events import CycleRanked, Event
from kamou.core.limits import CostModel, VetoLimits
from kamou.exchange.base import ExchangePort
from kamou.mailboxes import Mailbox
from kamou.messages.signals import ShardRanked

PERIOD_MS = 900_000
BAR_MS = 1_700_000_100_000 // PERIOD_MS * PERIOD_MS


class Told:
    """A journal that nothing was ever written to, and what is cast to it."""

    head_seq = 0

    def __init__(self) -> None:
        self.events: list[Event] = []

    def cast(self, *events: Event) -> None:
        self.events.extend(events)

    def book_snapshot(self) -> None:
        return None


def veto(told: Told, shards: int = 1) -> VetoActor:
    clock = SimulatedClock(start_ms=BAR_MS)
    boxes: list[Mailbox[Any]] = [Mailbox(n, 8, now_ms=clock.now_ms) for n in ("veto", "refiner")]
    return VetoActor(
        inbox=boxes[0],
        clock=clock,
        port=cast(ExchangePort, None),
        journal=cast(Journal, told),
        refiner=boxes[1],
        universe=tuple((f"S{n}USDT",) for n in range(shards)),
        strategies={},
        vetoes={},
        instruments={},
        cycle=CycleSettings(),
        period_ms=PERIOD_MS,
        limits=VetoLimits(),
        costs=CostModel(),
        handler_deadline_s=30.0,
        keep_detail=False,
    )


def heartbeat(cycle_ms: int) -> ShardRanked:
    """A shard's word in a cycle without a bar."""
    return ShardRanked(
        cause_id="",
        cycle_ms=cycle_ms,
        shard=0,
        bar_close_ms=0,
        close=np.empty(0),
        columns=(),
    )


async def test_a_cycle_in_which_no_bar_was_due_is_not_worth_an_event() -> None:
    told = Told()
    await veto(told).handle(heartbeat(BAR_MS + 300_000))
    assert told.events == []


async def test_a_bar_that_was_due_and_did_not_come_is_told() -> None:
    told = Told()
    await veto(told).handle(heartbeat(BAR_MS))
    (event,) = told.events
    assert isinstance(event, CycleRanked)
    assert (event.cycle_ms, event.bar_close_ms, event.candidates) == (BAR_MS, 0, 0)


async def test_a_late_shard_is_told_even_when_no_bar_was_due() -> None:
    told = Told()
    actor = veto(told, shards=2)
    await actor.handle(heartbeat(BAR_MS + 300_000))
    await actor.tick()
    (event,) = told.events
    assert isinstance(event, CycleRanked)
    assert event.late_shards == 1
