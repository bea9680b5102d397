"""What `kamou status` reads from the events themselves: the newest mark, disabled strategies.

A mark has the day's loss that the rules count.
"""

from __future__ import annotations

import sqlite3

from kamou.core.events import EquityMarked
from kamou.core.strategy_events import StrategyDisabled, StrategyResumed
from kamou.messages.codec import decode, decode_event


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


def disabled_strategies(reader: sqlite3.Connection) -> tuple[str, ...]:
    """Return the strategies that wait for the operator to resume them. Such events are rare."""
    disabled: set[str] = set()
    for kind, body in reader.execute(
        "SELECT kind, body FROM event WHERE kind IN ('strategy_disabled', 'strategy_resumed')"
        " AND key IS NULL ORDER BY seq"
    ):
        event = decode_event(kind, body)
        if isinstance(event, StrategyDisabled):
            disabled.add(event.strategy)
        elif isinstance(event, StrategyResumed):
            disabled.discard(event.strategy)
    return tuple(sorted(disabled))
