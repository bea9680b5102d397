"""The trace of a simulation, one line per event, and its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kamou.errors import CheckFailedError, ConfigurationError

VERSION = 3
HEADER = "kamou-trace"


class Trace:
    """Hashes lines and bytes in order; stores the lines if ``keep`` is True."""

    def __init__(self, *, keep: bool) -> None:
        self.lines: list[str] = []
        self._keep = keep
        self._hash = hashlib.sha256()

    def line(self, text: str) -> None:
        self._hash.update(text.encode() + b"\n")
        if self._keep:
            self.lines.append(text)

    def digest(self, data: bytes) -> None:
        """Add bytes to the hash only."""
        self._hash.update(data)

    @property
    def hex(self) -> str:
        return self._hash.hexdigest()


def header(seed: int, facts: str) -> str:
    return f"{HEADER} {VERSION} seed={seed} {facts}"


def read(path: Path) -> list[str]:
    """Read the lines of a stored trace, its header first.

    Raises:
        ConfigurationError: the file is no trace or of another version.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as a trace: {error}") from error
    first = lines[0].split() if lines else []
    if len(first) < 2 or first[0] != HEADER:
        raise ConfigurationError(f"{path}: not a trace of `kamou simulate --trace`")
    if first[1] != str(VERSION):
        raise ConfigurationError(
            f"{path}: a trace of version {first[1]}; this Kamou compares version {VERSION}: "
            "write it again with the Kamou to compare"
        )
    return lines


def compare(before: list[str], now: list[str]) -> None:
    """Raise ``CheckFailedError`` at the first line that differs."""
    for number, (old, new) in enumerate(zip(before, now, strict=False), 1):
        if old != new:
            raise CheckFailedError(f"the traces part at line {number}:", f"- {old}", f"+ {new}")
    if len(before) != len(now):
        raise CheckFailedError(f"one trace ends early: {len(before)} lines before, {len(now)} now")
