"""``CrashLines`` about children of a run that crash, or do not stop when asked.

If a child crashes by a type of error at a place for the first time, the line has the error and the
place. If it crashed so before, the line has only the number of the child's crashes.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path

import attrs

import kamou
from kamou.runtime.leveled_lines import error_line, warning_line
from kamou.runtime.supervision import ChildExit, ExitKind

PACKAGE = Path(kamou.__file__).parent
LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))
UNKNOWN_PLACE = "an unknown place"


@attrs.define(eq=False)
class CrashLines:
    """Announcer of a run's children that crash, or do not stop when asked.

    One object serves the whole run.
    """

    announce: Callable[[str], None]
    _times: dict[str, int] = attrs.Factory(dict)  # number of crashes, by child
    # Announced crashes: child, type of error, place.
    _known: set[tuple[str, str, str]] = attrs.Factory(set)

    def announce_exit(self, exit_: ChildExit) -> None:
        """Announce a crash, or a child that does not stop; do nothing for other exits."""
        name = f"{exit_.supervisor}/{exit_.child}"
        if exit_.kind is ExitKind.STUCK:
            self.announce(
                error_line(
                    f"{name} was asked to stop and still runs; kill the process if it does not end"
                )
            )
        if exit_.kind is not ExitKind.CRASHED:
            return
        times = self._times[name] = self._times.get(name, 0) + 1
        place = find_place(exit_.error)
        crash = (name, type(exit_.error).__name__, place)
        if crash in self._known:
            self.announce(warning_line(f"{name} crashed again ({format_ordinal(times)} time)"))
            return
        self._known.add(crash)
        often = "" if times == 1 else f" ({format_ordinal(times)} time)"
        self.announce(error_line(f"{name} crashed{often}: {exit_.error!r}, at {place}"))


def find_place(error: BaseException | None) -> str:
    """Return the file and line of an error, such as ``kamou/actors/feed.py:97``.

    A file outside of Kamou has the last two parts of its path.
    The error is the first one in the chain of causes. The line is the deepest one of its traceback
    that is outside of libraries; if there is none, the deepest one. Without a traceback the place
    is ``UNKNOWN_PLACE``.
    """
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    own = [frame for frame in frames if not is_library_file(Path(frame.filename))]
    for frame in (own or frames)[-1:]:
        path = Path(frame.filename)
        inside = path.is_relative_to(PACKAGE)
        shown = path.relative_to(PACKAGE.parent) if inside else Path(*path.parts[-2:])
        return f"{shown.as_posix()}:{frame.lineno}"
    return UNKNOWN_PLACE


def is_library_file(path: Path) -> bool:
    """Return True for a file of Python or of an installed package, except Kamou's."""
    return not path.is_relative_to(PACKAGE) and any(map(path.is_relative_to, LIBRARIES))


def format_ordinal(number: int) -> str:
    """Return an English ordinal: ``1st``, ``2nd``, ``3rd``, ``4th``, ``11th``."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{({1: 'st', 2: 'nd', 3: 'rd'}).get(number % 10, 'th')}"
