"""Threads that end the process if the event loop is blocked or a stop is too slow.

No task can notice that its own loop is blocked. A service manager should start the process again;
every start recovers from the journal and the venue.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from typing import IO

import trio

CHECKS = 4  # per heartbeat; one check without a beat may only mean that the process was paused
EXIT_CODE_BLOCKED = 1
DUMP_S = 5  # to write the stacks; then SIGALRM ends the process, even if no reader takes them


def end_process() -> None:
    """Exit at once with 1, without clean-up: the loop is blocked or a stop hangs."""
    os._exit(EXIT_CODE_BLOCKED)


class Watchdog:
    """A watchdog that calls ``terminate`` if code blocks the event loop.

    Before that it writes a line and all stacks to ``stream``, a file with a descriptor. Blocked
    means no heartbeat for longer than ``heartbeat_s``, at ``CHECKS`` + 1 checks in a row. ``armed``
    is False under simulated time, where a fast-forward may keep the loop busy for long. ``wait``
    waits the given seconds, and returns True once the watch is over. ``describe_lag`` returns a
    clause about loop lag for the line; the watchdog's thread calls it.
    """

    def __init__(
        self,
        *,
        heartbeat_s: float,
        stream: IO[str],
        armed: bool = True,
        terminate: Callable[[], None] = end_process,
        wait: Callable[[float], bool] | None = None,
        describe_lag: Callable[[], str] | None = None,
    ) -> None:
        assert heartbeat_s > 0
        self.heartbeat_s = heartbeat_s
        self.armed = armed
        self._stream = stream
        self._terminate = terminate
        self._describe_lag = describe_lag
        self._over = threading.Event()
        self._wait = wait or self._over.wait
        self._beats = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Beat until cancelled, and watch in a thread; if not ``armed``, only wait."""
        if not self.armed:
            task_status.started()
            await trio.sleep_forever()
        self._over.clear()
        # Not one of Trio's threads, which need the loop and keep the process alive.
        threading.Thread(target=self.watch, name="watchdog", daemon=True).start()
        try:
            task_status.started()
            while True:
                self.beat()
                await trio.sleep(self.heartbeat_s / CHECKS)
        finally:
            self._over.set()

    def beat(self) -> None:
        """Record that the loop runs."""
        self._beats += 1

    def watch(self) -> None:
        """Watch for beats, in a thread, until ``run`` ends or the loop is blocked."""
        seen, missed = self._beats, 0
        while not self._wait(self.heartbeat_s / CHECKS):
            if self._beats != seen:
                seen, missed = self._beats, 0
                continue
            missed += 1
            if missed > CHECKS:
                lag = f"; {self._describe_lag()}" if self._describe_lag else ""
                blocked = f"the event loop was blocked for {self.heartbeat_s:g} s{lag}"
                _dump_stacks(self._stream, f"{blocked}; the process ends at once\n")
                self._terminate()
                return


class StopDeadline:
    """A deadline that ends the process if an orderly stop exceeds ``grace_s``.

    Use it as a context manager around the run. A stop may hang because a disk or a library's thread
    does not return; a killed run loses no committed event, so the process ends instead. ``wait``
    waits the given seconds, and returns True once the stop is over.
    """

    def __init__(
        self,
        *,
        grace_s: float,
        stream: IO[str],
        terminate: Callable[[], None] = end_process,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        assert grace_s > 0
        self._grace_s = grace_s
        self._stream = stream
        self._terminate = terminate
        self._over = threading.Event()
        self._wait = wait or self._over.wait

    def __enter__(self) -> StopDeadline:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def start(self) -> None:
        """Start the grace period, in a thread that ends with the stop."""
        threading.Thread(target=self.watch, name="stop deadline", daemon=True).start()

    def watch(self) -> None:
        """Wait for the end of the stop, in a thread; end the process if it takes too long."""
        if self._wait(self._grace_s):
            return
        over = f"the stop was not over after {self._grace_s:g} s; the process ends at once\n"
        _dump_stacks(self._stream, over)
        self._terminate()


def _dump_stacks(stream: IO[str], line: str) -> None:
    """Write the line and all stacks, or end the process by SIGALRM after ``DUMP_S``.

    A paused terminal blocks the write, and faulthandler holds the interpreter's lock meanwhile, so
    no thread could end the process.
    """
    signal.alarm(DUMP_S)
    stream.write(line)
    stream.flush()
    faulthandler.dump_traceback(stream, all_threads=True)
    signal.alarm(0)
