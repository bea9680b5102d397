"""Supervision of the public site's process, as a child of the trading process.

The supervisor replaces the process without limit, with a capped back-off, because a failing site
must not end the trading. Only the task that watches the process waits for it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable

import attrs
import trio

from kamou.errors import (
    SiteError,
    SiteFloodError,
    SiteMemoryError,
    SiteSilentError,
    SiteStartError,
)
from kamou.runtime.supervision import ChildSpec, SupervisorSpec
from kamou.site.health import STANDING_TICKS, SiteHealth
from kamou.site.port import Launch, SiteProcess
from kamou.site.text import SiteText

TICK_S = 1.0  # missing heartbeats count in ticks, because a blocked loop receives none
SILENT_TICKS = 4  # without a heartbeat before a report, which comes within 5 s
BEATS_PER_TICK_MAX = 1_000  # two are sent per tick; after a blocked loop a full pipe has about 800
TEXT_END_S = 0.5  # maximum time to read the last text of an ended process
SITE_SHUTDOWN_S = 5.0  # longer than both graces of the process together


@attrs.frozen(kw_only=True)
class SiteLimits:
    """Limits of the process; if it exceeds one, it is replaced."""

    memory_max_bytes: int  # resident
    silence_max_s: int  # without a heartbeat, after the first one
    start_max_s: int  # for reading its handover, and then again until its first heartbeat


@attrs.frozen(kw_only=True)
class Backoff:
    """Wait before the next process, which doubles from the base to the cap, in s."""

    base_s: float
    cap_s: float


def site_supervisor(keeper: SiteKeeper, backoff: Backoff) -> SupervisorSpec:
    """Return the supervisor that replaces the site's process without limit."""
    return SupervisorSpec(
        id="public",
        children=(
            ChildSpec(
                id="site",
                start=keeper.run,
                shutdown_s=SITE_SHUTDOWN_S,
                start_timeout_s=math.inf,  # counted in ticks by the keeper
            ),
        ),
        intensity=None,
        backoff_base_s=backoff.base_s,
        backoff_cap_s=backoff.cap_s,
        backoff_reset_s=STANDING_TICKS * TICK_S,
    )


@attrs.define(kw_only=True, eq=False)
class SiteKeeper:
    """Starter and watcher of the site's process; each ``run`` is one process."""

    launch: Launch
    health: SiteHealth
    text: SiteText
    limits: SiteLimits
    _quiet_ticks: int = 0  # since the last heartbeat
    _beats: int = 0  # since the last tick
    _serves: bool = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run one process until its end; report it started at its first heartbeat.

        Raises:
            SiteError: always, unless canceled: why the process ended or was ended.
        """
        self._quiet_ticks, self._beats, self._serves = 0, 0, False
        self.health.record_start()
        try:
            async with contextlib.AsyncExitStack() as stack:
                process = await self._launch(stack)
                error = await self._watch(process, task_status)
            raise error
        except SiteError as error:
            self.health.record_end(error)
            raise

    async def _launch(self, stack: contextlib.AsyncExitStack) -> SiteProcess:
        """Start a process, which must read its handover within ``start_max_s``."""
        start_max_s = self.limits.start_max_s
        with trio.move_on_after(start_max_s):
            return await stack.enter_async_context(self.launch())
        raise SiteStartError(
            f"it did not read its handover within {start_max_s} s (web.site_start_max_s)"
        )

    async def _watch(self, process: SiteProcess, task_status: trio.TaskStatus[None]) -> SiteError:
        """Watch heartbeats, text, timeouts and exit; pass on all text; return the error.

        The first error ends the watch.
        """
        found: list[SiteError] = []

        async def watch(watcher: Callable[[], Awaitable[SiteError]]) -> None:
            found.append(await watcher())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            read_out = trio.Event()
            nursery.start_soon(watch, lambda: self._watch_beats(process, task_status))
            nursery.start_soon(watch, lambda: self._watch_text(process, read_out))
            nursery.start_soon(watch, self._watch_silence)
            nursery.start_soon(watch, lambda: _watch_exit(process, read_out))
        self.text.end()
        return found[0]

    async def _watch_beats(
        self, process: SiteProcess, task_status: trio.TaskStatus[None]
    ) -> SiteError:
        try:
            while (beat := await process.next_heartbeat()) is not None:
                self._quiet_ticks, self._beats = 0, self._beats + 1
                if self._beats > BEATS_PER_TICK_MAX:
                    return SiteFloodError(
                        f"it sent more than {BEATS_PER_TICK_MAX} heartbeats in a second"
                    )
                if beat.memory_bytes > self.limits.memory_max_bytes:
                    used, limit = beat.memory_bytes >> 20, self.limits.memory_max_bytes >> 20
                    return SiteMemoryError(
                        f"it uses {used} MiB of memory; the limit is {limit} MiB"
                        " (web.site_memory_max_mb)"
                    )
                self.health.record_heartbeat(beat)
                if not self._serves:
                    self._serves = True
                    task_status.started()
        except SiteError as error:
            return error
        return await _sleep_forever()

    async def _watch_text(self, process: SiteProcess, read_out: trio.Event) -> SiteError:
        try:
            while chunk := await process.next_text():
                self.text.take(chunk)
        except SiteError as error:
            return error
        read_out.set()
        return await _sleep_forever()

    async def _watch_silence(self) -> SiteError:
        limits = self.limits
        while True:
            await trio.sleep(TICK_S)
            self._quiet_ticks, self._beats = self._quiet_ticks + 1, 0
            silent_s = self._quiet_ticks * TICK_S
            if not self._serves:
                if silent_s >= limits.start_max_s:
                    return SiteStartError(
                        f"it did not serve within {limits.start_max_s} s (web.site_start_max_s)"
                    )
                continue
            if silent_s >= limits.silence_max_s:
                return SiteSilentError(f"no heartbeat for {silent_s:g} s (web.site_silence_max_s)")
            if self._quiet_ticks == SILENT_TICKS:
                self.health.record_silence(silent_s)
            self.health.tick()


async def _watch_exit(process: SiteProcess, read_out: trio.Event) -> SiteError:
    code = await process.wait()
    with trio.move_on_after(TEXT_END_S):
        await read_out.wait()
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return SiteError(f"its process ended with {how}")


async def _sleep_forever() -> SiteError:
    await trio.sleep_forever()
    raise AssertionError
