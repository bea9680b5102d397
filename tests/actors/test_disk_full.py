"""The disk fills up while the system trades, and has space again later.

SQLite itself fails to grow the files (``max_page_count``), at the same page in every run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from decimal import Decimal

import attrs
import pytest

from kamou.actors.journal import Journal
from kamou.actors.risk_governor import RiskGovernor
from kamou.core.book.events import Event, FillRecorded, IntentRecorded, PermitGranted, StateChanged
from kamou.core.codes import StateReason
from kamou.core.model import ZERO, OrderRole, OrderType, TradingState
from kamou.errors import DiskFullError
from kamou.exchange.base import ExchangePort
from kamou.messages.governor import DiskFull, Flatten
from kamou.messages.orders import GovernorMessage
from kamou.store.journal import Committed
from tests.actors.system_harness import Ended, Harness, at, run_system

FLATTENING = TradingState.FLATTENING
ROOM = 1_000_000_000  # pages: more than any test needs


@attrs.frozen
class Disk:
    """The files of one harness: the journal's, and the venue's if on the same disk."""

    files: tuple[sqlite3.Connection, ...]

    @staticmethod
    def of(harness: Harness, *, venue: bool) -> Disk:
        files = [harness.session.writer._connection]
        if venue:
            files.append(harness.session.venue._db)
        return Disk(tuple(files))

    def fill(self) -> None:
        """Let no file grow by a page."""
        for file in self.files:
            file.execute("PRAGMA max_page_count = 1")

    def free(self) -> None:
        for file in self.files:
            file.execute(f"PRAGMA max_page_count = {ROOM}")


def full_between(
    minutes: tuple[float, float], *, venue: bool, look: Callable[[Harness], Awaitable[None]]
) -> Callable[[Harness], Awaitable[None]]:
    """Return a director that fills the disk, calls ``look`` later and then frees it."""

    async def direct(harness: Harness) -> None:
        disk = Disk.of(harness, venue=venue)
        await harness.until(minutes[0])
        disk.fill()
        await harness.until(minutes[1])
        await look(harness)
        disk.free()

    return direct


async def covered(port: ExchangePort) -> dict[str, bool]:
    """Return, by symbol of each position, True if stops at the venue cover it."""
    stops: dict[str, Decimal] = {}
    for order in await port.open_orders():
        if order.type is OrderType.STOP_MARKET:
            stops[order.symbol] = stops.get(order.symbol, ZERO) + order.quantity - order.filled
    return {p.symbol: stops.get(p.symbol, ZERO) >= abs(p.quantity) for p in await port.positions()}


def assert_nothing_is_lost(ended: Ended) -> None:
    """Assert that journal and venue agree to the last fill, and nothing is doubled."""
    assert {e.fill.key for e in ended.of(FillRecorded)} == {f.key for f in ended.fills}
    names = [e.intent.client_order_id for e in ended.of(IntentRecorded)]
    assert len(names) == len(set(names))
    held = {s: t.quantity * t.side.sign for s, t in ended.book.trades.open.items()}
    assert held == {p.symbol: p.quantity for p in ended.positions}
    assert ended.checked.violations == ()


@pytest.mark.parametrize("venue", [False, True], ids=["journal", "journal and venue"])
def test_a_full_disk_stops_entries_and_keeps_stops_and_entries_resume_with_free_space(
    venue: bool,
) -> None:
    stops: dict[str, bool] = {}

    async def look(harness: Harness) -> None:
        stops.update(await covered(harness.tree.port))

    full = (3.5, 8.5)
    ended = run_system(direct=full_between(full, venue=venue, look=look))
    assert stops, "no position was open while the disk was full"
    assert all(stops.values())
    assert ended.crashes == [], "an actor crashed on a full disk"
    while_full = range(at(full[0]), at(full[1]))
    assert not [e for e in ended.of(PermitGranted) if e.at_ms in while_full]
    entries = [e for e in ended.of(IntentRecorded) if e.intent.role is OrderRole.ENTRY]
    assert not [e for e in entries if e.at_ms in while_full]
    states = [(e.after, e.reason) for e in ended.of(StateChanged)]
    assert (TradingState.REDUCE_ONLY, "DISK_FULL") in states
    assert ended.book.trading.state.entries_allowed, states
    assert [e for e in entries if e.at_ms >= at(full[1])], (
        "no entry was sent after the disk had space"
    )
    assert_nothing_is_lost(ended)


def test_a_command_kept_on_a_full_disk_outlasts_a_second_full_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The commit of the command's event fails on arrival and again at the first space."""
    refused: list[Event] = []
    commit = Journal.commit

    async def commit_or_refuse(journal: Journal, *batch: Event) -> tuple[Committed, ...]:
        flattens = [e for e in batch if isinstance(e, StateChanged) and e.after is FLATTENING]
        if flattens and len(refused) < 2:  # small writes still fit into the last page
            refused.extend(flattens)
            raise DiskFullError("no space for this one")
        return await commit(journal, *batch)

    async def direct(harness: Harness) -> None:
        disk = Disk.of(harness, venue=False)
        for full_from, full_until in ((3.5, 5.5), (6.5, 8.5)):
            await harness.until(full_from)
            disk.fill()
            if not refused:
                harness.tree.governor.put_priority(Flatten(reason=StateReason.OPERATOR_FLATTEN))
            await harness.until(full_until)
            disk.free()

    monkeypatch.setattr(Journal, "commit", commit_or_refuse)
    ended = run_system(direct=direct)
    assert len(refused) == 2
    states = [(e.after, e.reason) for e in ended.of(StateChanged)]
    assert (FLATTENING, StateReason.OPERATOR_FLATTEN) in states
    assert ended.positions == ()


def test_a_command_kept_on_a_full_disk_outlasts_a_crash_of_the_governor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The governor crashes at the report of space, before it carries the command out."""
    refused: list[Event] = []
    crashed: list[DiskFull] = []
    commit, receive = Journal.commit, RiskGovernor._receive

    async def commit_or_refuse(journal: Journal, *batch: Event) -> tuple[Committed, ...]:
        flattens = [e for e in batch if isinstance(e, StateChanged) and e.after is FLATTENING]
        if flattens and not refused:
            refused.extend(flattens)
            raise DiskFullError("no space for this one")
        return await commit(journal, *batch)

    async def receive_or_crash(governor: RiskGovernor, message: GovernorMessage) -> None:
        if isinstance(message, DiskFull) and not message.full and not crashed:
            crashed.append(message)
            raise RuntimeError("a crash while a command is kept")
        await receive(governor, message)

    async def direct(harness: Harness) -> None:
        disk = Disk.of(harness, venue=False)
        await harness.until(3.5)
        disk.fill()
        harness.tree.governor.put_priority(Flatten(reason=StateReason.OPERATOR_FLATTEN))
        await harness.until(6.5)
        disk.free()

    monkeypatch.setattr(Journal, "commit", commit_or_refuse)
    monkeypatch.setattr(RiskGovernor, "_receive", receive_or_crash)
    ended = run_system(direct=direct)
    assert (len(refused), len(crashed), len(ended.crashes)) == (1, 1, 1)
    assert ended.book.trading.state is FLATTENING
    assert ended.positions == ()


def test_on_a_disk_that_stays_full_no_actor_crashes_and_all_run_until_the_stop() -> None:
    async def direct(harness: Harness) -> None:
        disk = Disk.of(harness, venue=True)
        await harness.until(2.5)
        disk.fill()

    ended = run_system(direct=direct)
    assert ended.crashes == []
    assert "running" in ended.states.values()
    assert all(state == "running" for state in ended.states.values())
