"""Followers of one journal share one fold, which nothing but the fold changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kamou.actors.followers import BookFollower
from kamou.app import SystemInputs, Tree
from kamou.core.book.position_book import PositionBook
from kamou.core.model import OrderRole
from tests.actors.journal_bench import Bench
from tests.actors.system_harness import run_system
from tests.store.story import day


def folded_alone(bench: Bench) -> bytes:
    book = PositionBook()
    book.apply_all((c.seq, c.event) for c in bench.writer.read(0))
    return book.dump()


class StepwiseComparison(trio.abc.Instrument):
    """Compares the shared book with a fold of its own after each step of a task."""

    def __init__(self) -> None:
        self.tree: Tree | None = None
        self.alone = PositionBook()
        self.steps = self.changes = 0

    def arrange(self, tree: Tree, _inputs: SystemInputs) -> Tree:
        self.tree = tree
        return tree

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        shared = None if self.tree is None else self.tree.journal.shared_book
        if self.tree is None or shared is None:
            return
        for committed in self.tree.journal.tail(self.alone.seq):
            if committed.seq <= shared.seq:
                self.alone.apply(committed.seq, committed.event)
                self.changes += 1
        assert shared == self.alone, f"after a step of {task.name} at event {shared.seq}"
        self.steps += 1


def test_after_each_step_of_a_run_the_shared_book_equals_a_fold_of_the_journal() -> None:
    compared = StepwiseComparison()
    ended = run_system(arrange=compared.arrange, instruments=[compared])
    assert ended.crashes == []
    assert compared.steps > 500
    assert compared.changes > 200
    roles = {order.intent.role for order in compared.alone.orders.settled.values()}
    assert OrderRole.ENTRY in roles, "nothing was traded"


async def test_an_event_is_folded_once_for_all_followers_of_a_journal(
    make: Callable[..., Bench], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    async with bench.running():
        await bench.journal.commit(day(1))
        followers = [BookFollower(bench.journal) for _ in range(4)]
        for follower in followers:
            await follower.recover()
        applied: list[int] = []
        apply = PositionBook.apply

        def counted(book: PositionBook, seq: int, event: Any) -> None:
            applied.append(seq)
            apply(book, seq, event)

        monkeypatch.setattr(PositionBook, "apply", counted)
        await bench.journal.commit(day(2), day(3))
        books = [follower.catch_up() for follower in followers]
    assert applied == [2, 3]
    monkeypatch.undo()
    assert all(book.dump() == folded_alone(bench) for book in books)


async def test_a_recovery_replaces_a_shared_book_whose_state_was_damaged(
    make: Callable[..., Bench], autojump_clock: MockClock
) -> None:
    bench = make()
    async with bench.running():
        await bench.journal.commit(day(1), day(2))
        before, restarted = BookFollower(bench.journal), BookFollower(bench.journal)
        (await before.recover()).started_at_ms = 77
        await restarted.recover()
        assert before.catch_up().dump() == folded_alone(bench)


async def test_after_an_event_that_cannot_be_folded_each_follower_must_recover(
    make: Callable[..., Bench], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()
    async with bench.running():
        await bench.journal.commit(day(1))
        first, second = BookFollower(bench.journal), BookFollower(bench.journal)
        await first.recover()
        await second.recover()
        await bench.journal.commit(day(2))

        def half(book: PositionBook, seq: int, event: Any) -> None:
            book.started_at_ms = 77
            raise AssertionError("the event is wrong")

        monkeypatch.setattr(PositionBook, "apply", half)
        with pytest.raises(AssertionError, match="the event is wrong"):
            first.catch_up()
        monkeypatch.undo()
        with pytest.raises(AssertionError, match="each follower must recover"):
            second.catch_up()
        await second.recover()
        assert first.catch_up().dump() == second.catch_up().dump() == folded_alone(bench)
