"""Query: the refiner's reservations and calls of a day, for its budget."""

from __future__ import annotations

import sqlite3

from kamou.core.book.refiner_events import RefinerCallsEnded, RefinerCallsReserved
from kamou.core.day import DAY_MS
from kamou.messages.codec import decode, kind_of

_BODIES = "SELECT body FROM event WHERE kind = ? AND at_ms >= ? ORDER BY seq"


def query_refiner_calls(
    reader: sqlite3.Connection, at_ms: int
) -> tuple[list[RefinerCallsReserved], list[RefinerCallsEnded]]:
    """Return the reservations and ends of calls since the start of the UTC day.

    Raises:
        ValueError: this version cannot decode an event.
    """
    since_ms = at_ms - at_ms % DAY_MS
    reserved, ended = (
        reader.execute(_BODIES, (kind_of(kind), since_ms)).fetchall()
        for kind in (RefinerCallsReserved, RefinerCallsEnded)
    )
    return (
        [decode(RefinerCallsReserved, body) for (body,) in reserved],
        [decode(RefinerCallsEnded, body) for (body,) in ended],
    )
