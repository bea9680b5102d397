"""Reconciliation reads the last 5 minutes again, because venues list late."""

from __future__ import annotations

from kamou.core.book.events import IncomeRecorded
from kamou.core.day import MINUTE_MS
from kamou.core.model import FillReport, Income
from kamou.exchange.embedded import SimulatedExchange
from tests.actors import scripted_market
from tests.actors.system_harness import run_system

LATE_MS = 4 * MINUTE_MS


class LateBooks(SimulatedExchange):
    """A venue that lists every payment four minutes late."""

    async def income(self, since_ms: int) -> tuple[Income, ...]:
        last_ms = await self.server_time_ms() - LATE_MS
        return tuple(i for i in await super().income(since_ms) if i.at_ms <= last_ms)


def test_funding_that_the_venue_lists_four_minutes_late_is_recorded() -> None:
    ended = run_system(adapter=LateBooks)
    settled = {i.income_id for i in ended.income if i.kind == "funding"}
    assert settled
    assert {e.income.income_id for e in ended.of(IncomeRecorded)} == settled
    assert ended.book.reconciliation.drift == {}


def test_every_reconciliation_reads_fills_and_income_of_the_last_five_minutes() -> None:
    fills: set[int] = set()
    income: list[tuple[int, int]] = []  # time of the read, start of its period

    class Noting(SimulatedExchange):
        async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
            fills.add(since_ms)
            return await super().fills(since_ms)

        async def income(self, since_ms: int) -> tuple[Income, ...]:
            income.append((await self.server_time_ms(), since_ms))
            return await super().income(since_ms)

    run_system(adapter=Noting)
    assert len(income) >= scripted_market.MINUTES
    for at_ms, since_ms in income:
        assert since_ms <= at_ms - 5 * MINUTE_MS
        assert since_ms in fills
