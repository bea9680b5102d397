"""Clocks: a steady wall clock, and simulated time that jumps."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from kamou.clock import DAY_MS, JumpClock, SimulatedClock, SystemClock, floor_ms, next_ms

SECOND = 1_000_000_000


class Machine:
    """A machine whose wall clock can be set by hand."""

    def __init__(self, wall_s: int = 1_000) -> None:
        self.steady_ns = 7 * SECOND
        self.wall_ns = wall_s * SECOND
        self.clock = SystemClock(lambda: self.wall_ns, lambda: self.steady_ns)

    def run(self, seconds: float) -> int:
        self.steady_ns += int(seconds * SECOND)
        self.wall_ns += int(seconds * SECOND)
        return self.clock.now_ms()


def test_the_system_clock_is_the_wall_clock_while_nobody_sets_it() -> None:
    machine = Machine()
    assert machine.clock.now_ms() == 1_000_000
    assert machine.run(2.5) == 1_002_500


def test_a_wall_clock_set_ahead_is_followed_at_once() -> None:
    machine = Machine()
    machine.wall_ns += 3_600 * SECOND
    assert machine.run(1) == 1_000_000 + 3_601_000


def test_a_wall_clock_set_back_an_hour_delays_a_timer_by_a_tenth_at_most() -> None:
    machine = Machine()
    due_ms = machine.clock.now_ms() + 300_000
    machine.wall_ns -= 3_600 * SECOND
    assert machine.run(299) < due_ms
    assert machine.run(35) >= due_ms
    assert machine.run(40_000) == machine.wall_ns // 1_000_000  # and in the end they agree


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(-7_200, 7_200)), max_size=30))
def test_the_system_clock_never_runs_back(steps: list[tuple[float, int]]) -> None:
    machine = Machine()
    before = machine.clock.now_ms()
    for seconds, set_by in steps:
        machine.wall_ns += set_by * SECOND
        now = machine.run(seconds)
        assert now >= before
        before = now


@given(st.integers(0, 10**13), st.sampled_from([1, 1_000, 300_000, DAY_MS]))
def test_boundaries_are_multiples_around_the_instant(at_ms: int, period_ms: int) -> None:
    below, above = floor_ms(at_ms, period_ms), next_ms(at_ms, period_ms)
    assert below <= at_ms < above
    assert below % period_ms == above % period_ms == 0
    assert above - below == period_ms


def test_simulated_time_jumps_over_what_nobody_waits_for() -> None:
    async def main() -> int:
        clock = SimulatedClock(start_ms=5_000)
        await clock.sleep_until(5_000 + DAY_MS)
        return clock.now_ms()

    assert trio.run(main, clock=JumpClock()) == 5_000 + DAY_MS


def test_a_jumping_clock_waits_when_nobody_has_a_deadline() -> None:
    async def main() -> float:
        asked = trio.Event()
        trio.lowlevel.current_trio_token().run_sync_soon(asked.set)
        await asked.wait()
        return trio.current_time()

    assert trio.run(main, clock=JumpClock()) == 0.0


async def test_waiting_for_the_past_returns_at_once() -> None:
    await SystemClock().sleep_until(0)
