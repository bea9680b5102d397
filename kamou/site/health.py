"""Health of the public site's process, and the reports of its failures.

An episode begins with the first trouble and ends after ``STANDING_TICKS`` s of service. Its
beginning and its end are reported on the terminal. The journal gets the first trouble of an episode
that happens while it takes events, and the end of such an episode. Other troubles are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TypedDict

import attrs

from kamou.core.book.events import Event
from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.errors import SiteError, SiteSilentError
from kamou.escaping import escape_text
from kamou.site.process_protocol import Heartbeat

STANDING_TICKS = 60  # ticks of 1 s with service after which an episode is over
CAUSE = "site"  # cause id of the site's events


class SiteState(StrEnum):
    """State of the public site, as in status and ``/readyz``."""

    STARTING = "starting"  # first start in this run; connections wait in the backlog
    SERVING = "serving"
    SILENT = "silent"  # heartbeats are missing; not replaced yet
    DOWN = "down"  # ended; the next process does not serve yet


class SiteStatus(TypedDict):
    """State and counters of the public site, over all its processes in the run."""

    state: SiteState
    restarts: int
    troubles: int
    last_trouble: str
    requests: int
    accepted: int
    refused: int
    cut: int
    failed: int
    renders: int
    connections: int  # of the process that serves now, as the next two
    memory_bytes: int
    descriptors: int


@attrs.define(eq=False, kw_only=True)
class SiteHealth:
    """State and counters of the site, across all processes that serve it.

    ``announce`` prints a line on the terminal. ``record`` journals an event if that is allowed now,
    and returns True if it did. ``now_ms`` is the clock.
    """

    announce: Callable[[str], None]
    record: Callable[[Event], bool]
    now_ms: Callable[[], int]
    state: SiteState = SiteState.STARTING
    starts: int = 0  # processes started
    beat: Heartbeat | None = None  # newest heartbeat of the current process
    last_trouble: str = ""  # one escaped line
    troubles: int = 0  # since the start of the run
    _down_since_ms: int | None = None  # start of the episode; None: no episode
    _episode_troubles: int = 0
    _recorded_ms: int | None = None  # time of the journalled failure; None: not journalled
    _standing_ticks: int = 0
    _ended_counters: dict[str, int] = attrs.Factory(dict)  # of the processes that ended

    # --- reports of the keeper ---------------------------------------------------

    def record_start(self) -> None:
        """Count a process that starts."""
        self.starts += 1

    def record_heartbeat(self, beat: Heartbeat) -> None:
        """Record a heartbeat, which means that the process serves."""
        self.beat = beat
        if self.state is not SiteState.SERVING:
            self.state, self._standing_ticks = SiteState.SERVING, 0

    def record_silence(self, silent_s: float) -> None:
        """Record missing heartbeats of a process that is not replaced yet."""
        self._record_trouble(SiteSilentError(f"no heartbeat for {silent_s:g} s"), SiteState.SILENT)

    def record_end(self, error: SiteError) -> None:
        """Record why the process ended or could not start, and keep its counters."""
        for name, value in self._counters().items():
            self._ended_counters[name] = value
        self.beat = None
        self._record_trouble(error, SiteState.DOWN)

    def tick(self) -> None:
        """Count one second of service in an episode, and end the episode after enough."""
        if self.state is not SiteState.SERVING or self._down_since_ms is None:
            return
        self._standing_ticks += 1
        if self._standing_ticks >= STANDING_TICKS:
            self._record_recovery(self._down_since_ms)

    def _record_trouble(self, error: SiteError, state: SiteState) -> None:
        self.state, self.last_trouble = state, escape_text(str(error))
        self.troubles += 1
        self._episode_troubles += 1
        now_ms = self.now_ms()
        if self._down_since_ms is None:
            self._down_since_ms = now_ms
            self.announce(f"the public site is {state}: {self.last_trouble}; trading goes on")
        if self._recorded_ms is None:  # an episode can begin while nothing is journalled
            event = SiteFailed(at_ms=now_ms, cause_id=CAUSE, trouble=error.trouble)
            self._recorded_ms = now_ms if self.record(event) else None

    def _record_recovery(self, since_ms: int) -> None:
        now_ms, troubles = self.now_ms(), self._episode_troubles
        down_s = max(0, now_ms - since_ms) / 1000
        self.announce(
            f"the public site has served for a minute again; troubles since the first one"
            f" {down_s:.0f} s ago: {troubles}"
        )
        if self._recorded_ms is not None:
            self.record(
                SiteRecovered(
                    at_ms=now_ms,
                    cause_id=CAUSE,
                    failed_at_ms=self._recorded_ms,
                    troubles=troubles,
                )
            )
        self._down_since_ms, self._episode_troubles, self._recorded_ms = None, 0, None

    # --- reads -------------------------------------------------------------------

    def degraded(self) -> list[str]:
        """Return a list with the reason why the site does not serve; empty if it serves."""
        if self.state is SiteState.SERVING:
            return []
        because = f": {self.last_trouble}" if self.last_trouble else ""
        return [f"the public site is {self.state}{because}"]

    def as_dict(self) -> SiteStatus:
        """Return state, counters of the run and figures of the process that serves now.

        Before its first heartbeat these figures are 0. `kamou status` shows all, ``/metrics`` all
        but the texts.
        """
        beat, counters = self.beat, self._counters()
        return {
            "state": self.state,
            "restarts": max(0, self.starts - 1),
            "troubles": self.troubles,
            "last_trouble": self.last_trouble,
            "requests": counters["requests"],
            "accepted": counters["accepted"],
            "refused": counters["refused"],
            "cut": counters["cut"],
            "failed": counters["failed"],
            "renders": counters["renders"],
            "connections": beat.connections if beat else 0,
            "memory_bytes": beat.memory_bytes if beat else 0,
            "descriptors": beat.descriptors if beat else 0,
        }

    def _counters(self) -> dict[str, int]:
        return {
            name: self._ended_counters.get(name, 0) + (getattr(self.beat, name) if self.beat else 0)
            for name in ("requests", "accepted", "refused", "cut", "failed", "renders")
        }
