"""Loop lag: its measurement, its window, and its place in status and metrics."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from kamou.operator.metrics import exposition
from kamou.runs.operator_actions import CurrentRun
from kamou.runtime import loop_lag
from kamou.runtime.loop_lag import LAG_PERIOD_S, LAG_WINDOW_S, LoopLag


async def sampled(clock: MockClock, stalls_s: list[float]) -> LoopLag:
    """Return the lag of a loop that is blocked once for each stall."""
    lag = LoopLag()
    clock.autojump_threshold = float("inf")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        for stall_s in stalls_s:
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(LAG_PERIOD_S + stall_s)  # tasks that were due in between run late
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return lag


async def test_the_lag_of_a_blocked_loop_is_the_time_from_the_due_wake_up_to_the_end_of_the_stall(
    mock_clock: MockClock,
) -> None:
    figures = (await sampled(mock_clock, [0.0, 0.75, 0.25])).figures()
    assert figures is not None
    assert figures.samples == 3
    assert figures.max_s == pytest.approx(0.75)


async def test_only_the_lag_of_the_last_minute_is_reported(mock_clock: MockClock) -> None:
    calm = [0.0] * int(LAG_WINDOW_S / LAG_PERIOD_S + 2)
    figures = (await sampled(mock_clock, [3.0, *calm])).figures()
    assert figures is not None
    assert figures.max_s == pytest.approx(0.0, abs=1e-9)
    figures = (await sampled(mock_clock, [3.0, 2 * LAG_WINDOW_S])).figures()
    assert figures is not None
    assert figures.samples == 1, "a sample that is a minute older than the newest one is dropped"


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300))
def test_p99_is_the_least_lag_that_99_of_100_samples_do_not_exceed(lags_s: list[float]) -> None:
    lag = LoopLag()
    lag._samples.extend((0.0, each) for each in lags_s)
    figures = lag.figures()
    assert figures is not None
    within = [each for each in lags_s if each <= figures.p99_s]
    below = [each for each in lags_s if each < figures.p99_s]
    assert 100 * len(within) >= 99 * len(lags_s) > 100 * len(below)
    assert figures.max_s == max(lags_s)


def test_before_the_first_sample_loop_lag_has_no_figures() -> None:
    assert LoopLag().figures() is None
    assert LoopLag().gauges() == {}
    assert LoopLag().describe() == "loop lag was not sampled"
    assert "loop_lag" not in exposition({}, CurrentRun().status())


async def test_status_and_metrics_show_the_loop_lag(mock_clock: MockClock) -> None:
    running = CurrentRun(lag=await sampled(mock_clock, [0.0] * 50 + [0.5]))
    gauges = running.status()["gauges"]
    assert gauges == {"loop_lag_max_seconds": 0.5, "loop_lag_p99_seconds": 0.5}
    text = exposition(running.snapshot(), running.status())
    assert "kamou_loop_lag_max_seconds 0.5\n" in text
    assert "kamou_loop_lag_p99_seconds 0.5\n" in text


async def test_loop_lag_is_sampled_at_most_once_a_period(autojump_clock: MockClock) -> None:
    lag = LoopLag()
    with trio.move_on_after(10.0):
        await lag.run()
    figures = lag.figures()
    assert figures is not None
    assert figures.samples <= 10.0 / loop_lag.LAG_PERIOD_S
    assert loop_lag.LAG_PERIOD_S >= 0.1
