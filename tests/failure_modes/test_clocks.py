"""Clock skew between venue and Kamou: entries pause, nothing is lost or closed."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from kamou.actors import order_executor, reconciler
from kamou.clock import Clock
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import Deny
from kamou.core.day import MINUTE_MS
from kamou.core.model import OrderRole
from kamou.core.risk import rules_inputs
from kamou.exchange.base import PortChecks
from kamou.venue.engine import Engine
from tests.actors.system_harness import Harness, at
from tests.actors.trouble import UNANSWERED, Trouble, every
from tests.failure_modes.harness import (
    HELD,
    Line,
    denied,
    entries,
    find_errors,
    play,
    select_errors,
)


@attrs.frozen
class ApartClock:
    """A clock that is ``ahead_ms`` ahead of ``true`` from minute 1.5 on."""

    true: Clock
    ahead_ms: int

    def now_ms(self) -> int:
        now_ms = self.true.now_ms()
        return now_ms + (self.ahead_ms if now_ms >= at(1.5) else 0)

    async def sleep_until(self, at_ms: int) -> None:
        await trio.sleep((at_ms - self.now_ms()) / 1000)


class ApartLine(Line):
    """A venue whose clock is ``ahead_ms`` ahead of Kamou's from minute 1.5 on."""

    ahead_ms = 0

    def __init__(self, engine: Engine, checks: PortChecks, **more: Any) -> None:
        apart = ApartClock(checks.clock, self.ahead_ms)
        super().__init__(engine, checks, venue_clock=apart, **more)

    async def _step(self, to_ms: int) -> None:
        await self.server_time_ms()


class Behind(ApartLine):
    ahead_ms = -4_000


class Ahead(ApartLine):
    ahead_ms = 4_000


def test_no_fill_is_lost_if_the_system_clock_is_seconds_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clock skew: hummingbot#5502. By Kamou's time the fills were before their order."""
    # This stands for a jump of Kamou's clock between the last comparison of clocks and the entry.
    monkeypatch.setattr(rules_inputs, "CLOCK_SKEW_MS", MINUTE_MS)

    def run_case() -> list[str]:
        trouble = Trouble(fate=every(OrderRole.ENTRY, UNANSWERED, HELD))

        async def direct(harness: Harness) -> None:
            await harness.until(1.9)
            trouble.away = frozenset({"stream"})
            await harness.until(3.5)  # a bar closes late, so the entry comes late
            trouble.away = frozenset()

        return find_errors(play(trouble, Behind, direct=direct))

    assert run_case() == []

    # Naive: fills are read from Kamou's time of the order, or of the last read, on.
    monkeypatch.setattr(order_executor, "CLOCKS_APART_MS", 0)
    monkeypatch.setattr(
        PositionBook, "fills_since_ms", lambda book: book.reconciliation.clean_at_ms
    )
    assert select_errors(run_case(), "lost")


def test_entries_pause_while_the_venues_time_is_ahead_of_the_system_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clock skew: hummingbot#5502. The age of a quote is unknown then."""
    ended = play(venue=Ahead)
    assert entries(ended, 0.0)
    assert entries(ended, 1.5) == []
    assert Deny.DATA_STALE.value in denied(ended)

    # Naive: a quote from the future is a fresh one.
    monkeypatch.setattr(rules_inputs, "CLOCK_SKEW_MS", MINUTE_MS)
    assert entries(play(venue=Ahead), 1.5)


def test_entries_pause_while_the_system_clock_is_ahead_of_the_venues_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clock skew: hummingbot#5502. Data look old, but within their age limit."""
    ended = play(venue=Behind)
    assert entries(ended, 0.0)
    assert entries(ended, 1.5) == []
    assert Deny.CLOCK_SKEWED.value in denied(ended)

    # Naive: no actor compares the clocks.
    monkeypatch.setattr(reconciler, "certain_offset_ms", lambda asked, venue, received: 0)
    assert entries(play(venue=Behind), 1.5)
