"""A permit is consumed once, before it expires, if it equals its committed row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.model import Plan, Side
from kamou.core.risk import verdict
from kamou.core.risk.verdict import Approved
from kamou.errors import DiskFullError, InvalidPermitError
from kamou.store import database, queries
from kamou.store.journal import Committed, JournalWriter
from kamou.store.permits import JournalPermits
from tests.store import story

PLAN = story.make_plan()


@attrs.define
class StandingClock:
    """A clock that stands still until a test sets it."""

    at_ms: int = PLAN.planned_at_ms

    def now_ms(self) -> int:
        return self.at_ms

    async def sleep_until(self, at_ms: int) -> None:
        self.at_ms = at_ms


@attrs.define
class InlineJournal:
    """A client of the journal that commits at once, without an actor."""

    writer: JournalWriter
    full: bool = False

    async def commit(self, *events: e.Event) -> tuple[Committed, ...]:
        if self.full:
            raise DiskFullError("full")
        return self.writer.append(events)


@attrs.define
class Bench:
    store: JournalPermits
    journal: InlineJournal
    reader: sqlite3.Connection
    clock: StandingClock

    def grant(self, plan: Plan = PLAN) -> None:
        granted = e.PermitGranted(
            at_ms=1,
            permit_id=plan.permit_id,
            plan=plan,
            figures=(),
            expires_at_ms=plan.expires_at_ms,
        )
        self.journal.writer.append([granted])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    path = tmp_path / "kamou.sqlite3"
    connection = database.open_writer(path)
    reader = database.open_reader(path)
    journal, clock = InlineJournal(JournalWriter(connection, run_number=1)), StandingClock()
    store = JournalPermits(journal=journal, reader=reader, clock=clock)
    yield Bench(store, journal, reader, clock)
    reader.close()
    connection.close()


def approved(plan: Plan = PLAN, expires_at_ms: int = PLAN.expires_at_ms) -> Approved:
    return Approved(mint=verdict._MINT, plan=plan, snapshot_seq=0, expires_at_ms=expires_at_ms)


async def consume_error(bench: Bench, permit: Approved) -> str:
    with pytest.raises(InvalidPermitError) as error:
        await bench.store.consume(permit, story.ENTRY)
    return error.value.code


async def test_a_committed_permit_is_consumed_once(bench: Bench) -> None:
    bench.grant()
    await bench.store.consume(approved(), story.ENTRY)
    row = queries.query_permit(bench.reader, story.PERMIT)
    assert row is not None
    assert (row.client_order_id, row.consumed_at_ms) == (story.ENTRY, PLAN.planned_at_ms)
    assert await consume_error(bench, approved()) == "PERMIT_USED"


async def test_an_uncommitted_permit_is_unknown(bench: Bench) -> None:
    assert await consume_error(bench, approved()) == "PERMIT_UNKNOWN"


@pytest.mark.parametrize(
    "other",
    [
        {"symbol": "BTCUSDT"},
        {"side": Side.SHORT},
        {"quantity": D("0.51")},
        {"stop_price": D("1969")},
    ],
)
async def test_a_permit_that_differs_from_its_row_is_invalid(
    bench: Bench, other: dict[str, Any]
) -> None:
    bench.grant()
    forged = attrs.evolve(PLAN, **other)
    assert await consume_error(bench, approved(forged)) == "PERMIT_MISMATCH"
    assert (
        await consume_error(bench, approved(expires_at_ms=PLAN.expires_at_ms + 1))
        == "PERMIT_MISMATCH"
    )
    await bench.store.consume(approved(), story.ENTRY)


async def test_a_permit_expires_at_its_time_and_not_before(bench: Bench) -> None:
    bench.grant()
    bench.clock.at_ms = PLAN.expires_at_ms
    assert await consume_error(bench, approved()) == "PERMIT_EXPIRED"
    bench.clock.at_ms = PLAN.expires_at_ms - 1
    await bench.store.consume(approved(), story.ENTRY)


async def test_a_released_permit_is_invalid(bench: Bench) -> None:
    bench.grant()
    bench.journal.writer.append(
        [e.PermitReleased(at_ms=2, permit_id=story.PERMIT, reason="expired")]
    )
    assert await consume_error(bench, approved()) == "PERMIT_RELEASED"


async def test_one_of_two_orders_that_race_for_a_permit_consumes_it(bench: Bench) -> None:
    bench.grant()

    class Late(InlineJournal):
        async def commit(self, *events: e.Event) -> tuple[Committed, ...]:
            first = e.PermitConsumed(at_ms=3, permit_id=story.PERMIT, client_order_id="other")
            self.writer.append([first])  # between the check and the commit
            return self.writer.append(events)

    late = JournalPermits(
        journal=Late(bench.journal.writer), reader=bench.reader, clock=bench.clock
    )
    with pytest.raises(InvalidPermitError) as error:
        await late.consume(approved(), story.ENTRY)
    assert error.value.code == "PERMIT_USED"


async def test_a_permit_is_not_consumed_if_the_commit_fails(bench: Bench) -> None:
    bench.grant()
    bench.journal.full = True
    with pytest.raises(DiskFullError):
        await bench.store.consume(approved(), story.ENTRY)
    bench.journal.full = False
    await bench.store.consume(approved(), story.ENTRY)
