"""The public site's process: ``python -P -m kamou.web.process``, started by the trading process.

It reads its handover from standard input, takes its limits upon itself, and only then imports what
serves pages. A thread ends it when its parent has ended, or when a page takes too long: nothing in
the event loop could notice either while the loop is blocked.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from kamou.escaping import escape_text
from kamou.site.handover import (
    HANDOVER_BYTES_MAX,
    Heartbeat,
    SiteHandover,
    decode_handover,
    encode_heartbeat,
)

if TYPE_CHECKING:
    from kamou.http.server import Server
    from kamou.web.app import PublicSite

LIFELINE, HEARTBEATS, TEXT = 0, 1, 2  # descriptors
LOOK_S = 0.25  # how often the guarding thread looks whether a page takes too long
EXIT_BAD_HANDOVER = 2
EXIT_OUT_OF_MEMORY = 3
EXIT_RENDER_TOO_LONG = 4
SPARE_BYTES = 1024 * 1024  # given back before the last words of a process without memory

EndProcess = Callable[[int], Any]


class Guard:
    """The thread that ends the process: with its parent, or with a page that takes too long."""

    def __init__(self, *, lifeline: int, render_max_s: float, end: EndProcess = os._exit) -> None:
        self._lifeline = lifeline
        self._render_max_s = render_max_s
        self._end = end
        self._render_since_s: float | None = None

    def start(self) -> None:
        """Begin to guard, in a thread that keeps nothing alive."""
        threading.Thread(target=self.watch, name="guard", daemon=True).start()

    def watch(self) -> None:
        """Return, in a test, once the process would have been ended."""
        while True:
            readable, _, _ = select.select([self._lifeline], [], [], LOOK_S)
            if readable and not os.read(self._lifeline, 4096):
                self._end(0)
                return
            since_s = self._render_since_s
            if since_s is not None and time.monotonic() - since_s > self._render_max_s:
                say(f"a page took longer than {self._render_max_s:g} s; the process ends")
                self._end(EXIT_RENDER_TOO_LONG)
                return

    async def render(self, function: Callable[..., Any], *args: object) -> Any:
        """Run ``function`` in a thread, guarded. One at a time, as ``PublicSite`` does it."""

        def guarded() -> Any:
            self._render_since_s = time.monotonic()
            try:
                return function(*args)
            finally:
                self._render_since_s = None

        return await trio.to_thread.run_sync(guarded)


def say(line: str) -> None:
    """Write one line to standard error; dropped when nobody takes it."""
    with contextlib.suppress(OSError):
        os.write(TEXT, escape_text(line).encode() + b"\n")


def main() -> NoReturn:
    """Serve until told to stop. Never returns: the exit code says how it ended."""
    beats = os.dup(HEARTBEATS)
    os.dup2(TEXT, HEARTBEATS)  # a stray print is text, not a heartbeat
    os.set_blocking(beats, False)
    try:
        handover = decode_handover(read_line(LIFELINE, HANDOVER_BYTES_MAX))
    except ValueError as error:
        say(f"this is started by `kamou run`, which hands over what it needs: {error}")
        sys.exit(EXIT_BAD_HANDOVER)
    take_limits(handover)
    guard = Guard(lifeline=LIFELINE, render_max_s=handover.render_max_s)
    guard.start()
    serve(handover, guard, beats)
    sys.exit(0)


def read_line(descriptor: int, bytes_max: int) -> bytes:
    """Return what comes before the first line break, or before the end.

    Raises:
        ValueError: it is longer than ``bytes_max``.
    """
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(descriptor, 65_536)
        if not chunk:
            break
        line += chunk
        if len(line) > bytes_max:
            raise ValueError(f"it is longer than {bytes_max} bytes")
    return line


def take_limits(handover: SiteHandover) -> None:
    """Lower this process's priority, and what it may take of memory and descriptors."""
    os.nice(handover.nice)
    if handover.memory_max_bytes:
        lower_limit(resource.RLIMIT_AS, handover.memory_max_bytes)
    lower_limit(resource.RLIMIT_NOFILE, handover.descriptors_max)
    lower_limit(resource.RLIMIT_CORE, 0)


def lower_limit(which: int, limit: int) -> None:
    """Set soft and hard limit, the hard one at most what it is."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(which, (limit, limit))


def serve(handover: SiteHandover, guard: Guard, beats: int) -> None:
    """Serve the pages on the handed-over socket until SIGTERM."""
    import socket
    from pathlib import Path

    from kamou.http.server import Listener, Server
    from kamou.web.app import PublicSite
    from kamou.web.site import ASSUMED_GATE, Site

    public = PublicSite(
        Path(handover.database),
        Site(
            mode=handover.mode,
            currency=handover.currency,
            assumed_live=handover.gate == ASSUMED_GATE,
            pricing_markdown=handover.pricing_markdown,
        ),
        runner=guard.render,
        on_error=page_failed,
    )
    counted = Counted(public)
    bound = socket.socket(fileno=handover.socket)
    listener = Listener(app=counted, host="", port=0, setting="web.port", option="--port")
    server = Server(listener, bound=bound)

    async def run() -> None:
        async with trio.open_nursery() as nursery:

            async def serve_and_end(task_status: trio.TaskStatus[None]) -> None:
                await server.run(task_status)
                nursery.cancel_scope.cancel()

            nursery.start_soon(stop_at_signal, server)
            await nursery.start(lambda task_status: serve_and_end(task_status))
            nursery.start_soon(beat, counted, handover.heartbeat_s, beats)

    trio.run(run)


class Counted:
    """The application, with its requests counted; a process without memory ends itself."""

    def __init__(self, app: PublicSite) -> None:
        self.app = app
        self.requests = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests += 1
        try:
            await self.app(scope, receive, send)
        except MemoryError:
            end_without_memory()


def end_without_memory() -> None:
    say("out of memory; the process ends")
    os._exit(EXIT_OUT_OF_MEMORY)


def page_failed(path: str, error: Exception) -> None:
    """Say which page raised what. A process without memory ends."""
    if isinstance(error, MemoryError):
        end_without_memory()
    say(f"page {path} failed: {error!r}")


async def stop_at_signal(server: Server) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            server.ask_to_stop()


async def beat(counted: Counted, heartbeat_s: float, descriptor: int) -> None:
    """Send a heartbeat at once and then every ``heartbeat_s``, until cancelled."""
    while True:
        # A parent that does not read, or has ended: the guard sees the end.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(descriptor, encode_heartbeat(measured(counted)))
        await trio.sleep(heartbeat_s)


def measured(counted: Counted) -> Heartbeat:
    """Return the process's numbers now."""
    return Heartbeat(
        requests=counted.requests,
        connections=0,
        accepted=0,
        refused=0,
        failed=0,
        renders=0,
        memory_bytes=resident_bytes(),
        descriptors=len(os.listdir("/dev/fd")),
    )


def resident_bytes() -> int:
    """Return the resident memory; where the system does not tell, the largest there ever was."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
