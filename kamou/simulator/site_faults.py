"""Faults of the public site in a simulation.

They must not affect trading, and the site must serve again before the end (invariant 13).
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from kamou.clock import Clock
from kamou.core.book.events import Event
from kamou.runtime.supervision import ChildExit, ExitKind
from kamou.simulator.chaos import Chaos
from kamou.simulator.faults import FaultName
from kamou.simulator.monitor import Monitor
from kamou.simulator.simulated_site import START_S, Fate, Script, SimulatedSites
from kamou.site.health import SiteHealth
from kamou.site.process_supervision import Backoff, SiteKeeper, SiteLimits, site_supervisor
from kamou.site.text import SiteText
from kamou.supervisor import Supervisor
from kamou.venue.violations import HardRule

FAULT = FaultName.SITE_TROUBLE
FATES = (Fate.CRASHES, Fate.HANGS, Fate.GROWS, Fate.FLOODS, Fate.GARBLES, Fate.RACES)
BAD_STARTS = (Fate.IS_REFUSED, Fate.NEVER_SERVES)
BAD_START_RATE = 0.3  # share of failing starts after the first failure of a run
SIMULATED_SITE_LIMITS = SiteLimits(
    memory_max_bytes=512 * 1024 * 1024, silence_max_s=10, start_max_s=60
)
BACKOFF = Backoff(base_s=0.1, cap_s=30.0)


@attrs.define(eq=False, kw_only=True)
class SiteFaults:
    """The supervision of the site by one `kamou run`, with simulated processes."""

    chaos: Chaos
    monitor: Monitor
    clock: Clock  # true time
    _moments: list[int] = attrs.Factory(list)  # due failures in ms, the next first
    _troubled: bool = False  # a process of this run has failed

    async def run(
        self, record: Callable[[Event], None], now_ms: Callable[[], int], last_ms: int
    ) -> None:
        """Supervise the site until canceled, if the seed has the fault.

        ``record`` journals an event. The site must serve again before ``last_ms``.
        """
        if FAULT not in self.chaos.on:
            return
        begin_ms = self.clock.now_ms()
        self._moments = [at_ms for at_ms in self.chaos.moments(FAULT) if at_ms >= begin_ms]

        def recorded(event: Event) -> bool:
            record(event)
            return True

        health = SiteHealth(announce=self._announce, record=recorded, now_ms=now_ms)
        keeper = SiteKeeper(
            launch=SimulatedSites(self._next_script).launch,
            health=health,
            text=SiteText(announce=self._announce, seconds=trio.current_time),
            limits=SIMULATED_SITE_LIMITS,
        )
        supervisor = Supervisor(site_supervisor(keeper, BACKOFF), on_exit=self._exited)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await trio.sleep(max(0.0, (last_ms - self.clock.now_ms()) / 1000 - 1))
            if health.degraded():
                self.monitor.add_violation(
                    HardRule.SITE, last_ms, "", f"still degraded: {health.degraded()}"
                )

    def _next_script(self) -> Script:
        """Return the script of the next process."""
        now_ms, draw = self.clock.now_ms(), self.chaos.draw(FAULT)
        if now_ms >= self.chaos.convergence_ms:
            return Script()
        if self._troubled and draw.random() < BAD_START_RATE:
            return Script(fate=BAD_STARTS[draw.randrange(len(BAD_STARTS))])
        if not self._moments:
            return Script()
        due_s = max(0.0, (self._moments.pop(0) - now_ms) / 1000 - START_S)
        return Script(fate=FATES[draw.randrange(len(FATES))], after_s=due_s)

    def _exited(self, exit_: ChildExit) -> None:
        if exit_.kind is ExitKind.CRASHED:
            self._troubled = True
            self.chaos.note(FAULT)
            self.monitor.coverage[f"site {getattr(exit_.error, 'trouble', 'unknown')}"] += 1
        elif exit_.kind is ExitKind.STUCK:
            now_ms = self.clock.now_ms()
            self.monitor.add_violation(HardRule.SITE, now_ms, "", "the site's process does not end")

    def _announce(self, line: str) -> None:
        self.monitor.coverage["site lines"] += 1
        assert line.isprintable(), f"a line for the terminal has control characters: {line!r}"
