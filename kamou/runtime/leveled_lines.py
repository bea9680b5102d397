"""Lines of a run with a level, and the type of functions that report progress.

The level is an attribute of the text, so sinks may ignore it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

Progress = Callable[[str, int, int], None]  # name of the work, steps done, steps in all


class Level(StrEnum):
    """The level of a line, as in logs."""

    INFO = "INFO"
    WARNING = "WARNING"  # trading is limited, or a fault was repaired automatically
    ERROR = "ERROR"  # something crashed, or the operator must act


class LeveledLine(str):
    """A line of text with its level. A plain ``str`` counts as INFO."""

    __slots__ = ("level",)
    level: Level


def warning_line(text: str) -> LeveledLine:
    """Return the text as a line of level WARNING."""
    return _leveled(text, Level.WARNING)


def error_line(text: str) -> LeveledLine:
    """Return the text as a line of level ERROR."""
    return _leveled(text, Level.ERROR)


def find_level(line: str) -> Level:
    """Return the level of a line; INFO for a plain ``str``."""
    return line.level if isinstance(line, LeveledLine) else Level.INFO


def make_warning_sink(announce: Callable[[str], None]) -> Callable[[str], None]:
    """Return a sink that passes every line on as a WARNING."""
    return lambda line: announce(warning_line(line))


def _leveled(text: str, level: Level) -> LeveledLine:
    line = LeveledLine(text)
    line.level = level
    return line
