"""The supervisor: order, restart types and strategies, starts, back-off and escalation."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from kamou.runtime.supervision import (
    ChildSpec,
    ChildState,
    ExitKind,
    Restart,
    RestartStormError,
    RestartStrategy,
    StartTimeoutError,
)
from kamou.supervisor import Supervisor
from tests.scripted_children import Crash, ScriptedChildren, abc, spec, supervised


@pytest.fixture
def scripted() -> ScriptedChildren:
    return ScriptedChildren()


# --- order -----------------------------------------------------------------------------------


async def test_children_start_left_to_right_each_listening_before_the_next(
    scripted: ScriptedChildren,
    autojump_clock: MockClock,
) -> None:
    root = spec(scripted.child("a", slow_s=3), scripted.child("b", slow_s=1), scripted.child("c"))
    async with supervised(scripted, root):
        assert trio.current_time() == 4
        assert scripted.took() == "+a +b +c"


async def test_children_stop_right_to_left(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async with supervised(scripted, spec(*abc(scripted))) as supervisor:
        scripted.took()
        await supervisor.stop()
        assert scripted.took() == "-c -b -a"
    assert {exit_.kind for exit_ in scripted.exits} == {ExitKind.SHUTDOWN}
    assert [exit_.error for exit_ in scripted.exits] == [None] * 3


async def test_a_supervisor_without_children_starts_and_stops(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async with supervised(scripted, spec()) as supervisor:
        assert supervisor.snapshot().is_running
    await supervisor.stop()
    assert supervisor.snapshot().state is ChildState.STOPPED


async def test_a_supervisor_may_run_again_after_it_stopped(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    supervisor = Supervisor(spec(*abc(scripted)), on_exit=scripted.exits.append)
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await supervisor.stop()
        assert scripted.took() == "+a +b +c -c -b -a"
    assert [exit_.incarnation for exit_ in scripted.exits] == [1, 1, 1, 2, 2, 2]


async def test_canceling_the_run_ends_all_children_without_a_restart(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    supervisor = Supervisor(spec(*abc(scripted)), on_exit=scripted.exits.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        nursery.cancel_scope.cancel()
    assert sorted(scripted.took().split()) == ["+a", "+b", "+c", "-a", "-b", "-c"]
    assert {exit_.kind for exit_ in scripted.exits} == {ExitKind.SHUTDOWN}


# --- restart types ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "error", "again"),
    [
        (Restart.PERMANENT, Crash(), True),
        (Restart.PERMANENT, None, True),
        (Restart.TRANSIENT, Crash(), True),
        (Restart.TRANSIENT, None, False),
        (Restart.TEMPORARY, Crash(), False),
        (Restart.TEMPORARY, None, False),
    ],
)
async def test_the_restart_type_decides_whether_an_ended_child_starts_again(
    restart: Restart,
    error: Exception | None,
    again: bool,
    scripted: ScriptedChildren,
    autojump_clock: MockClock,
) -> None:
    async with supervised(scripted, spec(scripted.child("a", restart=restart))) as supervisor:
        scripted.took()
        await scripted.end_child("a", error)
        assert scripted.took() == ("-a +a" if again else "-a")
        (seen,) = scripted.exits
        assert seen.kind is (ExitKind.CRASHED if error else ExitKind.NORMAL)
        assert seen.error is error
        (child,) = supervisor.snapshot().children
        assert child.state is (ChildState.RUNNING if again else ChildState.STOPPED)


async def test_a_temporary_child_that_a_restart_of_its_siblings_stops_is_not_started_again(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    children = [
        scripted.child("a"),
        scripted.child("t", restart=Restart.TEMPORARY),
        scripted.child("c"),
    ]
    async with supervised(scripted, spec(*children, strategy=RestartStrategy.ONE_FOR_ALL)):
        scripted.took()
        await scripted.end_child("a", Crash())
        assert scripted.took() == "-a -c -t +a +c"


async def test_a_tree_starts_although_a_restart_stopped_a_temporary_child_that_was_starting(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    root = spec(
        scripted.child("a"),
        scripted.child("b", slow_s=2, restart=Restart.TEMPORARY),
        strategy=RestartStrategy.REST_FOR_ONE,
    )
    supervisor = Supervisor(root)

    async def crash_soon() -> None:
        await trio.sleep(1)
        await scripted.end_child("a", Crash())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_soon)
        with trio.fail_after(10):
            await nursery.start(supervisor.run)
        assert scripted.took() == "+a -a -b +a"
        await supervisor.stop()


async def test_a_child_that_returns_before_it_reported_started_lets_the_next_one_start(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async def job(task_status: trio.TaskStatus[None]) -> None:
        scripted.did.append("job")

    once = ChildSpec(id="job", start=job, restart=Restart.TRANSIENT)
    async with supervised(scripted, spec(once, scripted.child("b"))):
        assert scripted.took() == "job +b"


# --- restart strategies ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "took"),
    [
        (RestartStrategy.ONE_FOR_ONE, "-b +b"),
        (RestartStrategy.ONE_FOR_ALL, "-b -c -a +a +b +c"),
        (RestartStrategy.REST_FOR_ONE, "-b -c +b +c"),
    ],
)
async def test_the_restart_strategy_decides_which_children_restart_with_a_crashed_one(
    strategy: RestartStrategy, took: str, scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async with supervised(scripted, spec(*abc(scripted), strategy=strategy)):
        scripted.took()
        await scripted.end_child("b", Crash())
        assert scripted.took() == took


async def test_a_child_that_crashes_during_a_group_restart_is_restarted_with_the_group(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    children = [scripted.child("a"), scripted.child("b", slow_s=5), scripted.child("c")]
    async with supervised(scripted, spec(*children, strategy=RestartStrategy.REST_FOR_ONE)):
        scripted.took()
        await scripted.end_child("b", Crash(), settle_s=2)  # b is starting, c waits for it
        assert scripted.took() == "-b -c"
        await scripted.end_child("a", Crash(), settle_s=10)
        assert scripted.took() == "-a -b +a +b +c"


async def test_a_crash_of_a_running_child_does_not_disturb_the_first_start_of_others(
    scripted: ScriptedChildren,
    autojump_clock: MockClock,
) -> None:
    root = spec(scripted.child("a"), scripted.child("b", slow_s=5), scripted.child("c"))
    supervisor = Supervisor(root, on_exit=scripted.exits.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(1)
        await scripted.end_child("a", Crash())
        assert supervisor.snapshot().state is ChildState.STARTING
        await trio.sleep(10)
        assert scripted.took() == "+a -a +a +b +c"
        await supervisor.stop()


# --- starting --------------------------------------------------------------------------------


async def test_a_start_that_takes_too_long_is_a_crash(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    root = spec(scripted.child("a", slow_s=50, start_timeout_s=10), scripted.child("b"))
    supervisor = Supervisor(root, on_exit=scripted.exits.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(15)
        (seen,) = scripted.exits
        assert isinstance(seen.error, StartTimeoutError)
        assert seen.incarnation == 1
        first, second = supervisor.snapshot().children
        assert (first.state, first.incarnation) == (ChildState.STARTING, 2)
        assert "not listening after 10 s" in first.last_error
        assert second.incarnation == 0, "b waits for a"
        await supervisor.stop()
    assert scripted.exits[-1].kind is ExitKind.SHUTDOWN


async def test_a_start_that_raises_is_a_crash_and_later_children_wait_until_it_succeeds(
    scripted: ScriptedChildren,
    autojump_clock: MockClock,
) -> None:
    tries = iter([Crash("no disk"), Crash("no disk"), None])

    async def start(task_status: trio.TaskStatus[None]) -> None:
        if (error := next(tries)) is not None:
            raise error
        task_status.started()
        await trio.sleep_forever()

    async with supervised(scripted, spec(ChildSpec(id="a", start=start), scripted.child("b"))):
        assert scripted.took() == "+b"
        assert [exit_.incarnation for exit_ in scripted.exits] == [1, 2]


async def test_a_start_timeout_does_not_end_a_child_that_has_started(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async with supervised(scripted, spec(scripted.child("a", start_timeout_s=10))):
        await trio.sleep(1_000)
        assert scripted.exits == []


# --- back-off --------------------------------------------------------------------------------


async def test_back_off_doubles_to_its_cap_and_begins_again_after_a_time_without_crashes(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    root = spec(
        scripted.child("a"),
        intensity=100,
        backoff_base_s=1.0,
        backoff_cap_s=4.0,
        backoff_reset_s=60.0,
    )
    async with supervised(scripted, root) as supervisor:

        async def wait_after_crash() -> float:
            crashed_s = trio.current_time()
            await scripted.end_child("a", Crash(), settle_s=5)
            (child,) = supervisor.snapshot().children
            assert child.started_at_ms is not None
            return child.started_at_ms / 1000 - crashed_s

        assert [await wait_after_crash() for _ in range(4)] == [1, 2, 4, 4]
        await trio.sleep(60)
        assert await wait_after_crash() == 1


async def test_a_thousand_crashes_in_a_row_do_not_overflow_the_back_off(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async def start(task_status: trio.TaskStatus[None]) -> None:
        raise Crash

    root = spec(ChildSpec(id="a", start=start), intensity=10**6, backoff_cap_s=1.0)
    supervisor = Supervisor(root, on_exit=scripted.exits.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(1_200)
        await supervisor.stop()
    assert len(scripted.exits) > 1_100


async def test_the_back_off_of_a_child_does_not_delay_another(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    root = spec(*abc(scripted), intensity=100, backoff_base_s=0.1, backoff_cap_s=1_000)
    async with supervised(scripted, root) as supervisor:
        for _ in range(8):
            await scripted.end_child("a", Crash(), settle_s=13)
        assert supervisor.snapshot().children[0].state is ChildState.RUNNING
        await scripted.end_child("a", Crash(), settle_s=1)
        assert supervisor.snapshot().children[0].state is ChildState.BACKING_OFF
        scripted.took()
        await scripted.end_child("c", Crash(), settle_s=1)
        assert scripted.took() == "-c +c"


# --- intensity and escalation ----------------------------------------------------------------


async def test_too_many_restarts_in_the_period_stop_all_children_and_raise_a_restart_storm(
    scripted: ScriptedChildren,
    autojump_clock: MockClock,
) -> None:
    supervisor = Supervisor(spec(*abc(scripted), intensity=2), on_exit=scripted.exits.append)
    with pytest.RaisesGroup(
        pytest.RaisesExc(RestartStormError, match="last of b: Crash: 3")
    ) as info:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            for n in (1, 2, 3):
                scripted.took()
                with trio.CancelScope(shield=True):
                    await scripted.end_child("b", Crash(n))
    assert scripted.took() == "-b -c -a"
    assert isinstance(info.value.exceptions[0].__cause__, Crash)


async def test_restarts_spread_over_more_than_the_period_raise_no_restart_storm(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    root = spec(scripted.child("a"), intensity=2, period_s=10.0, backoff_cap_s=1.0)
    async with supervised(scripted, root) as supervisor:
        for _ in range(10):
            await scripted.end_child("a", Crash(), settle_s=8)
        assert supervisor.snapshot().children[0].incarnation == 11


@pytest.mark.parametrize("listening", [False, True])
async def test_a_child_that_crashes_whenever_it_starts_ends_the_whole_tree(
    listening: bool, autojump_clock: MockClock
) -> None:
    """The waiting time of a back-off does not count as time without crashes."""
    starts = 0

    async def start(task_status: trio.TaskStatus[None]) -> None:
        nonlocal starts
        starts += 1
        if listening:
            task_status.started()
        await trio.lowlevel.checkpoint()
        raise Crash()

    core = spec(ChildSpec(id="a", start=start), id="core")
    with pytest.raises(RestartStormError, match="last of core"):
        await Supervisor(spec(core)).run()
    assert starts == 6 * 6


async def test_a_child_that_keeps_returning_ends_the_supervisor_with_a_restart_storm(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async def start(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    with pytest.raises(RestartStormError, match="last of a: it returned"):
        await Supervisor(spec(ChildSpec(id="a", start=start))).run()


async def test_a_restart_storm_in_a_nested_supervisor_is_one_crash_for_its_parent(
    scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    nested = spec(*abc(scripted), id="nested", intensity=0)
    root = spec(
        scripted.child("x"), nested, scripted.child("y"), strategy=RestartStrategy.REST_FOR_ONE
    )
    async with supervised(scripted, root):
        assert scripted.took() == "+x +a +b +c +y"
        await scripted.end_child("b", Crash())
        assert scripted.took() == "-b -c -a -y +a +b +c +y"
        ends = [(e.supervisor, e.child, e.kind.value) for e in scripted.exits]
        assert ends == [
            ("nested", "b", "crashed"),
            ("nested", "c", "shutdown"),
            ("nested", "a", "shutdown"),
            ("root", "nested", "crashed"),
            ("root", "y", "shutdown"),
        ]
    assert scripted.took() == "-y -c -b -a -x", "a nested supervisor stops in order as well"
