"""Standard error of the public site's process, escaped and limited for a terminal."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kamou.errors import SiteFloodError
from kamou.escaping import escape_text

LINES_MAX = 40  # per window; enough for a traceback of an exception group
BYTES_MAX = 256 * 1024  # per window; much more than the tracebacks of 40 connections
SITE_WINDOW_S = 60.0  # time for which lines and bytes are counted
SITE_LINE_BYTES_MAX = 4_096  # a longer unfinished line is passed on in parts


@attrs.define(eq=False)
class SiteText:
    """Splitter of text into lines, which it passes on escaped, prefixed and limited.

    One object serves all processes of a run, so that a new process does not renew the limits.
    ``announce`` takes a printable line, ``seconds`` returns the time of Trio's clock.
    """

    announce: Callable[[str], None]
    seconds: Callable[[], float]
    _rest: bytes = b""
    _since_s: float = float("-inf")
    _lines: int = 0
    _bytes: int = 0
    _left_out: int = 0

    def take(self, chunk: bytes) -> None:
        """Pass on the complete lines of the earlier rest and ``chunk``.

        An incomplete line of more than ``SITE_LINE_BYTES_MAX`` bytes is passed on, too.
        Lines beyond ``LINES_MAX`` in ``SITE_WINDOW_S`` are only counted.

        Raises:
            SiteFloodError: the process wrote more than ``BYTES_MAX`` within ``SITE_WINDOW_S``.
        """
        self._turn_window()
        self._bytes += len(chunk)
        if self._bytes > BYTES_MAX:
            self._rest = b""
            raise SiteFloodError(
                f"it wrote more than {BYTES_MAX // 1024} KB of text in {SITE_WINDOW_S:g} s"
            )
        *lines, rest = (self._rest + chunk).split(b"\n")
        if len(rest) > SITE_LINE_BYTES_MAX:
            lines, rest = [*lines, rest], b""
        self._rest = rest
        for line in lines:
            self._pass_on(line)

    def end(self) -> None:
        """Pass on the last line, without a line break, of a process that has ended."""
        if self._rest:
            self._pass_on(self._rest)
        self._rest = b""

    def _pass_on(self, line: bytes) -> None:
        if not line.strip():
            return
        if self._lines >= LINES_MAX:
            self._left_out += 1
            return
        self._lines += 1
        self.announce(f"site: {escape_text(line.decode('utf-8', 'backslashreplace'))}")

    def _turn_window(self) -> None:
        now_s = self.seconds()
        if now_s - self._since_s < SITE_WINDOW_S:
            return
        if self._left_out:
            self.announce(f"site: {self._left_out} more lines were left out")
        self._since_s, self._lines, self._bytes, self._left_out = now_s, 0, 0, 0
