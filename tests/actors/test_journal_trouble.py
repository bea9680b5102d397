"""Crashes of the journal and full disks lose no cast and double no keyed event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kamou.actors import journal as module
from kamou.errors import CallUnavailableError, DiskFullError, StoreError
from kamou.store.snapshots import BookSnapshot
from tests.actors.journal_bench import Bench
from tests.store.story import day, lost


async def crash(bench: Bench, action: Callable[[], Awaitable[object]]) -> None:
    """Run an actor until the action has crashed it."""
    with pytest.RaisesGroup(pytest.RaisesExc(StoreError), flatten_subgroups=True):
        async with bench.running():
            await action()
            await trio.sleep(1)


@pytest.mark.parametrize("when", ["fail_before", "fail_after"])
async def test_a_crash_in_a_write_loses_no_cast_and_doubles_no_keyed_event(
    bench: Bench, autojump_clock: MockClock, when: str
) -> None:
    async def commit() -> None:
        bench.journal.cast(day(1), day(2))
        with pytest.raises(CallUnavailableError):
            await bench.journal.commit(day(3))

    setattr(bench.writer, when, StoreError("the write failed"))
    await crash(bench, commit)
    setattr(bench.writer, when, None)
    committed = when == "fail_after"
    bench.journal.cast(day(4))
    async with bench.running():
        assert len(bench.journal.tail(0)) == (3 if committed else 0), (
            "the tail of a recovery is not what was committed"
        )
        await trio.sleep(1)
        days = [1, 2, 3, 4] if committed else [1, 2, 4]
        assert bench.stored() == [day(n) for n in days]
        assert [c.event for c in bench.journal.tail(0)] == bench.stored()
        await bench.journal.commit(lost(1))


async def test_while_the_journal_is_down_casts_wait_and_commits_fail_at_once(
    bench: Bench, autojump_clock: MockClock
) -> None:
    bench.journal.cast(lost(1))
    with pytest.raises(CallUnavailableError):
        await bench.journal.commit(day(1))
    async with bench.running():
        await trio.sleep(1)
        assert bench.stored() == [lost(1)]


async def test_an_orderly_stop_writes_the_waiting_casts(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with bench.running():
        bench.journal.cast(*(lost(n) for n in range(25)))
    assert len(bench.stored()) == 25


async def test_a_canceled_journal_writes_the_waiting_casts(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.actor().run)
        bench.journal.cast(lost(1))
        nursery.cancel_scope.cancel()
    assert bench.stored() == [lost(1)]


async def test_on_a_full_disk_commits_fail_and_casts_wait_until_space_returns(
    bench: Bench, autojump_clock: MockClock
) -> None:
    many = [lost(n) for n in range(1_000)]
    async with bench.running():
        with bench.full_disk():
            bench.journal.cast(*many)
            with pytest.raises(DiskFullError, match="disk is full"):
                await bench.journal.commit(day(1))
            await trio.sleep(5)
            found = len(bench.stored())  # a few fit into the last page
            assert found < 100
            assert bench.full == [True], "the full disk was not reported exactly once"
            assert len(bench.journal.backlog.casts) == 1_000 - found
        await trio.sleep(2)
        assert bench.full == [True, False]
        assert bench.stored() == many
        await bench.journal.commit(day(1))
        assert bench.full == [True, False]


async def test_the_first_commit_after_a_full_disk_comes_after_all_waiting_casts(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with bench.running():
        bench.writer.fail_before = DiskFullError("full")
        bench.journal.cast(*(lost(n) for n in range(25)))  # more than one batch
        await trio.sleep(0.1)
        bench.writer.fail_before = None
        (done,) = await bench.journal.commit(day(1))
        assert done.seq == 26
        assert bench.stored() == [*(lost(n) for n in range(25)), day(1)]
        assert bench.full == [True, False]


async def test_on_a_full_disk_a_journal_without_waiting_casts_probes_until_there_is_space(
    bench: Bench, autojump_clock: MockClock
) -> None:
    async with bench.running():
        bench.writer.fail_before = DiskFullError("full")
        with pytest.raises(DiskFullError):
            await bench.journal.commit(day(1))
        assert bench.full == [True]
        bench.writer.fail_before = None
        await trio.sleep(1.5)
        assert bench.full == [True, False]
        row = bench.connection.execute(
            "SELECT value FROM meta WHERE key = ?", (module.DISK_PROBE,)
        ).fetchone()
        assert row is not None
        await bench.journal.commit(day(1))


@pytest.mark.parametrize("fails", [1, 2])
async def test_a_disk_that_fills_up_while_duplicates_are_removed_loses_no_cast(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    """The first write finds the duplicate; the next one, of casts or commit, fails."""
    async with bench.running():
        await bench.journal.commit(day(1))
        real, calls = bench.writer.append_encoded, iter(range(10))

        def append(batch: Any, details: Any = ()) -> Any:
            if next(calls) == fails:
                raise DiskFullError("full")
            return real(batch, details)

        monkeypatch.setattr(bench.writer, "append_encoded", append)
        bench.journal.cast(day(1), lost(1))
        with pytest.raises(DiskFullError):
            await bench.journal.commit(day(2))
        await trio.sleep(3)
        assert bench.stored() == [day(1), lost(1)]
        assert bench.full == [True, False]


async def test_a_cast_beyond_the_limit_of_the_backlog_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_MAX", 3)
    bench.journal.cast(lost(1), lost(2))
    with pytest.raises(DiskFullError, match="wait"):
        bench.journal.cast(lost(3), lost(4))
    assert len(bench.journal.backlog.casts) == 2


async def test_a_snapshot_waits_for_the_disk_without_undoing_the_commit(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise DiskFullError("full")

    async with bench.running():
        await bench.journal.commit(day(1))
        with monkeypatch.context() as patched:
            patched.setattr(bench.writer, "save_snapshot", refuse)
            bench.journal.save_snapshot(1, lambda: b"state", at_ms=5)
            (done,) = await bench.journal.commit(day(2))
            assert done.event == day(2)
            assert bench.full == [True]
        await trio.sleep(2)
        assert bench.full == [True, False]
        assert bench.journal.load_book_snapshot() == BookSnapshot(seq=1, state=b"state")
