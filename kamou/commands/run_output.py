"""Output of `kamou run` on standard error: lines, with a progress bar if possible.

On a terminal the bar is the last line: it is erased before each new line, drawn again below it, and
erased when its task ends. Without a terminal each line has its time and level, and progress is one
line per tenth of the task but the last.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType

from kamou.clock import SystemClock
from kamou.commands.paused_terminal import BackgroundLines
from kamou.commands.printing import DEFAULT_COLUMNS, draw_bar, terminal_columns, write_line_and_bar
from kamou.escaping import escape_text
from kamou.runtime.leveled_lines import LeveledLine, find_level

STEPS = 10  # parts of a task; without a terminal each ended part but the last is a line
BAR_CHARS_MAX = 30  # of the bar without its name and time

DRAW = LeveledLine("draw the bar")  # a request to the writing thread, compared by identity


class RunOutput:
    """Context manager for the lines and the progress of one run.

    ``announce`` and ``report`` may be called from any thread and do not wait; one thread writes.
    Tests set ``now_ms`` and ``on_terminal``.
    """

    def __init__(
        self, *, now_ms: Callable[[], int] | None = None, on_terminal: bool | None = None
    ) -> None:
        self._now_ms = now_ms or SystemClock().now_ms
        self._on_terminal = can_erase_lines() if on_terminal is None else on_terminal
        self._lines = BackgroundLines(self.write)
        self._task: tuple[str, int, int] | None = None  # name, steps done, steps in total
        self._began_ms = 0  # start of the task
        self._stepped_ms = 0  # end of its newest step
        self._step = 0  # tenths of the task that were printed
        self._drawing = False  # a request to draw is queued
        self._bar = ""  # the bar on the terminal

    def __enter__(self) -> RunOutput:
        self._lines.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task = None
        self._lines(DRAW)
        self._lines.__exit__(kind, error, trace)

    # --- from any thread ---------------------------------------------------------

    def announce(self, line: str) -> None:
        """Queue a line for writing."""
        self._lines(line)

    def report(self, what: str, done: int, total: int) -> None:
        """Show the progress of the task ``what``, in steps; the last step ends it."""
        if self._task is None or self._task[0] != what:
            self._began_ms, self._step = self._now_ms(), 0
        if self._task is None or self._task[1] != done:
            self._stepped_ms = self._now_ms()
        self._task = (what, done, total) if done < total else None
        if self._on_terminal:
            if not self._drawing:
                self._drawing = True  # before the request, because the thread may draw at once
                if not self._lines.offer(DRAW):
                    self._drawing = False
        elif (step := STEPS * done // max(1, total)) > self._step and done < total:
            self._step = step
            self._lines(f"{what}: {done} of {total}")

    # --- the writing thread ------------------------------------------------------

    def write(self, line: str) -> None:
        """Write a line, or draw the current bar."""
        if line is DRAW:
            self._drawing = False
            with contextlib.suppress(OSError, ValueError):  # the next step draws the bar again
                self._draw()
            return
        if not self._on_terminal:
            at = datetime.fromtimestamp(self._now_ms() // 1000, UTC)
            write_line_and_bar(line, prefix=f"{at:%Y-%m-%dT%H:%M:%SZ} {find_level(line)} ")
            return
        before, self._bar = self._bar, self._current_bar()
        write_line_and_bar(line, erase=bool(before), bar=self._bar)

    def _draw(self) -> None:
        bar = self._current_bar()
        if bar != self._bar:
            draw_bar(bar)
            self._bar = bar

    def _current_bar(self) -> str:
        """Return the current bar; empty without a task or a terminal."""
        task = self._task
        return self._format_bar(*task) if task is not None and self._on_terminal else ""

    def _format_bar(self, what: str, done: int, total: int) -> str:
        """Return the bar as one line, narrower than the terminal so that it does not wrap."""
        columns = _columns()
        head = f"{escape_text(what)} {done}/{total} "
        tail = self._time_left(done, total)
        width = min(BAR_CHARS_MAX, columns - len(head) - len(tail) - 3)
        filled = width * done // total
        bar = f"[{'#' * filled}{'.' * (width - filled)}]" if width > 0 else ""
        return f"{head}{bar}{tail}"[: columns - 1]

    def _time_left(self, done: int, total: int) -> str:
        """Return the time left by the average time of a step; empty before the first."""
        if done == 0:
            return ""
        all_ms = (self._stepped_ms - self._began_ms) * (total - done) // done
        left_s = max(0, all_ms - (self._now_ms() - self._stepped_ms)) // 1000
        return f" about {left_s // 60} min left" if left_s >= 120 else f" about {left_s} s left"


def can_erase_lines() -> bool:
    """Return True if standard error is a terminal on which a line can be erased."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _columns() -> int:
    return terminal_columns(sys.stderr) or DEFAULT_COLUMNS
