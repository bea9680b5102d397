"""``kamou status --watch``: read and show the status repeatedly until interrupted."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator

from kamou.commands.figures import moment_text
from kamou.commands.printing import draw_frames, is_terminal, output_size, print_json, print_lines
from kamou.commands.status_sources import RunFacts, StatusDocument, empty_status
from kamou.commands.status_text import frame_lines, repeated_lines
from kamou.errors import KamouError

ReadStatus = Callable[[], StatusDocument]

SIGNALS_MAX = 65_536  # capacity of a pipe, bytes
EXIT_TERMINATED = 128 + signal.SIGTERM  # as in shells


class StatusWatch:
    """Repeated reading of the status, with a notice if the run has ended."""

    def __init__(self, read: ReadStatus) -> None:
        self._read_status = read
        self._run: RunFacts | None = None  # of the newest status with a run
        self._ended_ms: int | None = None  # time of the first status without that run

    def read(self) -> StatusDocument:
        """Return the status; ``notice`` says why there is no run; None during a run."""
        try:
            status = self._read_status()
        except KamouError as error:  # for example a database during its restore
            status = empty_status(str(error), gone=False)
        notice = status["why_not"]
        if status["running"]:
            self._run, self._ended_ms = status["run"], None
        elif self._run is not None and status["gone"]:
            self._ended_ms = self._ended_ms or status["at_ms"]
            seen_at = moment_text(self._ended_ms)
            ended = f"the run (process {self._run['pid']}) has ended, seen {seen_at}"
            notice = f"{ended}; looking for the next one: {notice}"
        return {**status, "notice": notice}


def watch_status(read: ReadStatus, *, interval_s: float, as_json: bool) -> None:
    """Show the status repeatedly until Ctrl-C or SIGTERM.

    Ctrl-C ends the watch without an error, SIGTERM with the exit code ``EXIT_TERMINATED``.

    A terminal is redrawn in place. Without one the outputs follow each other with an empty line
    between them. With JSON each output is one line.
    """
    watched = StatusWatch(read)
    with contextlib.suppress(KeyboardInterrupt), _exit_on_sigterm():
        if as_json:
            while True:
                print_json(watched.read(), indent=None)
                _wait(interval_s)
        if is_terminal():
            _draw_repeatedly(watched, interval_s)
        _print_repeatedly(watched, interval_s)


def _print_repeatedly(watched: StatusWatch, interval_s: float) -> None:
    first = True
    while True:
        lines = repeated_lines(watched.read(), output_size()[0])
        print_lines(lines if first else ["", *lines])
        first = False
        _wait(interval_s)


def _draw_repeatedly(watched: StatusWatch, interval_s: float) -> None:
    with draw_frames() as draw, _handle_resizes():
        while True:
            status = watched.read()
            with _wake_on_signals() as woken:  # from here on a resize ends the wait
                draw(_fit_frame(status))
                if wait_for_signal(interval_s, woken):
                    draw(_fit_frame(status))


def _wait(seconds: float) -> None:
    with _wake_on_signals() as woken:
        wait_for_signal(seconds, woken)


def _fit_frame(status: StatusDocument) -> list[str]:
    """Return a frame for the terminal's size less one column, so that no line wraps."""
    columns, lines = output_size()
    return frame_lines(status, max(1, columns - 1), lines or 24)


def wait_for_signal(seconds: float, woken: int) -> bool:
    """Wait until the time is over or a signal came; return True if a signal came.

    ``woken`` is the descriptor of ``_wake_on_signals``; it is read empty.
    """
    ready, _, _ = select.select([woken], [], [], seconds)
    for descriptor in ready:
        os.read(descriptor, SIGNALS_MAX)
    return bool(ready)


@contextlib.contextmanager
def _wake_on_signals() -> Iterator[int]:
    """Yield a descriptor that becomes readable at every signal with a handler.

    Without it, a signal just before a wait would be handled only after the wait, because Python
    runs handlers between two bytecodes. A process has one such descriptor, and Trio needs it for
    requests to the run, so it must not be in use while the status is read.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(before)
        os.close(readable)
        os.close(writable)


@contextlib.contextmanager
def _handle_resizes() -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Raise ``SystemExit`` on SIGTERM, so that the terminal is restored."""

    def end(*_: object) -> None:
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
