"""``Notices``, which limits how often a ``Warn`` gets a line, and ``ignore_line``."""

from __future__ import annotations

from collections.abc import Callable

import trio

from kamou.escaping import escape_text

Warn = Callable[[str], None]  # takes one printable line

NOTICE_PERIOD_S = 60.0  # one line for each connection could fill a disk


def ignore_line(line: str) -> None:
    """Ignore the line, as a ``Warn``; ``Traffic`` counts the same events."""


class Notices:
    """Filter that passes on one line per subject and period, and counts the others.

    The subjects are few and fixed, so memory does not grow with the traffic.
    """

    def __init__(self, warn: Warn, *, period_s: float = NOTICE_PERIOD_S) -> None:
        self._warn = warn
        self._period_s = period_s
        self._warned_at: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def say(self, subject: str, line: str) -> None:
        """Pass the line on, escaped, unless the subject had a line within the period."""
        now = trio.current_time()
        warned_at = self._warned_at.get(subject)
        if warned_at is not None and now - warned_at < self._period_s:
            self._suppressed[subject] = self._suppressed.get(subject, 0) + 1
            return
        suppressed = self._suppressed.pop(subject, 0)
        self._warned_at[subject] = now
        more = f" ({suppressed} more since the last such line)" if suppressed else ""
        self._warn(escape_text(line) + more)
