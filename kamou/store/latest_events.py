"""Queries: newest equity, disabled strategies and rejected entries."""

from __future__ import annotations

import sqlite3

import attrs

from kamou.core.book.events import EquityRecorded
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.codes import Deny
from kamou.messages.codec import decode, decode_event


@attrs.frozen(kw_only=True)
class DisabledSpan:
    """A period in which a strategy was disabled; ``until_ms`` is None while it lasts."""

    strategy: str
    from_ms: int
    until_ms: int | None
    reason: Deny  # the exceeded limit


def latest_equity(reader: sqlite3.Connection) -> EquityRecorded | None:
    """Return the newest ``EquityRecorded``; None before the first.

    Raises:
        ValueError: this version cannot decode the event.
    """
    row = reader.execute(
        "SELECT body FROM event WHERE kind = 'equity_recorded' AND key IS NULL"
        " ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return None if row is None else decode(EquityRecorded, row[0])


def disabled_strategies(reader: sqlite3.Connection) -> tuple[str, ...]:
    """Return the strategies that wait for ``kamou resume``, sorted.

    Raises:
        ValueError: this version cannot decode an event.
    """
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


def disabled_spans(
    reader: sqlite3.Connection, *, limit: int, until_ms: int
) -> tuple[DisabledSpan, ...]:
    """Return the newest periods of disabled strategies, oldest first.

    At most ``limit`` periods are returned, which began by ``until_ms``; a later resumption is
    ignored. The number of rows read is proportional to ``limit``: since the oldest of the periods
    there is at most one resumption for each of them, and one for each strategy disabled before.

    Raises:
        ValueError: this version cannot decode an event.
    """
    disabled = [
        (seq, decode(StrategyDisabled, body))
        for seq, body in reader.execute(
            "SELECT seq, body FROM event WHERE kind = 'strategy_disabled' AND key IS NULL"
            " AND at_ms <= ? ORDER BY seq DESC LIMIT ?",
            (until_ms, limit),
        )
    ][::-1]
    if not disabled:
        return ()
    resumed = [
        (seq, decode(StrategyResumed, body))
        for seq, body in reader.execute(
            "SELECT seq, body FROM event WHERE kind = 'strategy_resumed' AND key IS NULL"
            " AND seq > ? AND at_ms <= ? ORDER BY seq",
            (disabled[0][0], until_ms),
        )
    ]
    return tuple(
        DisabledSpan(
            strategy=event.strategy,
            from_ms=event.at_ms,
            until_ms=next(
                (r.at_ms for at, r in resumed if at > seq and r.strategy == event.strategy), None
            ),
            reason=event.code,
        )
        for seq, event in disabled
    )


def count_disabled(reader: sqlite3.Connection, until_ms: int) -> int:
    """Count the times that a strategy was disabled by ``until_ms``."""
    return int(
        reader.execute(
            "SELECT count(*) FROM event WHERE kind = 'strategy_disabled' AND key IS NULL"
            " AND at_ms <= ?",
            (until_ms,),
        ).fetchone()[0]
    )


def rejected_entries(
    reader: sqlite3.Connection, symbol: str, since_ms: int
) -> tuple[tuple[int, str, str], ...]:
    """Return time, signal id and reason of each rejected entry of a symbol.

    The time is that of the rejection. The intents are of ``since_ms`` or later; the rows are sorted
    by the time of the intent, oldest first. The venue rejected the order, or the exchange port
    denied it before it was sent. The reason begins with the code.
    """
    return tuple(
        reader.execute(
            "SELECT closed_at_ms, trade_id, reason FROM order_ WHERE role = 'entry' AND symbol = ?"
            " AND intended_at_ms >= ? AND status = 'rejected' ORDER BY intended_at_ms",
            (symbol, since_ms),
        ).fetchall()
    )
