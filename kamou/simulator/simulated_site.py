"""Simulated processes of the public site, which fail as their scripts say.

A simulated process passes the contract suite of the real process (``tests/site/contract.py``). All
times are those of Trio's clock.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterator
from enum import Enum

import attrs
import trio

from kamou.errors import SiteFloodError, SiteStartError
from kamou.site.port import TEXT_BYTES, Launch, SiteProcess
from kamou.site.process_protocol import Heartbeat

START_S = 0.6  # from exec to the first heartbeat, on a quiet machine
BEAT_S = 0.5  # between two heartbeats
PIPE_S = 450.0  # time of the heartbeats that the unread pipe holds; later ones are dropped
MEMORY_BYTES = 57 * 1024 * 1024  # of a site that serves 2,000 readers
GROWN_BYTES = 4 * 1024 * 1024 * 1024
EXIT_KILLED, EXIT_CRASHED = -9, 1
LAST_WORDS = b"Traceback (most recent call last):\nMemoryError\n"


class Fate(Enum):
    """A way in which a simulated process ends or fails, or ``LIVES``."""

    LIVES = "lives"
    CRASHES = "crashes"  # it ends by itself after a last text
    HANGS = "hangs"  # it sends no more heartbeats, and SIGTERM has no effect
    GROWS = "grows"  # its heartbeats report 4 GiB of memory
    FLOODS = "floods"  # it writes text without end
    GARBLES = "garbles"  # its heartbeats cannot be parsed
    RACES = "races"  # it sends heartbeats without a pause
    NEVER_SERVES = "never_serves"  # it runs and sends no heartbeat
    IS_REFUSED = "is_refused"  # the operating system cannot start the process


@attrs.frozen(kw_only=True)
class Script:
    """The fate of one process, which begins ``after_s`` s after its first heartbeat."""

    fate: Fate = Fate.LIVES
    after_s: float = 0.0


@attrs.define(eq=False)
class SimulatedSite:
    """A ``SiteProcess`` that fails as its script says."""

    script: Script
    requests: Callable[[], int] = lambda: 0
    _ended: trio.Event = attrs.Factory(trio.Event)
    _code: int | None = None
    _born_s: float = attrs.Factory(trio.current_time)
    _next_s: float = 0.0
    _words: Iterator[bytes] | None = None

    def __attrs_post_init__(self) -> None:
        self._next_s = self._born_s + START_S

    @property
    def _fate_s(self) -> float:
        """The time in Trio's seconds at which the process fails; infinite if it does not."""
        if self.script.fate is Fate.LIVES:
            return math.inf
        return self._born_s + START_S + self.script.after_s

    @property
    def _met(self) -> bool:
        return trio.current_time() >= self._fate_s

    def end(self, code: int) -> None:
        """End the process with an exit code; a second call does nothing."""
        if self._code is None:
            self._code = code
            self._ended.set()

    async def next_heartbeat(self) -> Heartbeat | None:
        fate = self.script.fate
        if fate is Fate.NEVER_SERVES or (fate is Fate.HANGS and self._next_s > self._fate_s):
            await self._ended.wait()
            return None
        if not (fate is Fate.RACES and self._met):
            with trio.move_on_at(self._next_s):
                await self._ended.wait()
            self._next_s = max(self._next_s + BEAT_S, trio.current_time() - PIPE_S)
        await trio.lowlevel.checkpoint()
        if self._ended.is_set():
            return None
        if fate is Fate.GARBLES and self._met:
            raise SiteFloodError("the site's process wrote something that is not a heartbeat")
        grown = fate is Fate.GROWS and self._met
        return Heartbeat(
            requests=self.requests(),
            connections=0,
            accepted=0,
            refused=0,
            cut=0,
            failed=0,
            renders=0,
            memory_bytes=GROWN_BYTES if grown else MEMORY_BYTES,
            descriptors=12,
        )

    async def next_text(self) -> bytes:
        if self.script.fate is Fate.FLOODS:
            with trio.move_on_at(self._fate_s):
                await self._ended.wait()
            await trio.lowlevel.checkpoint()
            return b"" if self._ended.is_set() else b"x" * TEXT_BYTES
        if self._words is None:
            await self._ended.wait()
            self._words = iter([LAST_WORDS] if self._code == EXIT_CRASHED else [])
        await trio.lowlevel.checkpoint()
        return next(self._words, b"")

    async def wait(self) -> int:
        if self.script.fate is Fate.CRASHES:
            with trio.move_on_at(self._fate_s):
                await self._ended.wait()
            self.end(EXIT_CRASHED)
        await self._ended.wait()
        assert self._code is not None
        return self._code


@attrs.frozen(eq=False)
class SimulatedSites:
    """A launcher of simulated processes, each with the next script.

    ``running`` has the processes that ``launch`` has not ended yet.
    """

    next_script: Callable[[], Script]
    running: set[SimulatedSite] = attrs.Factory(set)

    @property
    def launch(self) -> Launch:
        """The ``Launch`` that starts simulated processes."""
        return self._launch

    @contextlib.asynccontextmanager
    async def _launch(self) -> AsyncIterator[SiteProcess]:
        script = self.next_script()
        await trio.lowlevel.checkpoint()
        if script.fate is Fate.IS_REFUSED:
            raise SiteStartError("the site's process cannot be started: no memory")
        process = SimulatedSite(script)
        self.running.add(process)
        try:
            yield process
        finally:
            process.end(EXIT_KILLED if script.fate is Fate.HANGS else 0)
            self.running.discard(process)
