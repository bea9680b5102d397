"""The trace of a simulation, its stored form, and the comparison of two traces.

A trace has one line per event. Its hash also covers the content of events and audit records.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from kamou.errors import CheckFailedError, ConfigurationError

VERSION = 3
HEADER = "kamou-trace"


class Trace:
    """The hash of all lines and bytes in their order; the lines if ``keep`` is True."""

    def __init__(self, *, keep: bool) -> None:
        self.lines: list[str] = []
        self._keep = keep
        self._hash = hashlib.sha256()

    def line(self, text: str) -> None:
        """Add a line to the hash, and to the stored lines if these are kept."""
        self._hash.update(text.encode() + b"\n")
        if self._keep:
            self.lines.append(text)

    def digest(self, data: bytes) -> None:
        """Add bytes to the hash only."""
        self._hash.update(data)

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()


def make_header(seed: int, facts: str) -> str:
    """Return the first line of a stored trace, with its seed and facts digest."""
    return f"{HEADER} {VERSION} seed={seed} {facts}"


def read_trace(path: Path) -> list[str]:
    """Return the lines of a stored trace, its header first.

    Raises:
        ConfigurationError: the file cannot be read, is not a trace or has another version.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a trace: {error}; expected a file of"
            " `kamou simulate --trace`"
        ) from error
    first = lines[0].split() if lines else []
    if len(first) < 2 or first[0] != HEADER:
        raise ConfigurationError(
            f"{path} is not a trace; expected a file of `kamou simulate --trace`"
        )
    if first[1] != str(VERSION):
        raise ConfigurationError(
            f"{path} is a trace of version {first[1]}, and this Kamou compares version {VERSION}: "
            "write the trace again with `kamou simulate --trace`"
        )
    return lines


def compare_traces(before: list[str], now: list[str]) -> None:
    """Compare two traces line by line.

    Raises:
        CheckFailedError: a line differs, or one trace is longer.
    """
    for number, (old, new) in enumerate(zip(before, now, strict=False), 1):
        if old != new:
            raise CheckFailedError(
                f"the traces differ from line {number} on:", f"- {old}", f"+ {new}"
            )
    if len(before) != len(now):
        raise CheckFailedError(
            f"one trace ends early: {len(before)} lines in the earlier trace, {len(now)} now"
        )
