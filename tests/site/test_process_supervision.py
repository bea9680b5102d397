"""Supervision of the public site's process: limits, replacement and reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.simulator.simulated_site import BEAT_S, START_S, Fate, Script
from kamou.site.health import STANDING_TICKS, SiteState
from kamou.site.process_supervision import SILENT_TICKS
from tests.site.sites import supervise_site

QUIET_S = 1_000.0  # longer than any episode in these tests
TROUBLE_OF_FATE = {
    Fate.CRASHES: "crashed",
    Fate.HANGS: "silent",
    Fate.GROWS: "memory",
    Fate.FLOODS: "flood",
    Fate.GARBLES: "flood",
    Fate.RACES: "flood",
    Fate.NEVER_SERVES: "not_started",
    Fate.IS_REFUSED: "not_started",
}


async def test_a_site_that_serves_is_not_replaced_and_nothing_is_reported(
    autojump_clock: MockClock,
) -> None:
    async with supervise_site([]) as site:
        await trio.sleep(QUIET_S)
        assert site.health.state is SiteState.SERVING
        assert site.health.degraded() == []
        assert site.health.as_dict()["restarts"] == 0
    assert (site.recorder.lines, site.recorder.events) == ([], [])


@pytest.mark.parametrize("fate", TROUBLE_OF_FATE)
async def test_after_every_trouble_the_process_is_replaced_and_failure_and_recovery_are_reported(
    autojump_clock: MockClock, fate: Fate
) -> None:
    async with supervise_site([Script(fate=fate, after_s=7.0)]) as site:
        await trio.sleep(QUIET_S)
        assert site.health.state is SiteState.SERVING
        assert site.health.starts == 2
        assert len(site.sites.running) == 1
    failed, recovered = site.recorder.events
    assert isinstance(failed, SiteFailed)
    assert isinstance(recovered, SiteRecovered)
    assert failed.trouble == TROUBLE_OF_FATE[fate]
    assert recovered.failed_at_ms == failed.at_ms
    assert recovered.at_ms - failed.at_ms >= STANDING_TICKS * 1000
    reports = [line for line in site.recorder.lines if line.startswith("the public site")]
    assert [line.split(":")[0] for line in reports] == [
        "the public site is silent" if fate is Fate.HANGS else "the public site is down",
        reports[-1].split(":")[0],
    ]
    assert "served for a minute again" in reports[-1]


async def test_a_site_that_always_crashes_does_not_end_its_supervisor_and_is_reported_once(
    autojump_clock: MockClock,
) -> None:
    crashing = [Script(fate=Fate.CRASHES, after_s=0.2)] * 2_000
    async with supervise_site(crashing) as site:
        await trio.sleep(500 * 32)
        assert site.health.starts > 500, "the back-off is capped"
        assert site.supervisor.snapshot().is_running
        assert site.health.degraded()
    assert len(site.recorder.events) == 1
    assert sum(1 for line in site.recorder.lines if line.startswith("the public site")) == 1


async def test_missing_heartbeats_are_reported_after_at_most_5_ticks_before_the_process_is_replaced(
    autojump_clock: MockClock,
) -> None:
    async with supervise_site([Script(fate=Fate.HANGS, after_s=5.0)]) as site:
        while site.health.state is not SiteState.SILENT:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.1)
        assert site.health.starts == 1
        assert "no heartbeat" in site.health.degraded()[0]
        assert len(site.recorder.events) == len(site.recorder.lines) == 1
        last_beat_s = START_S + 5.0
        assert trio.current_time() <= last_beat_s + BEAT_S + SILENT_TICKS + 1
        await trio.sleep(QUIET_S)
        assert site.health.starts == 2


async def test_missing_heartbeats_are_not_counted_while_the_event_loop_is_blocked() -> None:
    clock = MockClock()

    async def main() -> None:
        async with supervise_site([]) as site:
            for _ in range(40):  # ten seconds of an idle loop
                clock.jump(0.25)
                await trio.testing.wait_all_tasks_blocked()
            clock.jump(500.0)  # a blocked loop, which read no heartbeat
            await trio.testing.wait_all_tasks_blocked()
            assert site.health.state is SiteState.SERVING
            assert site.health.starts == 1
        assert site.recorder.lines == []

    await _run_under(clock, main)


async def _run_under(clock: MockClock, main: Callable[[], Awaitable[None]]) -> None:
    await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock))


async def test_stopping_takes_at_most_5_s_for_a_process_that_lives_hangs_or_never_serves(
    autojump_clock: MockClock,
) -> None:
    for fate in (Fate.HANGS, Fate.NEVER_SERVES, Fate.LIVES):
        async with supervise_site([Script(fate=fate)], stopped_s=5.0):
            await trio.sleep(3.0)


async def test_stopping_during_the_back_off_starts_no_other_process(
    autojump_clock: MockClock,
) -> None:
    async with supervise_site([Script(fate=Fate.IS_REFUSED)] * 20) as site:
        await trio.sleep(100.0)
        started = site.health.starts
    await trio.sleep(100.0)
    assert site.health.starts == started


async def test_no_site_event_is_journalled_while_journalling_is_not_allowed(
    autojump_clock: MockClock,
) -> None:
    async with supervise_site([Script(fate=Fate.CRASHES)] * 3, journalling=False) as site:
        await trio.sleep(QUIET_S)
    assert site.recorder.events == []
    assert len(site.recorder.lines) > 1


async def test_an_episode_that_began_without_journalling_is_journalled_at_its_next_trouble(
    autojump_clock: MockClock,
) -> None:
    async with supervise_site(
        [Script(fate=Fate.CRASHES, after_s=1.0), Script(fate=Fate.CRASHES, after_s=20.0)],
        journalling=False,
    ) as site:
        await trio.sleep(10.0)
        site.recorder.journalling = True
        await trio.sleep(QUIET_S)
    failed, recovered = site.recorder.events
    assert isinstance(failed, SiteFailed)
    assert isinstance(recovered, SiteRecovered)
    assert recovered.failed_at_ms == failed.at_ms
    assert recovered.troubles == 2


async def test_the_last_text_of_a_process_that_crashed_reaches_the_terminal(
    autojump_clock: MockClock,
) -> None:
    async with supervise_site([Script(fate=Fate.CRASHES)]) as site:
        await trio.sleep(10.0)
    assert "site: MemoryError" in site.recorder.lines
