"""Children that crash at the same moment, counted as OTP counts them.

If a restart covers a child, and the child ends before that restart has started it again, its end
is part of the restart: it is reported and not counted. The expected results are those of OTP 25.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import pytest
import trio
from trio.testing import MockClock

from kamou.runtime.determinism import seed_scheduler
from kamou.runtime.supervision import (
    ChildSpec,
    ChildState,
    ExitKind,
    Restart,
    RestartStormError,
    RestartStrategy,
)
from kamou.supervisor import Supervisor
from tests.scripted_children import Crash, ScriptedChildren, spec, supervised

ALL, REST, ONE = (
    RestartStrategy.ONE_FOR_ALL,
    RestartStrategy.REST_FOR_ONE,
    RestartStrategy.ONE_FOR_ONE,
)


SEEDS = range(60)  # of the scheduler: some of them end the children in the order of each row


class Together(ScriptedChildren):
    """Ends several children in one moment: each has ended before any restart begins."""

    async def crash(self, names: str) -> str:
        """Crash the children, one for each letter of ``names``; return the order of their ends."""
        before = len(self.exits)
        for name in names:
            self.acts[name] = Crash(name)
            self.orders[name].set()
        await trio.sleep(30)
        ends = [e.child for e in self.exits[before:] if e.kind is ExitKind.CRASHED]
        return "".join(ends[: len(names)])


async def survives(strategy: RestartStrategy, names: str, steps: Iterable[str]) -> bool | None:
    """Return True if all of these children are running after the steps.

    Return None if the scheduler ended them in another order than that of ``steps``.
    """
    scripted = Together()
    children = [scripted.child(name) for name in names]
    root = spec(*children, strategy=strategy, intensity=2, period_s=1_000.0)
    supervisor = Supervisor(root, on_exit=scripted.exits.append)
    running, asked = False, True
    with contextlib.suppress(BaseExceptionGroup):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            for step in steps:
                with trio.CancelScope(shield=True):
                    asked = asked and await scripted.crash(step) == step
                await trio.lowlevel.checkpoint()
            states = [child.state for child in supervisor.snapshot().children]
            running = states == [ChildState.RUNNING] * len(names)
            await supervisor.stop()
    return running if asked else None


@pytest.mark.parametrize(
    ("strategy", "names", "steps", "running"),
    [
        (ALL, "abc", ["abc"], True),  # one restart is counted
        (ALL, "abc", ["bc", "a"], True),  # two
        (ALL, "abc", ["bc", "a", "c"], False),  # three
        (REST, "abcd", ["acd"], True),  # one: c and d restart with a
        (REST, "abcd", ["acd", "bd"], True),  # two
        (REST, "abcd", ["ca"], True),  # two: a does not restart with c
        (REST, "abcd", ["ca", "d"], False),  # three
        (REST, "abcd", ["dcb"], False),  # three: none of them restarts with the one before it
        (ONE, "abc", ["ab"], True),  # two
        (ONE, "abc", ["abc"], False),  # three: each has a restart of its own
    ],
)
async def test_crashes_at_the_same_moment_are_counted_as_otp_counts_them(
    strategy: RestartStrategy,
    names: str,
    steps: list[str],
    running: bool,
    autojump_clock: MockClock,
) -> None:
    for seed in SEEDS:
        seed_scheduler(seed)
        found = await survives(strategy, names, steps)
        if found is not None:
            break
    assert found is running


async def test_a_crash_that_is_part_of_a_restart_is_reported_and_not_counted(
    autojump_clock: MockClock,
) -> None:
    scripted = Together()
    children = [scripted.child(name) for name in "abc"]
    async with supervised(scripted, spec(*children, strategy=ALL, intensity=1)) as supervisor:
        assert sorted(await scripted.crash("abc")) == ["a", "b", "c"]
        assert supervisor.snapshot().restarts_recent == 1


async def test_a_crash_of_a_restarted_child_counts_while_its_siblings_still_start(
    autojump_clock: MockClock,
) -> None:
    scripted = Together()
    children = [scripted.child("a"), scripted.child("b", slow_s=5), scripted.child("c")]
    root = spec(*children, strategy=ALL, intensity=1, period_s=1_000.0)
    supervisor = Supervisor(root)
    with pytest.RaisesGroup(RestartStormError):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await scripted.end_child("a", Crash("first"), settle_s=2)  # a runs again, b starts
            assert supervisor.snapshot().restarts_recent == 1
            await scripted.end_child("a", Crash("second"), settle_s=2)


@pytest.mark.parametrize("listening", [False, True])
async def test_a_crash_between_the_start_of_a_child_and_of_the_next_one_counts_each_time(
    listening: bool, autojump_clock: MockClock
) -> None:
    """The restart had started the child, so the child's end is not part of it."""
    scripted, starts = Together(), 0

    async def hasty(task_status: trio.TaskStatus[None]) -> None:
        nonlocal starts
        starts += 1
        if starts == 1 or listening:
            task_status.started()
        if starts == 1:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        raise Crash("b")

    children = [
        scripted.child("a"),
        ChildSpec(id="b", start=hasty),
        scripted.child("c", slow_s=1.0),
    ]
    root = spec(*children, strategy=ALL, intensity=2, period_s=1_000.0)
    with pytest.RaisesGroup(RestartStormError):
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(root)
            await nursery.start(supervisor.run)
            await scripted.end_child("a", Crash(), settle_s=60)
    assert starts == 3  # the first, and two within the two restarts that are allowed


@pytest.mark.parametrize("asked", [False, True])
async def test_a_child_that_crashes_while_a_restart_stops_it_is_reported_and_not_counted(
    asked: bool, autojump_clock: MockClock
) -> None:
    scripted, stop = Together(), trio.Event()

    async def brittle(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await stop.wait()
        finally:
            raise Crash("while it stops")

    children = [
        scripted.child("a"),
        ChildSpec(id="b", start=brittle, stop=stop.set if asked else None),
    ]
    supervisor = Supervisor(spec(*children, strategy=ALL), on_exit=scripted.exits.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await scripted.end_child("a", Crash(), settle_s=0.05)  # within the back-off of 0.1 s
        assert [(e.child, e.kind) for e in scripted.exits] == [
            ("a", ExitKind.CRASHED),
            ("b", ExitKind.CRASHED),
        ]
        assert supervisor.snapshot().restarts_recent == 1
        await supervisor.stop()


async def test_a_restart_exactly_one_period_ago_still_counts(autojump_clock: MockClock) -> None:
    """OTP counts a restart for one period after it, including the end of the period."""
    scripted = Together()
    root = spec(scripted.child("a"), intensity=5, period_s=60.0, backoff_base_s=0.0)
    async with supervised(scripted, root) as supervisor:
        found = []
        for settle_s in (60.0, 60.5, 1.0):
            await scripted.end_child("a", Crash(), settle_s=settle_s)
            found.append(supervisor.snapshot().restarts_recent)
        assert found == [1, 2, 1]


@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.TRANSIENT])
async def test_a_child_that_crashes_with_its_sibling_starts_again_if_its_restart_type_allows(
    restart: Restart, autojump_clock: MockClock
) -> None:
    scripted = Together()
    children = [scripted.child("a"), scripted.child("b", restart=restart)]
    supervisor = Supervisor(spec(*children, strategy=ALL, intensity=1))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await scripted.crash("ab")
        states = [child.state for child in supervisor.snapshot().children]
        again = ChildState.RUNNING if restart is Restart.TRANSIENT else ChildState.STOPPED
        assert states == [ChildState.RUNNING, again]
        await supervisor.stop()
