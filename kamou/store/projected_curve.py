"""Projections of the equity curve and of the marks on its intervals.

The curve has at most ``POINTS_MAX`` intervals, whatever its length. Each interval keeps its last,
lowest and highest equity, so a chart of it hides no dip. All intervals have one width:
``WIDTH_MIN_MS`` times a power of two. When the curve needs more than ``POINTS_MAX`` intervals, the
width doubles and neighbors are merged. The order in which snapshots were recorded does not change
their intervals. A mark after the newest snapshot extends the curve and may double the width.

Halts, downtime, transfers and changes of the configuration are marked on their intervals.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal

POINTS_MAX = 360  # about one for each pixel of a phone's width
WIDTH_MIN_MS = 300_000  # the default period of cycles, each of which records one snapshot

_UPSERT = "INSERT OR REPLACE INTO curve (start_ms, at_ms, equity, low, high) VALUES (?, ?, ?, ?, ?)"
Point = tuple[int, int, str, str, str]  # start_ms, at_ms, equity, low, high


def add_equity_mark(cursor: sqlite3.Cursor, at_ms: int, equity: str, *, replaced: bool) -> None:
    """Add an equity snapshot to the curve.

    ``replaced``: it replaces a snapshot of the same time.
    """
    width_ms = _extend_curve(cursor, at_ms, at_ms)
    start_ms = at_ms - at_ms % width_ms
    if replaced:
        _rebuild_interval(cursor, start_ms, width_ms)
        return
    present = cursor.execute(
        "SELECT start_ms, at_ms, equity, low, high FROM curve WHERE start_ms = ?", (start_ms,)
    ).fetchone()
    new = (start_ms, at_ms, equity, equity, equity)
    cursor.execute(_UPSERT, new if present is None else _merge_two(start_ms, present, new))


def mark_moment(
    cursor: sqlite3.Cursor, kind: str, at_ms: int, amount: Decimal | None = None
) -> None:
    """Mark the interval of a ``transfer``, with its amount, or of a ``config``.

    Does nothing without a curve, or at a time before the curve.
    """
    if at_ms < _first_ms(cursor):
        return
    width_ms = _extend_curve(cursor, at_ms, at_ms)
    _add_mark(cursor, kind, at_ms - at_ms % width_ms, amount or Decimal(0))


def mark_span(cursor: sqlite3.Cursor, kind: str, from_ms: int, until_ms: int) -> None:
    """Mark every interval that a ``halt`` or ``down`` span overlaps.

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


def _add_mark(cursor: sqlite3.Cursor, kind: str, start_ms: int, amount: Decimal) -> None:
    present = cursor.execute(
        "SELECT amount FROM curve_mark WHERE kind = ? AND start_ms = ?", (kind, start_ms)
    ).fetchone()
    cursor.execute(
        "INSERT OR REPLACE INTO curve_mark (kind, start_ms, amount) VALUES (?, ?, ?)",
        (kind, start_ms, str(amount if present is None else Decimal(present[0]) + amount)),
    )


def _extend_curve(cursor: sqlite3.Cursor, from_ms: int, until_ms: int) -> int:
    """Extend the curve to this span, and return the width of its intervals in ms."""
    row = cursor.execute("SELECT width_ms, first_ms, last_ms FROM curve_width").fetchone()
    if row is None:
        row = (WIDTH_MIN_MS, from_ms, from_ms)
        cursor.execute("INSERT INTO curve_width VALUES (?, ?, ?)", row)
    width_ms, first_ms, last_ms = int(row[0]), min(row[1], from_ms), max(row[2], until_ms)
    while last_ms // width_ms - first_ms // width_ms >= POINTS_MAX:
        width_ms *= 2
    last_ms -= last_ms % width_ms  # so that a snapshot in the same interval writes nothing
    if (width_ms, first_ms, last_ms) != row:
        cursor.execute(
            "UPDATE curve_width SET width_ms = ?, first_ms = ?, last_ms = ?",
            (width_ms, first_ms, last_ms),
        )
    if width_ms != row[0]:
        _widen(cursor, width_ms)
    return width_ms


def _widen(cursor: sqlite3.Cursor, width_ms: int) -> None:
    """Merge all intervals and marks into intervals of a larger width."""
    points = cursor.execute(
        "SELECT start_ms, at_ms, equity, low, high FROM curve ORDER BY start_ms"
    ).fetchall()
    cursor.execute("DELETE FROM curve")
    cursor.executemany(_UPSERT, merge_points(points, width_ms))
    marks = cursor.execute("SELECT kind, start_ms, amount FROM curve_mark").fetchall()
    cursor.execute("DELETE FROM curve_mark")
    for kind, start_ms, amount in marks:
        _add_mark(cursor, kind, start_ms - start_ms % width_ms, Decimal(amount))


def _rebuild_interval(cursor: sqlite3.Cursor, start_ms: int, width_ms: int) -> None:
    """Compute an interval again: the replaced snapshot may have been its low or high."""
    snapshots = cursor.execute(
        "SELECT at_ms, equity FROM equity WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms",
        (start_ms, start_ms + width_ms),
    )
    points = ((at_ms, at_ms, equity, equity, equity) for at_ms, equity in snapshots)
    cursor.executemany(_UPSERT, merge_points(points, width_ms))


def merge_points(points: Iterable[Point], width_ms: int) -> list[Point]:
    """Merge points, given oldest first, into intervals of this width."""
    intervals: list[Point] = []
    for point in points:
        start_ms = point[0] - point[0] % width_ms
        if intervals and intervals[-1][0] == start_ms:
            intervals[-1] = _merge_two(start_ms, intervals[-1], point)
        else:
            intervals.append((start_ms, *point[1:]))
    return intervals


def _merge_two(start_ms: int, one: Point, other: Point) -> Point:
    last = max(one, other, key=lambda point: point[1])
    low = min(one[3], other[3], key=Decimal)
    high = max(one[4], other[4], key=Decimal)
    return (start_ms, last[1], last[2], low, high)
