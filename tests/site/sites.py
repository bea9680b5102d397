"""A site under supervision, with simulated processes and everything that is reported of it."""

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
class Told:
    """Lines for the terminal and events for the journal."""

    lines: list[str] = attrs.Factory(list)
    events: list[Event] = attrs.Factory(list)
    journalling: bool = True

    def record(self, event: Event) -> bool:
        if self.journalling:
            self.events.append(event)
        return self.journalling


@attrs.frozen(kw_only=True, eq=False)
class Supervised:
    """What a test looks at."""

    told: Told
    health: SiteHealth
    sites: SimulatedSites
    supervisor: Supervisor


def now_ms() -> int:
    return NOW_MS + round(trio.current_time() * 1000)


def health_of(told: Told) -> SiteHealth:
    return SiteHealth(announce=told.lines.append, record=told.record, now_ms=now_ms)


@asynccontextmanager
async def supervised(
    scripts: Iterable[Script], *, journalling: bool = True, stopped_s: float = 60.0
) -> AsyncIterator[Supervised]:
    """A site whose processes follow the scripts, and then live. It is stopped at the end."""
    told = Told(journalling=journalling)
    health = health_of(told)
    coming = itertools.chain(scripts, itertools.repeat(Script()))
    sites = SimulatedSites(lambda: next(coming))
    keeper = SiteKeeper(
        launch=sites.launch,
        health=health,
        text=SiteText(announce=told.lines.append, seconds=trio.current_time),
        limits=LIMITS,
    )
    supervisor = Supervisor(site_supervisor(keeper, Backoff(base_s=0.1, cap_s=30.0)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        yield Supervised(told=told, health=health, sites=sites, supervisor=supervisor)
        with trio.fail_after(stopped_s):
            await supervisor.stop()
    assert not sites.running, "a process outlived its supervisor"
