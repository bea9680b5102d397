"""Followers of the journal: equal books, and little work between checkpoints."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kamou.actors import followers as module
from kamou.actors import journal as journal_module
from kamou.actors.followers import BookFollower, StateFollower
from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import StateReason
from kamou.core.model import TradingState
from kamou.store.journal import read_events
from tests.actors.journal_bench import Bench, benches
from tests.store.story import day, lost

EVENTS = 28


async def filled(make: Callable[..., Bench]) -> None:
    bench = make()
    async with bench.running():
        for number in range(1, EVENTS + 1):
            await bench.journal.commit(day(number))


class FoldCount(trio.abc.Instrument):
    """Counts the events that are folded, and read from disk, between two checkpoints."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.folded = self.most_folded = self.read = self.most_read = self.reads = 0
        apply, read = PositionBook.apply, read_events

        def counted(book: PositionBook, seq: int, event: Any) -> None:
            self.folded += 1
            self.most_folded = max(self.most_folded, self.folded)
            apply(book, seq, event)

        def counted_read(*args: Any) -> Any:
            found = read(*args)
            self.reads += len(found)
            self.read += len(found)
            self.most_read = max(self.most_read, self.read)
            return found

        patch.setattr(PositionBook, "apply", counted)
        patch.setattr(journal_module, "read_events", counted_read)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.folded = self.read = 0


async def test_a_recovery_folds_few_events_between_two_checkpoints(
    make: Callable[..., Bench], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(make)
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", 5)
    journal = make(snapshot_every=1_000).journal
    counts = FoldCount(monkeypatch)
    trio.lowlevel.add_instrument(counts)
    first = await BookFollower(journal).recover()
    second = await BookFollower(journal).recover()
    trio.lowlevel.remove_instrument(counts)
    assert (first.seq, first.day.utc_day) == (EVENTS, f"2023-11-{EVENTS}")
    assert first.dump() == second.dump()
    assert 0 < counts.most_folded <= 5
    assert 0 < counts.most_read <= 5
    assert counts.reads == EVENTS, "the second recovery read events from the disk again"


async def test_a_waiting_snapshot_keeps_the_book_of_its_own_seq_while_the_fold_continues(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    await filled(make)
    bench = make()
    book = await BookFollower(bench.journal).recover()
    waiting = bench.journal.backlog.snapshot
    assert waiting is not None
    expected = book.dump()
    book.apply(
        EVENTS + 1, day(1)
    )  # the fold continues; the waiting snapshot stays that of its own seq
    assert waiting[2]() == expected


async def test_a_recovery_after_a_canceled_one_continues_from_its_snapshot(
    make: Callable[..., Bench], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(make)
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", 2)
    bench = make(snapshot_every=6)
    attempts = 0
    follower = BookFollower(bench.journal)
    while follower.book.seq < EVENTS and attempts < 10:
        attempts += 1
        follower = BookFollower(bench.journal)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follower.recover)
            for _ in range(7):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert follower.book.seq == EVENTS
    assert attempts > 1
    expected = PositionBook()
    expected.apply_all((c.seq, c.event) for c in bench.writer.read(0))
    assert follower.book.dump() == expected.dump()


@settings(max_examples=60)
@given(
    asked=st.lists(st.tuples(st.integers(0, EVENTS), st.integers(1, 9)), max_size=12),
    recent=st.integers(1, EVENTS),
    past=st.integers(2, EVENTS),
)
def test_a_tail_begins_right_after_the_given_event_and_is_empty_only_at_the_journals_end(
    asked: list[tuple[int, int]], recent: int, past: int, tmp_path_factory: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch, benches(tmp_path_factory.mktemp("tail")) as make:
        patch.setattr(journal_module, "RECENT_EVENTS", recent)
        patch.setattr(journal_module, "PAST_MAX", past)

        async def main() -> None:
            bench = make()
            async with bench.running():
                for number in range(1, EVENTS // 2):
                    await bench.journal.commit(day(number))
            bench = make()
            async with bench.running():
                for number in range(EVENTS // 2, EVENTS + 1):
                    await bench.journal.commit(day(number))
                for after_seq, at_once in asked:
                    part = bench.journal.tail(after_seq, at_once)
                    expected = range(after_seq + 1, min(after_seq + at_once, EVENTS) + 1)
                    got = [committed.seq for committed in part]
                    assert got == list(expected)[: len(got)]
                    assert bool(got) == bool(expected)
                    whole = [committed.seq for committed in bench.journal.tail(after_seq)]
                    assert whole == list(range(after_seq + 1, EVENTS + 1))[: len(whole)]
                    assert bool(whole) == (after_seq < EVENTS)

        trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_state_follower_sees_a_halt_and_its_end_as_soon_as_they_are_committed(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    bench = make()
    state = StateFollower(bench.journal, lambda: False)
    async with bench.running():
        assert not state.halted()
        for before, after in (
            (TradingState.ACTIVE, TradingState.REDUCE_ONLY),
            (TradingState.REDUCE_ONLY, TradingState.ACTIVE),
        ):
            changed = e.StateChanged(
                at_ms=1, before=before, after=after, reason=StateReason.OPERATOR_HALT
            )
            await bench.journal.commit(lost(1) if after is before else changed)
            assert state.halted() == (after is TradingState.REDUCE_ONLY)


def test_the_digest_of_the_fold_covers_every_module_that_the_position_book_imports() -> None:
    """A snapshot of other code is not used, so a changed fold needs another digest."""
    found, waiting = set(), [PositionBook.__module__]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        tree = ast.parse(inspect.getsource(sys.modules[name]))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kamou"):
                names = {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
                waiting += [each for each in names if each in sys.modules]
    packages = {name for name in found if hasattr(sys.modules[name], "__path__")}
    assert {each.__name__ for each in module.FOLDED_BY} == found - packages
