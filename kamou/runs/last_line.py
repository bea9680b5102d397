"""``LastLine`` of a run: its end, and the positions and orders that it leaves."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable

import attrs

from kamou.data_directory.folder import DataDirectory
from kamou.errors import KamouError, find_error_to_show
from kamou.runs.account_summary import describe_remaining_positions
from kamou.runs.session import is_cancellation
from kamou.runtime.leveled_lines import error_line, warning_line

READ_ERRORS = (
    *(KamouError, OSError, sqlite3.Error),
    *(AssertionError, ArithmeticError, LookupError, TypeError, ValueError),  # of the fold
)
"""Errors of reading the book. If an error of the fold ended the run, the read raises it again."""

SIGNAL_NAMES = {signal.SIGINT: "Ctrl-C (SIGINT)"}


@attrs.define(eq=False)
class LastLine:
    """Announcer of the signal that asks a run to stop, and of the end of the run."""

    announce: Callable[[str], None]
    data_dir: DataDirectory
    _started: bool = False
    _why: str = ""  # name of the signal that asked the run to stop

    def start(self) -> None:
        """Announce the end of the run from now on.

        A start that fails before this call prints its error and no last line.
        """
        self._started = True

    def announce_signal(self, number: int) -> None:
        """Announce that a signal has asked the run to stop."""
        name = signal.Signals(number).name
        self._why = SIGNAL_NAMES.get(signal.Signals(number), name)
        self.announce(f"an orderly stop begins: {self._why}")

    def announce_end(self, error: BaseException | None) -> None:
        """Announce why the run ended, and the positions and orders left at the exchange.

        The orders are those without a position. Do nothing before ``start``.

        Args:
            error: the error that ended the run; None or a cancellation after an orderly stop.
        """
        if not self._started:
            return
        try:
            left = describe_remaining_positions(self.data_dir)
        except READ_ERRORS as unknown:  # not raised: it would hide the error that ended the run
            left = f"not known ({str(unknown) or type(unknown).__name__})"
        left = f"left at the exchange: {left}"
        if error is None or is_cancellation(error):
            again = "`kamou run` on the same data directory goes on from here"
            self.announce(f"stopped by {self._why or 'its caller'}; {left}; {again}")
            return
        found = find_error_to_show(error)
        words = str(found).splitlines() if isinstance(found, KamouError) else []
        why = words[0] if words else type(found).__name__
        say = warning_line if isinstance(found, KeyboardInterrupt) else error_line
        self.announce(say(f"ended by an error: {why}; {left}"))
