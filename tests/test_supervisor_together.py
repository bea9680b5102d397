"""Children that crash at the same moment, counted as OTP counts them.

If a restart covers a child, and the child ends before that restart has started it again, its end
is part of the restart: it is reported and not counted. The rows are OTP 25's own answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import pytest
import trio
from scripted_children import Crash, ScriptedChildren, spec, supervised
from trio.testing import MockClock

from kamou.runtime.supervision import (
    ChildSpec,
    ExitKind,
    Restart,
    RestartStormError,
    RestartStrategy,
)
from kamou.supervisor import Supervisor

ALL, REST, ONE = (
    RestartStrategy.ONE_FOR_ALL,
    RestartStrategy.REST_FOR_ONE,
    RestartStrategy.ONE_FOR_ONE,
)


TRIES_MAX = 60  # Trio runs what is ready in one of two orders, by chance


class Together(ScriptedChildren):
    """Ends several children in one moment: each has ended before any restart begins."""

    async def crash(self, names: str) -> str:
        """Crash them all; return the order in which they ended."""
        before = len(self.exits)
        for name in names:
            self.acts[name] = Crash(name)
            self.orders[name].set()
        await trio.sleep(30)
        ends = [e.child for e in self.exits[before:] if e.kind is ExitKind.CRASHED]
        return "".join(ends[: len(names)])


async def survives(strategy: RestartStrategy, names: str, steps: Iterable[str]) -> bool | None:
    """Return True if all of these children are running after the steps.

    None: chance gave another order of the ends than that of ``steps``.
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
            states = [child["state"] for child in supervisor.snapshot()["children"]]
            running = states == ["running"] * len(names)
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
    for _ in range(TRIES_MAX):
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
        assert supervisor.snapshot()["restarts_recent"] == 1


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
            assert supervisor.snapshot()["restarts_recent"] == 1
            await scripted.end_child("a", Crash("second"), settle_s=2)


async def test_a_start_that_fails_within_a_restart_counts_each_time(
    autojump_clock: MockClock,
) -> None:
    """The restart had started the child, so the child's end is not part of it."""
    scripted, starts = Together(), 0

    async def never(task_status: trio.TaskStatus[None]) -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            task_status.started()
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        raise Crash("b")

    children = [scripted.child("a"), ChildSpec(id="b", start=never), scripted.child("c")]
    root = spec(*children, strategy=ALL, intensity=2, period_s=1_000.0)
    with pytest.RaisesGroup(RestartStormError):
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(root)
            await nursery.start(supervisor.run)
            await scripted.end_child("a", Crash(), settle_s=60)
    assert starts == 3  # the first, and two within the two restarts that are allowed


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
        states = [child["state"] for child in supervisor.snapshot()["children"]]
        assert states == ["running", "running" if restart is Restart.TRANSIENT else "stopped"]
        await supervisor.stop()
