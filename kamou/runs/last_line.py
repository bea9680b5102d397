"""Why a run ends and what it leaves: its last line."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable

import attrs

from kamou.clock import Clock
from kamou.data_directory.folder import DataDirectory
from kamou.errors import KamouError, innermost_error
from kamou.runs.account_words import left_at_the_exchange
from kamou.runs.session import is_cancellation
from kamou.runtime.leveled_lines import error_line, warning_line

OUTCOME_UNKNOWN = (
    *(KamouError, OSError, sqlite3.Error),
    *(AssertionError, ArithmeticError, LookupError, TypeError, ValueError),  # of the fold
)
"""What reading the book may raise. The fold may be what ended the run, and raise it again here."""

SIGNAL_NAMES = {signal.SIGINT: "Ctrl-C (SIGINT)"}


@attrs.define(eq=False)
class LastLine:
    """Hears why a run ends, and says goodbye once it has stopped."""

    announce: Callable[[str], None]
    folder: DataDirectory
    clock: Clock
    _listened_ms: int | None = None  # since when it listens; before, there is nothing to say
    _why: str = ""

    def listens(self) -> None:
        """The run is up: from now on it says goodbye."""
        self._listened_ms = self.clock.now_ms()

    def hear(self, by: int) -> None:
        """A signal asks the run to stop."""
        name = signal.Signals(by).name
        self._why = SIGNAL_NAMES.get(signal.Signals(by), name)
        self.announce(f"stopping in order: {self._why}")

    def say(self, error: BaseException | None) -> None:
        """Say why it ended and what is left at the exchange. ``error``: what ended it."""
        if self._listened_ms is None:
            return
        try:
            left = left_at_the_exchange(self.folder)
        except OUTCOME_UNKNOWN as unknown:  # the error that ended it counts
            left = f"not known ({str(unknown) or type(unknown).__name__})"
        left = f"left at the exchange: {left}"
        if error is None or is_cancellation(error):
            again = "`kamou run` on the same data directory goes on from here"
            self.announce(f"stopped by {self._why or 'its caller'}; {left}; {again}")
            return
        found = innermost_error(error)
        words = str(found).splitlines() if isinstance(found, KamouError) else []
        why = words[0] if words else type(found).__name__
        say = warning_line if isinstance(found, KeyboardInterrupt) else error_line
        self.announce(say(f"ended by an error: {why}; {left}"))
