"""The newest mark of the account, as its event has it: with the day's loss that the rules count."""

from __future__ import annotations

import sqlite3

from kamou.core.events import EquityMarked
from kamou.messages.codec import decode


def latest_mark(reader: sqlite3.Connection) -> EquityMarked | None:
    """Return the newest ``EquityMarked``; None before the first. One look-up by index.

    Raises:
        ValueError: the event is not of this version.
    """
    row = reader.execute(
        "SELECT body FROM event WHERE kind = 'equity_marked' AND key IS NULL"
        " ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return None if row is None else decode(EquityMarked, row[0])
