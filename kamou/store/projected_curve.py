"""Projections of the equity curve and of the marks on its intervals.

The curve has at most ``POINTS_MAX`` intervals, whatever its length. Each interval keeps its last,
lowest and highest equity, so that a chart shows every extreme. All intervals have one width:
``WIDTH_MIN_MS`` times a power of two. When the curve needs more than ``POINTS_MAX`` intervals, the
width doubles and neighbors are merged. The order in which snapshots were recorded does not change
their intervals. A mark after the newest snapshot extends the curve and may double the width.

Halts, downtime, transfers and changes of the configuration are marked on their intervals.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal

import attrs

from kamou.store.record_rows import CurveInterval, CurveMark, CurveWidth, MarkKind
from kamou.store.table_rows import insert, select, select_one, upsert

POINTS_MAX = 360  # about one for each pixel of a phone's width
WIDTH_MIN_MS = 300_000  # the default period of cycles, each of which records one snapshot


def add_equity_mark(cursor: sqlite3.Cursor, at_ms: int, equity: Decimal, *, replaced: bool) -> None:
    """Add an equity snapshot to the curve.

    ``replaced`` is True if the snapshot replaces one of the same time.
    """
    width_ms = _extend_curve(cursor, at_ms, at_ms)
    start_ms = at_ms - at_ms % width_ms
    if replaced:
        _rebuild_interval(cursor, start_ms, width_ms)
        return
    present = select_one(cursor, CurveInterval, "WHERE start_ms = ?", start_ms)
    new = _single(start_ms, at_ms, equity)
    upsert(cursor, new if present is None else _merge_two(start_ms, present, new))


def mark_moment(
    cursor: sqlite3.Cursor, kind: MarkKind, at_ms: int, amount: Decimal | None = None
) -> None:
    """Mark the interval of a transfer, with its amount, or of a changed configuration.

    Do nothing without a curve, or at a time before the curve.
    """
    if at_ms < _first_ms(cursor):
        return
    width_ms = _extend_curve(cursor, at_ms, at_ms)
    _add_mark(cursor, kind, at_ms - at_ms % width_ms, amount or Decimal(0))


def mark_span(cursor: sqlite3.Cursor, kind: MarkKind, from_ms: int, until_ms: int) -> None:
    """Mark every interval that a halt or a downtime overlaps.

    The part of the span before the first equity snapshot gets no mark.
    """
    from_ms = max(from_ms, _first_ms(cursor))
    if until_ms <= from_ms:
        return
    width_ms = _extend_curve(cursor, from_ms, until_ms)
    for start_ms in range(from_ms - from_ms % width_ms, until_ms, width_ms):
        _add_mark(cursor, kind, start_ms, Decimal(0))


def _first_ms(cursor: sqlite3.Cursor) -> int:
    """Return the start of the curve; a time beyond all others if there is none."""
    row = cursor.execute("SELECT first_ms FROM curve_width").fetchone()
    return 2**62 if row is None else int(row[0])


def _add_mark(cursor: sqlite3.Cursor, kind: MarkKind, start_ms: int, amount: Decimal) -> None:
    where = "WHERE kind = ? AND start_ms = ?"
    present = select_one(cursor, CurveMark, where, kind, start_ms)
    total = amount if present is None else present.amount + amount
    upsert(cursor, CurveMark(kind=kind, start_ms=start_ms, amount=total))


def _extend_curve(cursor: sqlite3.Cursor, from_ms: int, until_ms: int) -> int:
    """Extend the curve to this span, and return the width of its intervals in ms."""
    row = select_one(cursor, CurveWidth, "")
    if row is None:
        row = CurveWidth(width_ms=WIDTH_MIN_MS, first_ms=from_ms, last_ms=from_ms)
        insert(cursor, row)
    width_ms = row.width_ms
    first_ms, last_ms = min(row.first_ms, from_ms), max(row.last_ms, until_ms)
    while last_ms // width_ms - first_ms // width_ms >= POINTS_MAX:
        width_ms *= 2
    last_ms -= last_ms % width_ms  # so that a snapshot in the same interval writes nothing
    if (width_ms, first_ms, last_ms) != (row.width_ms, row.first_ms, row.last_ms):
        cursor.execute(
            "UPDATE curve_width SET width_ms = ?, first_ms = ?, last_ms = ?",
            (width_ms, first_ms, last_ms),
        )
    if width_ms != row.width_ms:
        _widen(cursor, width_ms)
    return width_ms


def _widen(cursor: sqlite3.Cursor, width_ms: int) -> None:
    """Merge all intervals and marks into intervals of a larger width."""
    points = select(cursor, CurveInterval, "ORDER BY start_ms")
    cursor.execute("DELETE FROM curve")
    for interval in merge_points(points, width_ms):
        insert(cursor, interval)
    marks = select(cursor, CurveMark, "")
    cursor.execute("DELETE FROM curve_mark")
    for mark in marks:
        _add_mark(cursor, mark.kind, mark.start_ms - mark.start_ms % width_ms, mark.amount)


def _rebuild_interval(cursor: sqlite3.Cursor, start_ms: int, width_ms: int) -> None:
    """Compute an interval again: the replaced snapshot may have been its low or high."""
    snapshots = cursor.execute(
        "SELECT at_ms, equity FROM equity WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms",
        (start_ms, start_ms + width_ms),
    )
    points = [_single(at_ms, at_ms, Decimal(equity)) for at_ms, equity in snapshots]
    for interval in merge_points(points, width_ms):
        upsert(cursor, interval)


def merge_points(points: Iterable[CurveInterval], width_ms: int) -> list[CurveInterval]:
    """Merge intervals, given oldest first, into intervals of ``width_ms``."""
    intervals: list[CurveInterval] = []
    for point in points:
        start_ms = point.start_ms - point.start_ms % width_ms
        if intervals and intervals[-1].start_ms == start_ms:
            intervals[-1] = _merge_two(start_ms, intervals[-1], point)
        else:
            intervals.append(attrs.evolve(point, start_ms=start_ms))
    return intervals


def _single(start_ms: int, at_ms: int, equity: Decimal) -> CurveInterval:
    """Return an interval with one snapshot."""
    return CurveInterval(start_ms=start_ms, at_ms=at_ms, equity=equity, low=equity, high=equity)


def _merge_two(start_ms: int, one: CurveInterval, other: CurveInterval) -> CurveInterval:
    last = max(one, other, key=lambda point: point.at_ms)
    return CurveInterval(
        start_ms=start_ms,
        at_ms=last.at_ms,
        equity=last.equity,
        low=min(one.low, other.low),
        high=max(one.high, other.high),
    )
