"""The journal's client: grouping, order and reading of events, also in a second run."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
import trio
from trio.testing import MockClock

from kamou.actors import journal as module
from kamou.actors.followers import BookFollower
from kamou.core.book import events as e
from kamou.errors import DuplicateEventError
from kamou.runtime.runners import make_thread_runner
from kamou.store import queries
from kamou.store.snapshots import BookSnapshot
from tests.actors.journal_bench import Bench
from tests.store.story import day, lost


async def test_a_commit_is_on_disk_and_in_the_tail_when_it_returns(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with bench.running():
        done = await bench.journal.commit(day(1), lost(2))
        assert [c.seq for c in done] == [1, 2]
        assert bench.stored() == [day(1), lost(2)]
        assert list(bench.journal.tail(0)) == list(done)
        assert list(bench.journal.tail(1)) == [done[1]]
        assert bench.journal.tail(2) == ()
        assert bench.journal.head_seq == 2
        assert queries.head_seq(bench.journal.reader) == 2


async def test_casts_are_grouped_for_20_ms_and_then_committed_in_order(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with bench.running():
        bench.journal.cast(lost(1))
        await trio.sleep(0.010)
        bench.journal.cast(lost(2), lost(3))
        assert bench.stored() == []
        assert bench.journal.tail(0) == (), "the tail has an event that is not committed"
        await trio.sleep(0.011)
        assert bench.stored() == [lost(1), lost(2), lost(3)]
        assert [c.event for c in bench.journal.tail(0)] == bench.stored()


async def test_a_commit_writes_the_earlier_casts_first(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with bench.running():
        for n in range(25):
            bench.journal.cast(lost(n))
        (done,) = await bench.journal.commit(day(1))
        assert done.seq == 26
        assert bench.stored() == [*(lost(n) for n in range(25)), day(1)]


async def test_a_full_batch_does_not_wait_for_its_grouping_time(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    bench = make(group_commit_ms=60_000)
    async with bench.running():
        for n in range(9):
            bench.journal.cast(lost(n))
        await trio.sleep(1)
        assert bench.stored() == []
        bench.journal.cast(*(lost(n) for n in range(9, 25)))
        await trio.sleep(1)
        assert bench.stored() == [lost(n) for n in range(25)]


async def test_a_duplicate_event_rolls_back_its_commit_and_keeps_queued_casts(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with bench.running():
        await bench.journal.commit(day(1))
        bench.journal.cast(lost(5), day(1), day(2))
        with pytest.raises(DuplicateEventError):
            await bench.journal.commit(lost(6), day(1))
        assert bench.stored() == [day(1), lost(5), day(2)]
        assert bench.journal.backlog.duplicates == 1
        bench.journal.cast(day(2), lost(7), day(3), day(3))
        (done,) = await bench.journal.commit(lost(8))
        assert bench.stored()[3:] == [lost(7), day(3), lost(8)]
        assert done.seq == 6
        assert [c.event for c in bench.journal.tail(0)] == bench.stored()


async def test_an_event_of_three_concurrent_commits_is_stored_once(
    bench: Bench, autojump_clock: MockClock
) -> None:
    outcomes: list[str] = []

    async def do(number: int) -> None:
        try:
            await bench.journal.commit(lost(number), day(1))
        except DuplicateEventError:
            outcomes.append("duplicate")
        else:
            outcomes.append("done")

    async with bench.running():
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(do, number)
        assert sorted(outcomes) == ["done", "duplicate", "duplicate"]
        assert len(bench.stored()) == 2


async def test_an_event_that_cannot_be_encoded_fails_only_its_own_commit_or_cast(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bad = e.DayOpened(at_ms=1, day="d", equity=Decimal("NaN"))
    async with bench.running():
        with pytest.raises(ValueError, match=r"DayOpened\.equity"):
            bench.journal.cast(lost(1), bad)
        with pytest.raises(ValueError, match=r"DayOpened\.equity"):
            await bench.journal.commit(bad)
        await bench.journal.commit(lost(2))
        assert bench.stored() == [lost(2)]


async def test_old_events_are_read_from_the_database_and_new_ones_stay_in_memory(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECENT_EVENTS", 5)
    async with bench.running():
        for n in range(20):
            await bench.journal.commit(lost(n))
        for after in range(22):
            tail = bench.journal.tail(after)
            assert [c.seq for c in tail] == list(range(after + 1, 21))
            assert [c.event for c in tail] == [lost(n) for n in range(after, 20)]
        await bench.journal.commit(lost(20))
        assert len(bench.journal._recent) <= 10


async def test_a_long_journal_is_folded_in_parts_that_fit_in_memory(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECENT_EVENTS", 2)
    monkeypatch.setattr(module, "PAST_MAX", 3)
    async with bench.running():
        for number in range(1, 13):
            await bench.journal.commit(day(number))
        assert [c.seq for c in bench.journal.tail(0)] == [1, 2, 3]
        assert [c.seq for c in bench.journal.tail(7)] == [8, 9, 10, 11, 12]
        book = await BookFollower(bench.journal).recover()
        assert (book.seq, book.day.utc_day) == (12, "2023-11-12")


async def test_a_book_that_one_actor_folds_at_a_start_is_saved_for_the_next_actor(
    bench: Bench, make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with bench.running():
        for number in range(1, 6):
            await bench.journal.commit(day(number))
    again = make()
    first = await BookFollower(again.journal).recover()
    waiting = again.journal.load_book_snapshot()
    assert waiting is not None
    assert waiting.seq == first.seq == 5
    second = await BookFollower(again.journal).recover()
    assert second.dump() == first.dump()


async def test_the_journal_of_a_second_run_continues_after_the_last_event_of_the_first(
    bench: Bench, make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    async with bench.running():
        await bench.journal.commit(lost(1), lost(2))
    again = make()
    assert again.journal.head_seq == 2
    assert [c.event for c in again.journal.tail(0)] == [lost(1), lost(2)]
    async with again.running():
        (done,) = await again.journal.commit(lost(3))
        assert done.seq == 3


async def test_a_snapshot_is_due_saved_and_found_again(
    bench: Bench, make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    journal = bench.journal
    async with bench.running():
        await journal.commit(lost(1), lost(2))
        assert not journal.snapshot_due(2)
        await journal.commit(lost(3))
        assert journal.snapshot_due(3)
        journal.save_snapshot(3, lambda: b"state", at_ms=5)
        assert not journal.snapshot_due(3)
        await trio.sleep(1)
        assert journal.load_book_snapshot() == BookSnapshot(seq=3, state=b"state")
        with pytest.raises(AssertionError):
            journal.save_snapshot(4, bytes, at_ms=5)
    assert not make().journal.snapshot_due(5)
    assert make().journal.snapshot_due(6)


async def test_the_details_of_a_cycle_are_written_with_the_next_event(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DETAILS_KEPT", 2)
    async with bench.running():
        for cycle_at_ms in (300, 600, 900):
            bench.journal.cast_detail(cycle_at_ms, b"%d" % cycle_at_ms)
        await trio.sleep(1)
        assert queries.query_scan_details(bench.journal.reader) == ()
        await bench.journal.commit(day(1))
        assert queries.query_scan_details(bench.journal.reader) == ((900, b"900"), (600, b"600"))
        assert bench.stored() == [day(1)]
        assert not bench.journal.backlog.details


async def test_without_a_grouping_time_casts_are_written_as_soon_as_their_actor_yields(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    bench = make(group_commit_ms=0)
    async with bench.running():
        bench.journal.cast(lost(1))
        bench.journal.cast(lost(2))
        assert bench.stored() == []
        await trio.testing.wait_all_tasks_blocked()
        assert bench.stored() == [lost(1), lost(2)]


async def test_commits_and_casts_work_the_same_with_the_writer_on_a_thread(bench: Bench) -> None:
    """The time is real, because a simulated clock takes a waiting thread for idle."""
    bench.runner = make_thread_runner()
    done: list[int] = []

    async def work(number: int) -> None:
        for n in range(5):
            bench.journal.cast(lost(number * 100 + n))
            (committed,) = await bench.journal.commit(lost(number * 100 + n + 50))
            done.append(committed.seq)

    async with bench.running(), trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(work, number)
    assert len(set(done)) == 20
    assert len(bench.stored()) == 40
    assert [c.event for c in bench.journal.tail(0)] == bench.stored()
    for number in range(4):
        mine = [x.at_ms % 100 for x in bench.stored() if x.at_ms // 100 == number]
        assert mine == [0, 50, 1, 51, 2, 52, 3, 53, 4, 54], "a cast is stored after a later commit"


async def test_a_canceled_write_on_the_thread_is_finished_and_in_the_tail(bench: Bench) -> None:
    bench.runner = make_thread_runner()
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.actor().run)
        bench.journal.cast(lost(1))
        nursery.cancel_scope.cancel()
    assert bench.stored() == [lost(1)]
    assert [c.event for c in bench.journal.tail(0)] == [lost(1)]


async def test_a_journal_without_a_code_hash_requests_and_loads_no_snapshot(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with bench.running():
        await bench.journal.commit(lost(1), lost(2), lost(3))
        bench.journal.save_snapshot(3, lambda: b"state", at_ms=5)
        await trio.sleep(1)
        assert bench.journal.load_book_snapshot() is not None
        bench.journal.code_hash = ""
        assert bench.journal.load_book_snapshot() is None
        assert not bench.journal.snapshot_due(1_000)
