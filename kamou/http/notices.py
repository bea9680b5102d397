"""Notices of a listener: at most one line per subject and minute, however often it happens."""

from __future__ import annotations

from collections.abc import Callable

import trio

from kamou.escaping import escape_text

Warn = Callable[[str], None]  # takes one printable line

NOTICE_PERIOD_S = 60.0  # a line a minute can be read; a line a connection fills a disk


def say_nothing(line: str) -> None:
    """Drop the line; ``Traffic`` counts the same events."""


class Notices:
    """Pass on the first line of each subject in a period, and count the others.

    The subjects are few and fixed, so memory does not grow with what strangers send.
    """

    def __init__(self, warn: Warn, *, period_s: float = NOTICE_PERIOD_S) -> None:
        self._warn = warn
        self._period_s = period_s
        self._said_at: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def say(self, subject: str, line: str) -> None:
        """Pass ``line`` on unless the subject had a line within the period."""
        now = trio.current_time()
        said_at = self._said_at.get(subject)
        if said_at is not None and now - said_at < self._period_s:
            self._unsaid[subject] = self._unsaid.get(subject, 0) + 1
            return
        unsaid = self._unsaid.pop(subject, 0)
        self._said_at[subject] = now
        more = f" ({unsaid} more since the last such line)" if unsaid else ""
        self._warn(escape_text(line) + more)
