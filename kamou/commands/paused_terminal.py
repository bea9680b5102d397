"""``BackgroundLines``, which writes a run's lines in a thread.

A write to a paused terminal or a full pipe waits until a process reads. In the event loop that
wait would delay all stops and commands.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from types import TracebackType

from kamou.core.words import count_words

LINES_WAITING_MAX = 1_000  # about the lines that requests from outside can cause in a day
END_S = 1.0  # time for the last lines at the end of the run

EndProcess = Callable[[int], object]  # takes the exit code


class BackgroundLines:
    """Context manager that accepts lines without waiting and writes them in a thread.

    Lines beyond ``LINES_WAITING_MAX`` are dropped and counted; lines whose write fails are counted
    too. If the last line cannot be written within ``END_S`` at the end, or the queue is full then,
    the process ends without it, because every later write would wait as well. Tests replace
    ``end``.
    """

    def __init__(self, write: Callable[[str], None], *, end: EndProcess = os._exit) -> None:
        self._write = write
        self._end = end
        self._waiting: queue.Queue[str | None] = queue.Queue(LINES_WAITING_MAX)
        self._dropped = 0
        self._failed = 0  # writes that failed since the last successful one
        self._thread = threading.Thread(target=self._write_all, name="terminal", daemon=True)

    def __call__(self, line: str) -> None:
        """Queue the line; if too many lines wait, drop and count it."""
        if not self.offer(line):
            self._dropped += 1

    def offer(self, line: str) -> bool:
        """Queue the line; return False, without counting it, if too many lines wait."""
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            return False
        return True

    def __enter__(self) -> BackgroundLines:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._end(int(kind is not None))
            return
        self._thread.join(END_S)
        if self._thread.is_alive():
            self._end(int(kind is not None))

    def _write_all(self) -> None:
        while (line := self._waiting.get()) is not None:
            if not self._try_write(line):
                self._failed += 1
                continue
            failed, self._failed = self._failed, 0
            if failed:
                self._try_write(f"{count_words(failed, 'line')} lost, because writing failed")
            dropped, self._dropped = self._dropped, 0
            if dropped:
                self._try_write(
                    f"{count_words(dropped, 'line')} dropped, because this output was not read"
                )

    def _try_write(self, line: str) -> bool:
        """Write the line; return False if the write failed."""
        try:
            self._write(line)
        except (OSError, ValueError):  # ValueError: the output is closed
            return False
        return True
