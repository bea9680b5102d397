"""A supervised site with simulated processes, and a recorder of its reports."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import trio

from kamou.core.book.events import Event
from kamou.simulator.simulated_site import Script, SimulatedSites
from kamou.site.health import SiteHealth
from kamou.site.process_supervision import Backoff, SiteKeeper, SiteLimits, site_supervisor
from kamou.site.text import SiteText
from kamou.supervisor import Supervisor

NOW_MS = 1_767_312_000_000
LIMITS = SiteLimits(memory_max_bytes=512 * 1024 * 1024, silence_max_s=10, start_max_s=60)


@attrs.define(eq=False)
class Recorder:
    """Recorder of lines for the terminal and of events for the journal."""

    lines: list[str] = attrs.Factory(list)
    events: list[Event] = attrs.Factory(list)
    journalling: bool = True

    def record(self, event: Event) -> bool:
        if self.journalling:
            self.events.append(event)
        return self.journalling


@attrs.frozen(kw_only=True, eq=False)
class SupervisedSite:
    """The parts of a supervised site that tests check."""

    recorder: Recorder
    health: SiteHealth
    sites: SimulatedSites
    supervisor: Supervisor


def now_ms() -> int:
    return NOW_MS + round(trio.current_time() * 1000)


def make_health(recorder: Recorder) -> SiteHealth:
    return SiteHealth(announce=recorder.lines.append, record=recorder.record, now_ms=now_ms)


@asynccontextmanager
async def supervise_site(
    scripts: Iterable[Script], *, journalling: bool = True, stopped_s: float = 60.0
) -> AsyncIterator[SupervisedSite]:
    """Supervise a site whose processes follow the scripts and then serve."""
    recorder = Recorder(journalling=journalling)
    health = make_health(recorder)
    upcoming = itertools.chain(scripts, itertools.repeat(Script()))
    sites = SimulatedSites(lambda: next(upcoming))
    keeper = SiteKeeper(
        launch=sites.launch,
        health=health,
        text=SiteText(announce=recorder.lines.append, seconds=trio.current_time),
        limits=LIMITS,
    )
    supervisor = Supervisor(site_supervisor(keeper, Backoff(base_s=0.1, cap_s=30.0)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        yield SupervisedSite(recorder=recorder, health=health, sites=sites, supervisor=supervisor)
        with trio.fail_after(stopped_s):
            await supervisor.stop()
    assert not sites.running, "a process outlived its supervisor"
