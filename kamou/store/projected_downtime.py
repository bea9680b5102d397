"""Projection of downtime: more than two periods in which no cycle closed, with its cause.

Measured between the ends of two cycles by the time of the venue (``at_ms``), so it does not matter
what kept a cycle from closing. The real time that a fast-forward takes is none: ``HistoryCaughtUp``
and ``HistoryStopped`` say what it took; a journal of before, which has no such event, is read for
simulated time. What was skipped because a halt cut a fast-forward short has its own cause.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

import attrs

from kamou.core.book.run_events import HistoryCaughtUp, HistoryCutShort, HistoryStopped
from kamou.messages.codec import decode, kind_of
from kamou.store.projected_curve import mark_span

PERIODS = 2  # without a closed cycle are no downtime yet
PERIOD_MS = 300_000  # of a journal whose configuration names none
DOWNTIME_MIN_MS = 10_000  # no setting allows a shorter one: saves a look-up for each cycle
STOP, CRASH, SLEEP, UNKNOWN_CAUSE = "stop", "crash", "sleep", "unknown"
SKIPPED = "skipped"  # a halt cut a fast-forward short: simulated time that nothing ran in


@attrs.frozen(kw_only=True)
class _Said:
    at_ms: int
    kind: str
    body: bytes


@attrs.frozen(kw_only=True)
class _Stretch:
    begin_ms: int
    end_ms: int
    said: tuple[_Said, ...] = ()  # what was journalled between its ends, in order
    cause: str = ""  # where it is known without that


def read_period_ms(config_json: str) -> int:
    """Return the period of cycles that a configuration names, in ms."""
    period_s = json.loads(config_json).get("cycle.period_s")
    return PERIOD_MS if period_s is None else int(period_s) * 1000


def newest_closed_cycle(cursor: sqlite3.Cursor) -> tuple[int, int] | None:
    """Return ``(cycle_at_ms, closed_at_ms)`` of the newest cycle that closed."""
    row = cursor.execute(
        "SELECT cycle_at_ms, closed_at_ms FROM cycle WHERE closed_at_ms IS NOT NULL"
        " ORDER BY cycle_at_ms DESC LIMIT 1"
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def record_downtime(cursor: sqlite3.Cursor, seq: int, at_ms: int, before: tuple[int, int]) -> int:
    """Record the downtime between the end of a cycle and the next one's.

    Args:
        cursor: inside the transaction of the event.
        seq: of the event that says that a cycle closed.
        at_ms: when it closed.
        before: ``(cycle_at_ms, closed_at_ms)`` of the newest cycle that had closed.

    Returns:
        How many times of downtime were recorded: more than one around a fast-forward.
    """
    if at_ms - before[1] <= PERIODS * DOWNTIME_MIN_MS:
        return 0
    limit_ms = PERIODS * _period_ms(cursor, before[0], seq)
    if at_ms - before[1] <= limit_ms:
        return 0
    said = _said(cursor, before[0], seq)
    found = [
        stretch
        for stretch in _stretches(cursor, said, before[1], at_ms)
        if stretch.end_ms - stretch.begin_ms > limit_ms
    ]
    for number, stretch in enumerate(found):
        begin, end = stretch.begin_ms, stretch.end_ms
        cursor.execute(
            "INSERT INTO downtime (seq, number, from_ms, until_ms, cause) VALUES (?, ?, ?, ?, ?)",
            (seq, number, begin, end, _cause(stretch, limit_ms)),
        )
        mark_span(cursor, "down", begin, end)
    return len(found)


def _period_ms(cursor: sqlite3.Cursor, cycle_at_ms: int, seq: int) -> int:
    """The longer one of the runs before and after, if it was changed between them."""
    row = cursor.execute(
        "SELECT max(period_ms) FROM run WHERE run_number IN (SELECT run_number FROM event"
        " WHERE seq = ? OR (kind = 'cycle_closed' AND key = ?))",
        (seq, str(cycle_at_ms)),
    ).fetchone()
    return PERIOD_MS if row[0] is None else int(row[0])


def _said(cursor: sqlite3.Cursor, cycle_at_ms: int, seq: int) -> list[_Said]:
    """What was journalled between the ends of two cycles, in order."""
    first = cursor.execute(
        "SELECT seq FROM event WHERE kind = 'cycle_closed' AND key = ?", (str(cycle_at_ms),)
    ).fetchone()[0]
    rows = cursor.execute(
        "SELECT at_ms, kind, body FROM event WHERE seq > ? AND seq < ? ORDER BY seq", (first, seq)
    ).fetchall()
    return [_Said(at_ms=at_ms, kind=kind, body=body) for at_ms, kind, body in rows]


def _stretches(
    cursor: sqlite3.Cursor, said: list[_Said], begin_ms: int, end_ms: int
) -> Iterator[_Stretch]:
    """Yield the time between two cycles without what a fast-forward took of it."""
    inside: list[_Said] = []
    for each in said:
        history = HISTORY.get(each.kind)
        if history is None:
            inside.append(each)
            continue
        yield from _around_history(cursor, decode(history, each.body), begin_ms)
        begin_ms, inside = max(begin_ms, each.at_ms), []
    yield _Stretch(begin_ms=begin_ms, end_ms=end_ms, said=tuple(inside))


HISTORY: Mapping[str, type[HistoryCaughtUp | HistoryCutShort]] = MappingProxyType(
    {kind_of(kind): kind for kind in (HistoryCaughtUp, HistoryCutShort)}
)


def _around_history(
    cursor: sqlite3.Cursor,
    history: HistoryCaughtUp | HistoryCutShort,
    begin_ms: int,
) -> Iterator[_Stretch]:
    """Yield the time before a process that made history, without what earlier ones took of it.

    A process that was stopped meanwhile left ``HistoryStopped``; one that left nothing was killed.
    """
    if isinstance(history, HistoryCutShort) and history.until_ms > begin_ms:
        yield _Stretch(begin_ms=begin_ms, end_ms=history.until_ms, cause=SKIPPED)
        begin_ms = history.until_ms
    cause = CRASH
    for stop in _history_stops(cursor):
        yield _Stretch(begin_ms=begin_ms, end_ms=stop.since_ms, cause=cause)
        if stop.until_ms >= begin_ms:
            begin_ms, cause = stop.until_ms, STOP
    yield _Stretch(begin_ms=begin_ms, end_ms=history.since_ms, cause=cause)


def _history_stops(cursor: sqlite3.Cursor) -> list[HistoryStopped]:
    """Return when the operator stopped a run that made history, oldest first."""
    rows = cursor.execute(
        "SELECT body FROM event WHERE kind = ? AND key IS NULL ORDER BY seq",
        (kind_of(HistoryStopped),),
    ).fetchall()
    return [decode(HistoryStopped, body) for (body,) in rows]


def _cause(stretch: _Stretch, limit_ms: int) -> str:
    """What ended the run before; without a new run, whether anything was journalled at all."""
    if stretch.cause:
        return stretch.cause
    begin_ms, end_ms = stretch.begin_ms, stretch.end_ms
    inside = [each for each in stretch.said if begin_ms <= each.at_ms <= end_ms]
    for each in inside:
        if each.kind == "run_stopped":
            return STOP if json.loads(each.body)["reason"] != "crashed" else CRASH
        if each.kind == "run_started":
            return CRASH  # the run before said no goodbye
    # A run that is awake says something in every cycle, if only that nothing was ranked.
    received = [begin_ms, *(each.at_ms for each in inside), end_ms]
    silent = max(later - earlier for earlier, later in pairwise(received))
    return SLEEP if silent > limit_ms else UNKNOWN_CAUSE
