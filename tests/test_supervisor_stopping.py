"""The supervisor: kinds of exits, orderly stops and the snapshot."""

from __future__ import annotations

import json
import math

import pytest
import trio
from trio.testing import MockClock

from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.supervision import (
    ChildSpec,
    ChildState,
    ExitKind,
    RestartStrategy,
)
from kamou.supervisor import Supervisor
from tests.scripted_children import Crash, ScriptedChildren, abc, spec, supervised


@pytest.fixture
def scripted() -> ScriptedChildren:
    return ScriptedChildren()


# --- what counts as a crash ---------------------------------------------------------------


async def test_a_crash_mixed_with_a_cancellation_is_a_crash(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async def start(task_status: trio.TaskStatus[None]) -> None:
        async def messy() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Crash("while cancelled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(messy)
            nursery.start_soon(trio.sleep_forever)
            task_status.started()

    supervisor = Supervisor(spec(ChildSpec(id="a", start=start)), on_exit=scripted.exits.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        nursery.cancel_scope.cancel()
    (seen,) = scripted.exits
    assert seen.kind is ExitKind.CRASHED
    assert isinstance(seen.error, Crash)


async def test_an_exception_group_of_a_child_is_reported_as_a_group(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async with supervised(scripted, spec(scripted.child("a"))):
        await scripted.end_child("a", ExceptionGroup("two", [Crash(1), Crash(2)]))
        assert isinstance(scripted.exits[0].error, ExceptionGroup)


@pytest.mark.parametrize("final", [KeyboardInterrupt, SystemExit])
async def test_a_keyboard_interrupt_or_a_system_exit_ends_the_supervisor(
    final: type[BaseException], scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    caught: list[BaseException] = []
    supervisor = Supervisor(spec(*abc(scripted)), on_exit=scripted.exits.append)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await scripted.end_child("b", final())
    except* (KeyboardInterrupt, SystemExit) as group:
        caught.append(group)
    assert len(caught) == 1
    assert [e.kind for e in scripted.exits] == [ExitKind.SHUTDOWN] * 3


# --- stopping ------------------------------------------------------------------------------


async def test_a_child_with_a_stop_function_ends_before_it_is_canceled(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    asked = trio.Event()

    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await asked.wait()
        await trio.sleep(4)
        scripted.did.append("flushed")

    polite = ChildSpec(id="a", start=start, stop=asked.set, shutdown_s=5.0)
    async with supervised(scripted, spec(polite)):
        pass
    assert scripted.took() == "flushed"
    assert trio.current_time() == 4


async def test_a_child_that_outlives_its_grace_is_canceled(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(400)

    deaf = ChildSpec(id="a", start=start, stop=lambda: None, shutdown_s=5.0)
    async with supervised(scripted, spec(deaf)):
        pass
    assert trio.current_time() == 5
    assert [e.kind for e in scripted.exits] == [ExitKind.SHUTDOWN]


def stubborn(seconds: float) -> ChildSpec:
    """Return a child that shields itself from cancellation for some seconds."""

    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        await trio.lowlevel.checkpoint()

    return ChildSpec(id="stubborn", start=start, shutdown_s=5.0)


async def test_a_stuck_child_is_reported_and_does_not_delay_the_others(
    scripted: ScriptedChildren,
    autojump_clock: MockClock,
) -> None:
    async with supervised(scripted, spec(scripted.child("a"), stubborn(100))) as supervisor:
        await supervisor.stop()
        assert trio.current_time() == 5
        assert scripted.took() == "+a -a"
        assert [e.kind for e in scripted.exits] == [ExitKind.STUCK, ExitKind.SHUTDOWN]
    assert trio.current_time() == 100


async def test_a_stuck_child_is_not_started_again_before_it_has_ended(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    root = spec(scripted.child("a"), stubborn(100), strategy=RestartStrategy.ONE_FOR_ALL)
    async with supervised(scripted, root) as supervisor:
        await scripted.end_child("a", Crash(), settle_s=50)
        assert scripted.exits[-1].kind is ExitKind.STUCK
        assert scripted.took() == "+a -a"
        await trio.sleep(60)
        assert scripted.took() == "+a"
        assert [c.incarnation for c in supervisor.snapshot().children] == [2, 2]


async def test_a_child_that_starts_while_it_is_being_stopped_does_not_count_as_running(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    states: list[ChildState] = []

    async def start(task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        task_status.started()
        states.append(supervisor.snapshot().children[0].state)
        await trio.sleep_forever()

    supervisor = Supervisor(spec(ChildSpec(id="a", start=start)), on_exit=scripted.exits.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(1)
        await supervisor.stop()
    assert states == [ChildState.STOPPING]
    assert [e.kind for e in scripted.exits] == [ExitKind.SHUTDOWN]


async def test_stopping_while_a_child_backs_off_or_starts_does_not_start_it(
    scripted: ScriptedChildren,
    autojump_clock: MockClock,
) -> None:
    root = spec(scripted.child("a"), scripted.child("b", slow_s=5), backoff_base_s=10.0)
    async with supervised(scripted, root):
        scripted.took()
        await scripted.end_child("b", Crash(), settle_s=11)
        await scripted.end_child("a", Crash())
    assert scripted.took() == "-b -a -b"


async def test_a_child_that_crashed_is_backing_off_while_its_siblings_stop_and_until_it_starts(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    root = spec(scripted.child("a"), stubborn(3), strategy=RestartStrategy.ONE_FOR_ALL)
    async with supervised(scripted, root) as supervisor:
        await scripted.end_child("a", Crash(), settle_s=1.0)
        states = [child.state for child in supervisor.snapshot().children]
        assert states == [ChildState.BACKING_OFF, ChildState.STOPPING]
        await trio.sleep(3.0)
        states = [child.state for child in supervisor.snapshot().children]
        assert states == [ChildState.RUNNING] * 2


async def test_after_a_stop_every_child_is_stopped_even_one_that_was_backing_off(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    root = spec(scripted.child("a"), scripted.child("b"), backoff_base_s=10.0)
    async with supervised(scripted, root) as supervisor:
        await scripted.end_child("b", Crash())
        assert supervisor.snapshot().children[1].state is ChildState.BACKING_OFF
    assert [child.state for child in supervisor.snapshot().children] == [ChildState.STOPPED] * 2


# --- snapshot and mailboxes --------------------------------------------------------------------


async def test_the_snapshot_as_a_dict_is_plain_data_about_the_whole_tree(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    inbox: Mailbox[str] = Mailbox("inbox", 4, now_ms=lambda: 0)
    inbox.put_nowait("waits")
    inbox.count_handled(1_500_000_000)
    nested = spec(scripted.child("a", mailboxes=(inbox,)), id="nested")
    async with supervised(
        scripted, spec(nested, strategy=RestartStrategy.REST_FOR_ONE)
    ) as supervisor:
        await trio.sleep(2)
        await scripted.end_child("a", Crash("burnt"))
        snapshot = supervisor.snapshot().as_dict()
        assert json.loads(json.dumps(snapshot)) == snapshot
        assert (snapshot["id"], snapshot["strategy"], snapshot["state"]) == (
            "root",
            "rest_for_one",
            "running",
        )
        (inner,) = snapshot["children"]
        assert (inner["kind"], inner["state"], inner["strategy"]) == (
            "supervisor",
            "running",
            "one_for_one",
        )
        (worker,) = inner["children"]
        assert worker["kind"] == "worker"
        assert (worker["incarnation"], worker["restarts"]) == (2, 1)
        assert worker["last_error"] == "Crash: burnt"
        assert worker["started_at_ms"] == 2_100
        assert worker["busy_s"] == 1.5
        assert worker["mailboxes"][0]["depth"] == 1


async def test_the_mailboxes_of_a_child_that_ends_are_down(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    inbox: Mailbox[str] = Mailbox("inbox", 4, now_ms=lambda: 0)
    async with supervised(scripted, spec(scripted.child("a", mailboxes=(inbox,)))):
        inbox.mark_up()
        await scripted.end_child("a", Crash())
        assert not inbox.up


def test_the_grace_of_a_supervisor_covers_that_of_its_children(scripted: ScriptedChildren) -> None:
    nested = spec(*abc(scripted, shutdown_s=5.0), id="nested")
    assert nested.shutdown_s == 30
    assert spec(nested, scripted.child("x", shutdown_s=1.0)).shutdown_s == 62
    assert spec().shutdown_s == 0 < math.inf


def test_a_supervisor_with_two_children_of_one_id_fails(scripted: ScriptedChildren) -> None:
    with pytest.raises(AssertionError, match="not unique"):
        Supervisor(spec(scripted.child("a"), scripted.child("a")))
