"""Tests of a flatten and a resume without a run, as the next run journals them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
import trio

from kamou.core.book.events import EquityRecorded, IntentRecorded, RunStarted, StateChanged
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.day import MINUTE_MS
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch, LatchAction
from kamou.runs import flatten
from kamou.store import database
from kamou.venue.store import VenueStore
from tests.small_demo import (
    NOW_MS,
    SetClock,
    assert_same_book,
    fills_of,
    journal,
    of_kind,
    resolved,
    serving,
    settings,
    venue,
)

SET_MS, CLEARED_MS, START_MS = (NOW_MS + minute * MINUTE_MS for minute in (1, 2, 3))


async def flatten_all(data_dir: DataDirectory, at_ms: int = SET_MS) -> None:
    """Set the latch and run the kill switch, as `kamou flatten` does."""
    HaltLatch(data_dir.latch).set("storm", "operator", at_ms)
    of = settings(data_dir.path)
    await trio.to_thread.run_sync(lambda: flatten.run(resolved(of), clock=SetClock(at_ms)))


def state_changes(data_dir: DataDirectory) -> list[tuple[Any, ...]]:
    """Return the changes of the trading state: time, state, reason and note."""
    return [
        (e.at_ms, e.after.value, e.reason, *(f.value for f in e.figures if f.name == "note"))
        for e in of_kind(journal(data_dir), StateChanged)
    ]


async def test_the_next_run_journals_a_flatten_and_a_resume_at_their_own_times_and_stays_halted(
    traded: DataDirectory,
) -> None:
    before = state_changes(traded)
    await flatten_all(traded)
    HaltLatch(traded.latch).clear("over", "operator", CLEARED_MS)
    async with serving(settings(traded.path), now_ms=START_MS) as running:
        await running.ready()
        assert state_changes(traded)[len(before) :] == [
            (SET_MS, "flattening", "OPERATOR_FLATTEN", "storm"),
            (CLEARED_MS, "reduce_only", "OPERATOR_RESUME", "over"),
        ]
        assert (await running.status())["state"] == "reduce_only", "a second resume lets it trade"
        assert (await running.command("resume")).json()["state"] == "active"
    assert_same_book(traded)
    assert not of_kind(journal(traded), CommandRecorded)
    closes = [e for e in of_kind(journal(traded), IntentRecorded) if e.intent.cause_id == "flatten"]
    assert closes
    assert [e.at_ms for e in closes] == [e.intent.intended_at_ms for e in closes]
    assert all(SET_MS <= e.at_ms < CLEARED_MS for e in closes)


async def test_a_later_run_does_not_journal_the_same_flatten_again(traded: DataDirectory) -> None:
    await flatten_all(traded)
    HaltLatch(traded.latch).clear("over", "operator", CLEARED_MS)
    for minute in (0, 1):
        async with serving(settings(traded.path), now_ms=START_MS + minute * MINUTE_MS) as running:
            await running.ready()
    assert [e[1:] for e in state_changes(traded)[-2:]] == [
        ("flattening", "OPERATOR_FLATTEN", "storm"),
        ("reduce_only", "OPERATOR_RESUME", "over"),
    ]
    assert sum(change[2] == "OPERATOR_FLATTEN" for change in state_changes(traded)) == 1


@pytest.mark.parametrize("cleared", [False, True])
async def test_a_start_after_a_flatten_records_an_equity_snapshot_at_once(
    traded: DataDirectory, cleared: bool
) -> None:
    await flatten_all(traded)
    if cleared:
        HaltLatch(traded.latch).clear("over", "operator", CLEARED_MS)
    async with serving(settings(traded.path), now_ms=START_MS) as running:
        await running.ready()
    events = journal(traded)
    started = max(seq for seq, event in enumerate(events) if isinstance(event, RunStarted))
    marks = of_kind(events[started:], EquityRecorded)
    assert marks
    assert marks[0].unrealized_pnl == 0
    assert START_MS <= marks[0].at_ms < START_MS + MINUTE_MS
    balance = marks[0].wallet_balance
    state = venue(traded)
    assert not state.positions
    assert balance == state.wallet_balance


async def test_an_exit_order_of_a_flatten_belongs_to_the_trade_that_it_closed(
    traded: DataDirectory,
) -> None:
    held = set(venue(traded).positions)
    fills = fills_of(traded)
    await flatten_all(traded)
    async with serving(settings(traded.path), now_ms=START_MS) as running:
        await running.ready()
    assert len(fills_of(traded) - fills) >= len(held)
    with closing(database.open_reader(traded.database)) as reader:
        rows = reader.execute(
            "SELECT symbol, trade_id FROM order_ WHERE role = 'exit' AND client_order_id IN"
            " (SELECT key FROM event WHERE kind = 'intent_recorded' AND cause_id = 'flatten')"
        ).fetchall()
        trades = dict(reader.execute("SELECT trade_id, symbol FROM trade").fetchall())
    assert {symbol for symbol, _ in rows} == held
    assert all(trades[trade_id] == symbol for symbol, trade_id in rows)


async def test_orders_that_ended_with_a_flatten_are_recorded_with_the_venues_time(
    traded: DataDirectory,
) -> None:
    held = set(venue(traded).positions)
    await flatten_all(traded)
    resting = "SELECT count(*) FROM order_ WHERE closed_at_ms IS NULL"
    async with serving(settings(traded.path), now_ms=START_MS) as running:
        await running.ready()
        with closing(database.open_reader(traded.database)) as reader:
            while reader.execute(resting).fetchone()[0]:  # noqa: ASYNC110 - resolved one by one
                await trio.sleep(0.02)
    with closing(database.open_reader(traded.database)) as reader:
        ended = dict(
            reader.execute(
                "SELECT client_order_id, closed_at_ms FROM order_ WHERE trade_id IN"
                " (SELECT trade_id FROM trade WHERE closed_at_ms >= ?)",
                (SET_MS,),
            ).fetchall()
        )
    with closing(VenueStore(traded.exchange, read_only=True)) as store:
        theirs = {name: store.order(name) for name in ended}
    roles = [order.request.type for order in theirs.values() if order is not None]
    assert len(roles) == len(theirs) >= 3 * len(held), "entry, stop and exit of each position"
    late = {
        name: (at_ms, theirs[name].updated_at_ms)  # type: ignore[union-attr]  # each has an order: asserted above
        for name, at_ms in ended.items()
        if at_ms is None or at_ms >= SET_MS
    }
    assert len(late) >= 2 * len(held)
    assert all(ours == venues for ours, venues in late.values()), late


async def test_a_halt_in_the_latchs_log_is_journalled_at_its_time_and_closes_no_position(
    traded: DataDirectory,
) -> None:
    before, held = state_changes(traded), set(venue(traded).positions)
    latch = HaltLatch(traded.latch)
    latch.set("news", "operator", SET_MS, action=LatchAction.HALT)
    async with serving(settings(traded.path), now_ms=START_MS) as running:
        await running.ready()
        assert state_changes(traded)[len(before) :] == [
            (SET_MS, "reduce_only", "OPERATOR_HALT", "news")
        ]
        latch.clear("", "operator", START_MS)
        assert (await running.command("resume")).json()["state"] == "active"
    assert set(venue(traded).positions) == held
