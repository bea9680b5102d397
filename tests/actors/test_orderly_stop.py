"""Orderly stops with orders in flight: fills are journalled if the disk has space."""

from __future__ import annotations

import pytest

from kamou.actors.order_executor import OrderExecutor
from kamou.core.book.events import Event, FillRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.day import MINUTE_MS
from kamou.errors import DiskFullError
from tests.actors import scripted_market
from tests.actors.system_harness import Ended, run_system

SENT_MS = 62_000  # time of the first entries; they fill 150 ms later, one after the other
FIRST_FILL_MS = 62_150
TARGET_MS = 180_000  # time at which a bar fills a take-profit


def stopped_at(after_ms: int) -> Ended:
    """Run the scripted market, with an orderly stop ``after_ms`` after its start."""
    return run_system(minutes=(after_ms - 20_000) / MINUTE_MS)


def missing(ended: Ended) -> set[str]:
    return {f.key for f in ended.fills} - {e.fill.key for e in ended.of(FillRecorded)}


@pytest.mark.parametrize("after_ms", range(SENT_MS, SENT_MS + 700, 50))
def test_fills_that_come_while_the_order_manager_stops_are_journalled(after_ms: int) -> None:
    ended = stopped_at(after_ms)
    assert after_ms <= FIRST_FILL_MS or ended.fills
    assert missing(ended) == set()
    held = {s: t.quantity * t.side.sign for s, t in ended.book.trades.open.items() if t.quantity}
    assert held == {position.symbol: position.quantity for position in ended.positions}
    assert ended.crashes == []


@pytest.mark.parametrize("after_ms", range(TARGET_MS, TARGET_MS + 150, 50))
def test_take_profits_that_fill_in_the_last_step_are_journalled(after_ms: int) -> None:
    ended = stopped_at(after_ms)
    assert any(fill.at_ms == scripted_market.START_MS + TARGET_MS for fill in ended.fills)
    assert missing(ended) == set()


def test_an_orderly_stop_on_a_full_disk_crashes_no_actor_and_leaves_fills_unjournalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = OrderExecutor.commit

    async def full(self: OrderExecutor, *events: Event) -> PositionBook:
        if self.clock.now_ms() > scripted_market.START_MS + SENT_MS + 100:
            raise DiskFullError("no space left")
        return await real(self, *events)

    monkeypatch.setattr(OrderExecutor, "commit", full)
    ended = stopped_at(FIRST_FILL_MS)
    assert ended.crashes == []
    assert missing(ended)
