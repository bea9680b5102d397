"""``kamou status --watch``: look again and again, and show each look until interrupted."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from typing import Any

from kamou.commands.figures import moment_text
from kamou.commands.printing import drawing, is_terminal, output_size, print_json, print_lines
from kamou.commands.status_sources import unread
from kamou.commands.status_text import frame, status_lines
from kamou.errors import KamouError

Look = Callable[[], dict[str, Any]]

SIGNALS_MAX = 65_536  # what a pipe holds
EXIT_TERMINATED = 128 + signal.SIGTERM  # the shell's own convention


class StatusWatch:
    """Looks that follow each other: each knows whether the one before found a run."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._run: dict[str, Any] | None = None  # of the newest look that found one
        self._ended_ms: int | None = None  # when a look first found it gone

    def look(self) -> dict[str, Any]:
        """Look once. What cannot be read now is said in ``notice``, and may be there next time."""
        try:
            seen = self._look()
        except KamouError as error:  # a database that is being restored, say
            seen = unread(str(error), gone=False)
        notice = seen["why_not"]
        if seen["running"]:
            self._run, self._ended_ms = seen["run"], None
        elif self._run is not None and seen["gone"]:
            self._ended_ms = self._ended_ms or seen["at_ms"]
            seen_at = moment_text(self._ended_ms)
            ended = f"the run (process {self._run['pid']}) has ended, seen {seen_at}"
            notice = f"{ended}; looking for the next one: {notice}"
        return {**seen, "notice": notice}


def watch(look: Look, *, interval_s: float, as_json: bool) -> None:
    """Show each look until Ctrl-C, which ends it quietly.

    A terminal is redrawn in place. Elsewhere the looks follow each other, an empty line between
    them; with JSON a line for each.
    """
    watched = StatusWatch(look)
    with contextlib.suppress(KeyboardInterrupt), _ended_in_order():
        if as_json:
            while True:
                print_json(watched.look(), indent=None)
                _wait(interval_s)
        if is_terminal():
            _draw_looks(watched, interval_s)
        _print_looks(watched, interval_s)


def _print_looks(watched: StatusWatch, interval_s: float) -> None:
    first = True
    while True:
        lines = status_lines(watched.look(), output_size()[0])
        print_lines(lines if first else ["", *lines])
        first = False
        _wait(interval_s)


def _draw_looks(watched: StatusWatch, interval_s: float) -> None:
    with drawing() as draw, _handled_resizes():
        while True:
            seen = watched.look()
            with _waking_signals() as woken:  # a resize from here on ends the pause
                draw(_sized(seen))
                if pause(interval_s, woken):
                    draw(_sized(seen))


def _wait(seconds: float) -> None:
    with _waking_signals() as woken:
        pause(seconds, woken)


def _sized(seen: dict[str, Any]) -> list[str]:
    """Return the frame of the terminal as it is now, a column short of where lines wrap."""
    columns, lines = output_size()
    return frame(seen, max(1, columns - 1), lines or 24)


def pause(seconds: float, woken: int) -> bool:
    """Wait; return True if ``woken``, a descriptor, became readable before; it is read empty."""
    ready, _, _ = select.select([woken], [], [], seconds)
    for descriptor in ready:
        os.read(descriptor, SIGNALS_MAX)
    return bool(ready)


@contextlib.contextmanager
def _waking_signals() -> Iterator[int]:
    """Yield a descriptor that every signal with a handler makes readable.

    A handler runs between two steps of Python. A signal that comes when a wait is about to begin
    would be handled after the wait only, were it not for the descriptor. A process has one such
    descriptor, and Trio needs it to ask a running system: never hold it during a look.
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
def _handled_resizes() -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends the watch as Ctrl-C does, so that the terminal is left as it was."""

    def end(*_: object) -> None:
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
