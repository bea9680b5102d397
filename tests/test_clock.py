"""Clocks of actors and of simulations, and boundaries of periods."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from kamou.clock import (
    SLEW,
    JumpClock,
    SimulatedClock,
    SystemClock,
    floor_ms,
    next_ms,
    read_stopwatch_ns,
)
from kamou.core.day import DAY_MS, HOUR_MS

SECOND_NS = 1_000_000_000
NOW_MS = 1_767_312_000_000


@attrs.define
class Machine:
    """A machine's wall clock, which may be set, and its steady clock, which may not."""

    wall_ns: int = NOW_MS * 1_000_000
    steady_ns: int = 5 * SECOND_NS

    def passes(self, seconds: float) -> None:
        self.wall_ns += round(seconds * SECOND_NS)
        self.steady_ns += round(seconds * SECOND_NS)

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.wall_ns, lambda: self.steady_ns)


def test_floor_ms_and_next_ms_return_multiples_of_the_period() -> None:
    assert floor_ms(3 * DAY_MS + 5, DAY_MS) == 3 * DAY_MS
    assert floor_ms(3 * DAY_MS, DAY_MS) == 3 * DAY_MS
    assert next_ms(3 * DAY_MS, DAY_MS) == 4 * DAY_MS, "strictly after"
    assert next_ms(3 * DAY_MS - 1, DAY_MS) == 3 * DAY_MS


def test_the_system_clock_follows_the_wall_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.now_ms() == NOW_MS
    machine.passes(1.5)
    assert clock.now_ms() == NOW_MS + 1_500


def test_a_wall_clock_set_ahead_is_followed_at_once() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ns += 60 * SECOND_NS
    assert clock.now_ms() == NOW_MS + 60_000


def test_a_wall_clock_set_back_slows_the_system_clock_until_both_agree() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ns -= 10 * SECOND_NS
    assert clock.now_ms() == NOW_MS
    before = clock.now_ms()
    machine.passes(10)
    after = clock.now_ms()
    assert before < after < NOW_MS + 10_000
    assert after == pytest.approx(NOW_MS + 10_000 * (1 - SLEW), abs=1)
    for _ in range(100):
        machine.passes(1 / SLEW)
        clock.now_ms()
    assert clock.now_ms() == machine.wall_ns // 1_000_000, "in the end they agree"


async def test_the_system_clock_sleeps_until_the_wall_clock_has_the_time(
    autojump_clock: MockClock,
) -> None:
    clock = SystemClock(
        lambda: NOW_MS * 1_000_000 + round(trio.current_time() * SECOND_NS),
        lambda: round(trio.current_time() * SECOND_NS),
    )
    due_ms = clock.now_ms() + 3 * HOUR_MS
    await clock.sleep_until(due_ms)
    assert clock.now_ms() >= due_ms
    before = trio.current_time()
    await clock.sleep_until(due_ms - 1)
    assert trio.current_time() == before, "a time in the past is not waited for"


async def test_the_simulated_clock_advances_with_trios_clock(autojump_clock: MockClock) -> None:
    clock = SimulatedClock(start_ms=NOW_MS, origin_s=trio.current_time())
    await clock.sleep_until(NOW_MS + 90_000)
    assert clock.now_ms() == NOW_MS + 90_000


def test_a_jump_clock_does_not_wait_and_keeps_the_order_of_deadlines() -> None:
    woke: list[float] = []

    async def wake(after_s: float) -> None:
        await trio.sleep(after_s)
        woke.append(trio.current_time())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for after_s in (3600.0, 60.0, 86_400.0):
                nursery.start_soon(wake, after_s)

    began_ns = read_stopwatch_ns()
    trio.run(main, clock=JumpClock())
    assert woke == [60.0, 3600.0, 86_400.0]
    assert read_stopwatch_ns() - began_ns < 60 * SECOND_NS


def test_a_jump_clock_jumps_to_the_next_deadline_and_never_back() -> None:
    clock = JumpClock()
    clock.start_clock()
    assert clock.deadline_to_sleep_time(float("inf")) == float("inf")
    assert clock.current_time() == 0.0
    assert clock.deadline_to_sleep_time(5.0) == 0.0
    assert clock.deadline_to_sleep_time(3.0) == 0.0
    assert clock.current_time() == 5.0, "never back"
