"""Projection of downtime with its cause, and the period and closing of cycles.

Downtime is more than two periods in which no cycle closed. Downtime is measured between the closing
events of two cycles, by the venue's time (``at_ms``), whatever kept a cycle from closing. The real
time that a fast-forward takes is no downtime: ``HistoryCaughtUp``, ``HistoryCutShort`` and
``HistoryStopped`` have its start and end. Simulated time that was skipped because a halt ended a
fast-forward early has a cause of its own.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

import attrs

from kamou.core.book.events import RunStarted, RunStopped
from kamou.core.book.run_events import HistoryCaughtUp, HistoryCutShort, HistoryStopped
from kamou.core.kinds import RunEnd
from kamou.messages.codec import decode, kind_of
from kamou.store.projected_curve import mark_span
from kamou.store.record_rows import MarkKind
from kamou.store.rows import Downtime, DowntimeCause
from kamou.store.table_rows import insert

PERIODS = 2  # more periods than this without a closed cycle are downtime
PERIOD_MS = 300_000  # if a journal's configuration has no period
DOWNTIME_MIN_MS = 10_000  # the shortest period that the settings allow


@attrs.frozen(kw_only=True)
class _StoredEvent:
    at_ms: int
    kind: str
    body: bytes


@attrs.frozen(kw_only=True)
class _Span:
    begin_ms: int
    end_ms: int
    events: tuple[_StoredEvent, ...] = ()  # between its ends, in order
    cause: DowntimeCause | None = None  # None: to be found from the events


def read_period_ms(config_json: str) -> int:
    """Return the period of cycles of a configuration, in ms.

    The period is ``PERIOD_MS`` if the configuration has none.
    """
    period_s = json.loads(config_json).get("cycle.period_s")
    return PERIOD_MS if period_s is None else int(period_s) * 1000


def newest_closed_cycle(cursor: sqlite3.Cursor) -> tuple[int, int] | None:
    """Return the newest closed cycle as ``(cycle_at_ms, closed_at_ms)``.

    Return None before the first cycle has closed.
    """
    row = cursor.execute(
        "SELECT cycle_at_ms, closed_at_ms FROM cycle WHERE closed_at_ms IS NOT NULL"
        " ORDER BY cycle_at_ms DESC LIMIT 1"
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def record_downtime(cursor: sqlite3.Cursor, seq: int, at_ms: int, before: tuple[int, int]) -> int:
    """Record the downtime between the closing of a cycle and that of the cycle before.

    The equity curve gets a mark of each downtime.

    Args:
        cursor: in the transaction of the cycle's ``CycleClosed``.
        seq: sequence number of that event.
        at_ms: time of that event.
        before: ``(cycle_at_ms, closed_at_ms)`` of the cycle before.

    Returns:
        The number of rows that were recorded. More than one is possible only if a fast-forward lies
        in between.
    """
    if at_ms - before[1] <= PERIODS * DOWNTIME_MIN_MS:
        return 0
    limit_ms = PERIODS * _period_ms(cursor, before[0], seq)
    if at_ms - before[1] <= limit_ms:
        return 0
    events = _events_between(cursor, before[0], seq)
    found = [
        span
        for span in _split_by_history(cursor, events, before[1], at_ms)
        if span.end_ms - span.begin_ms > limit_ms
    ]
    for number, span in enumerate(found):
        begin, end = span.begin_ms, span.end_ms
        cause = _find_cause(span, limit_ms)
        row = Downtime(seq=seq, number=number, from_ms=begin, until_ms=end, cause=cause)
        insert(cursor, row)
        mark_span(cursor, MarkKind.DOWN, begin, end)
    return len(found)


def _period_ms(cursor: sqlite3.Cursor, cycle_at_ms: int, seq: int) -> int:
    """Return the longer of the periods of the two cycles' runs, in ms."""
    row = cursor.execute(
        "SELECT max(period_ms) FROM run WHERE run_number IN (SELECT run_number FROM event"
        " WHERE seq = ? OR (kind = 'cycle_closed' AND key = ?))",
        (seq, str(cycle_at_ms)),
    ).fetchone()
    return PERIOD_MS if row[0] is None else int(row[0])


def _events_between(cursor: sqlite3.Cursor, cycle_at_ms: int, seq: int) -> list[_StoredEvent]:
    """Return the events between a cycle's closing event and event ``seq``, in order."""
    first = cursor.execute(
        "SELECT seq FROM event WHERE kind = 'cycle_closed' AND key = ?", (str(cycle_at_ms),)
    ).fetchone()[0]
    rows = cursor.execute(
        "SELECT at_ms, kind, body FROM event WHERE seq > ? AND seq < ? ORDER BY seq", (first, seq)
    ).fetchall()
    return [_StoredEvent(at_ms=at_ms, kind=kind, body=body) for at_ms, kind, body in rows]


def _split_by_history(
    cursor: sqlite3.Cursor, events: list[_StoredEvent], begin_ms: int, end_ms: int
) -> Iterator[_Span]:
    """Yield the spans between two cycles, without the real time of fast-forwards."""
    inside: list[_StoredEvent] = []
    for each in events:
        history = HISTORY.get(each.kind)
        if history is None:
            inside.append(each)
            continue
        yield from _around_history(cursor, decode(history, each.body), begin_ms)
        begin_ms, inside = max(begin_ms, each.at_ms), []
    yield _Span(begin_ms=begin_ms, end_ms=end_ms, events=tuple(inside))


HISTORY: Mapping[str, type[HistoryCaughtUp | HistoryCutShort]] = MappingProxyType(
    {kind_of(kind): kind for kind in (HistoryCaughtUp, HistoryCutShort)}
)


def _around_history(
    cursor: sqlite3.Cursor,
    history: HistoryCaughtUp | HistoryCutShort,
    begin_ms: int,
) -> Iterator[_Span]:
    """Yield the spans before a fast-forward, without the real time of earlier ones.

    A fast-forward that the operator stopped left ``HistoryStopped``; without it, the process
    crashed.
    """
    if isinstance(history, HistoryCutShort) and history.until_ms > begin_ms:
        yield _Span(begin_ms=begin_ms, end_ms=history.until_ms, cause=DowntimeCause.SKIPPED)
        begin_ms = history.until_ms
    cause = DowntimeCause.CRASH
    for stop in _history_stops(cursor):
        yield _Span(begin_ms=begin_ms, end_ms=stop.since_ms, cause=cause)
        if stop.until_ms >= begin_ms:
            begin_ms, cause = stop.until_ms, DowntimeCause.STOP
    yield _Span(begin_ms=begin_ms, end_ms=history.since_ms, cause=cause)


def _history_stops(cursor: sqlite3.Cursor) -> list[HistoryStopped]:
    """Return the fast-forwards that the operator stopped, oldest first."""
    rows = cursor.execute(
        "SELECT body FROM event WHERE kind = ? AND key IS NULL ORDER BY seq",
        (kind_of(HistoryStopped),),
    ).fetchall()
    return [decode(HistoryStopped, body) for (body,) in rows]


def _find_cause(span: _Span, limit_ms: int) -> DowntimeCause:
    """Return the cause of a downtime, from the events inside it.

    A cause that the span already has stays. A run's recorded stop gives ``stop``, or ``crash`` if
    an error ended the run; a start without a stop before it gives ``crash``. Otherwise the cause is
    ``sleep`` if no event was recorded for more than ``limit_ms``, else ``unknown``.
    """
    if span.cause is not None:
        return span.cause
    begin_ms, end_ms = span.begin_ms, span.end_ms
    inside = [each for each in span.events if begin_ms <= each.at_ms <= end_ms]
    for each in inside:
        if each.kind == kind_of(RunStopped):
            crashed = json.loads(each.body)["reason"] == RunEnd.CRASHED
            return DowntimeCause.CRASH if crashed else DowntimeCause.STOP
        if each.kind == kind_of(RunStarted):
            return DowntimeCause.CRASH  # the run before recorded no stop
    # A run that is awake records an event in every cycle, even if it ranks no signal.
    times = [begin_ms, *(each.at_ms for each in inside), end_ms]
    longest_ms = max(later - earlier for earlier, later in pairwise(times))
    return DowntimeCause.SLEEP if longest_ms > limit_ms else DowntimeCause.UNKNOWN
