"""``Guard``, a thread that may end the site's process, and ``write_line``.

``Guard`` ends the process if its parent has ended or if a page takes too long. A task
could do neither while the event loop is blocked. ``os._exit`` frees the port at once; an orphaned
process in a busy loop held it for 7.7 s. ``write_line`` writes to standard error.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import trio

from kamou.escaping import escape_text

T = TypeVar("T")

STDERR = 2  # descriptor of standard error
GUARD_LOOK_S = 0.25  # between two checks whether a page takes too long
EXIT_OUT_OF_MEMORY = 1
EXIT_RENDER_TOO_LONG = 5  # Kamou's exit code of a timeout

ExitProcess = Callable[[int], object]


def write_line(line: str) -> None:
    """Write one line to standard error; drop it if the write would wait or fails.

    An escaped line is shorter than PIPE_BUF (4,096 bytes), so a writable pipe takes it whole.
    """
    with contextlib.suppress(OSError):
        _, writable, _ = select.select([], [STDERR], [], 0)
        if writable:  # a paused terminal would block every page, and the stop
            os.write(STDERR, escape_text(line).encode() + b"\n")


def end_without_memory(end: ExitProcess = os._exit) -> None:
    """End the process, because its state is unknown after a MemoryError."""
    write_line("out of memory; the public site's process ends")
    end(EXIT_OUT_OF_MEMORY)


class Guard:
    """A thread that ends its process if a page takes too long or the parent ended.

    ``lifeline`` is a pipe from the parent that ends when the parent ends; None: no parent. If a
    page takes longer than ``render_max_s``, the guard ends the process, because the page's open
    snapshot prevents checkpoints of the write-ahead log. Tests set ``end`` and ``seconds``.
    """

    def __init__(
        self,
        *,
        lifeline: int | None,
        render_max_s: float,
        end: ExitProcess = os._exit,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = [] if lifeline is None else [lifeline]
        self._render_max_s = render_max_s
        self._end = end
        self._seconds = seconds
        self._render_since_s: float | None = None
        self.renders = 0  # pages made, or failed

    def start(self) -> None:
        """Start the daemon thread."""
        threading.Thread(target=self.watch, name="guard", daemon=True).start()

    def watch(self) -> None:
        """Watch until the process must end, and end it; return only in tests."""
        while True:
            readable, _, _ = select.select(self._watched, [], [], GUARD_LOOK_S)
            if readable and not os.read(readable[0], 4_096):
                self._end(0)
                return
            since_s = self._render_since_s
            if since_s is not None and self._seconds() - since_s > self._render_max_s:
                write_line(
                    f"a page took longer than {self._render_max_s:g} s (web.site_render_max_s);"
                    " the public site's process ends"
                )
                self._end(EXIT_RENDER_TOO_LONG)
                return

    async def render(self, function: Callable[..., T], /, *args: object) -> T:
        """Run ``function`` in a thread, watch its time and return its result.

        Only one call may run at a time. A MemoryError in the function ends the process.
        """

        def watched() -> T:
            self._render_since_s = self._seconds()
            try:
                return function(*args)
            except MemoryError:
                end_without_memory(self._end)
                raise
            finally:
                self._render_since_s = None
                self.renders += 1

        return await trio.to_thread.run_sync(watched)
