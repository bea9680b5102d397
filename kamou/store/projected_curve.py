"""Projections of the equity curve: at most ``POINTS_MAX`` stretches of time, whatever its length.

Each stretch keeps its last equity and the lowest and highest equity inside it, so that no dip is
hidden. All stretches have one width, a power of two of ``WIDTH_MIN_MS``; when the record outgrows
them, the width doubles and neighbors are merged. The result depends on the marks alone, not on
the order in which they came.

What is marked on the curve (halts, downtime, transfers, configurations) is kept by stretch, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal

POINTS_MAX = 360  # one per pixel of a telephone, and a third of that on a desktop
WIDTH_MIN_MS = 300_000  # the default cycle: no stretch is shorter than the time between marks

_UPSERT = "INSERT OR REPLACE INTO curve (start_ms, at_ms, equity, low, high) VALUES (?, ?, ?, ?, ?)"
Point = tuple[int, int, str, str, str]  # start_ms, at_ms, equity, low, high


def add_equity_mark(cursor: sqlite3.Cursor, at_ms: int, equity: str, *, replaced: bool) -> None:
    """Put one equity mark on the curve. ``replaced``: there was another at the same time."""
    width_ms = _reach(cursor, at_ms, at_ms)
    start_ms = at_ms - at_ms % width_ms
    if replaced:
        _remake(cursor, start_ms, width_ms)
        return
    known = cursor.execute(
        "SELECT start_ms, at_ms, equity, low, high FROM curve WHERE start_ms = ?", (start_ms,)
    ).fetchone()
    new = (start_ms, at_ms, equity, equity, equity)
    cursor.execute(_UPSERT, new if known is None else _merged(start_ms, known, new))


def mark_moment(
    cursor: sqlite3.Cursor, kind: str, at_ms: int, amount: Decimal | None = None
) -> None:
    """Mark a moment: ``flow`` with its amount, or ``config``. Before the first mark: nothing."""
    if at_ms < _first_ms(cursor):
        return
    width_ms = _reach(cursor, at_ms, at_ms)
    _mark(cursor, kind, at_ms - at_ms % width_ms, amount or Decimal(0))


def mark_span(cursor: sqlite3.Cursor, kind: str, from_ms: int, until_ms: int) -> None:
    """Mark every stretch that a ``halt`` or a ``down`` time touches; no more than all of them."""
    from_ms = max(from_ms, _first_ms(cursor))
    if until_ms <= from_ms:
        return
    width_ms = _reach(cursor, from_ms, until_ms)
    for start_ms in range(from_ms - from_ms % width_ms, until_ms, width_ms):
        _mark(cursor, kind, start_ms, Decimal(0))


def _first_ms(cursor: sqlite3.Cursor) -> int:
    row = cursor.execute("SELECT first_ms FROM curve_width").fetchone()
    return 2**62 if row is None else int(row[0])


def _mark(cursor: sqlite3.Cursor, kind: str, start_ms: int, amount: Decimal) -> None:
    known = cursor.execute(
        "SELECT amount FROM curve_mark WHERE kind = ? AND start_ms = ?", (kind, start_ms)
    ).fetchone()
    cursor.execute(
        "INSERT OR REPLACE INTO curve_mark (kind, start_ms, amount) VALUES (?, ?, ?)",
        (kind, start_ms, str(amount if known is None else Decimal(known[0]) + amount)),
    )


def _reach(cursor: sqlite3.Cursor, from_ms: int, until_ms: int) -> int:
    """Widen the stretches until this time is on the curve as well; their width."""
    row = cursor.execute("SELECT width_ms, first_ms, last_ms FROM curve_width").fetchone()
    if row is None:
        row = (WIDTH_MIN_MS, from_ms, from_ms)
        cursor.execute("INSERT INTO curve_width VALUES (?, ?, ?)", row)
    width_ms, first_ms, last_ms = int(row[0]), min(row[1], from_ms), max(row[2], until_ms)
    while last_ms // width_ms - first_ms // width_ms >= POINTS_MAX:
        width_ms *= 2
    last_ms -= last_ms % width_ms  # so that a mark in the same stretch writes nothing
    if (width_ms, first_ms, last_ms) != row:
        cursor.execute(
            "UPDATE curve_width SET width_ms = ?, first_ms = ?, last_ms = ?",
            (width_ms, first_ms, last_ms),
        )
    if width_ms != row[0]:
        _widen(cursor, width_ms)
    return width_ms


def _widen(cursor: sqlite3.Cursor, width_ms: int) -> None:
    points = cursor.execute(
        "SELECT start_ms, at_ms, equity, low, high FROM curve ORDER BY start_ms"
    ).fetchall()
    cursor.execute("DELETE FROM curve")
    cursor.executemany(_UPSERT, merge_points(points, width_ms))
    marks = cursor.execute("SELECT kind, start_ms, amount FROM curve_mark").fetchall()
    cursor.execute("DELETE FROM curve_mark")
    for kind, start_ms, amount in marks:
        _mark(cursor, kind, start_ms - start_ms % width_ms, Decimal(amount))


def _remake(cursor: sqlite3.Cursor, start_ms: int, width_ms: int) -> None:
    """Make one stretch again from its marks: a replaced one may have been its low or high."""
    marks = cursor.execute(
        "SELECT at_ms, equity FROM equity WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms",
        (start_ms, start_ms + width_ms),
    )
    points = ((at_ms, at_ms, equity, equity, equity) for at_ms, equity in marks)
    made = merge_points(points, width_ms)
    cursor.executemany(_UPSERT, made)


def merge_points(points: Iterable[Point], width_ms: int) -> list[Point]:
    """Merge points, oldest first, into stretches of a width."""
    made: list[Point] = []
    for point in points:
        start_ms = point[0] - point[0] % width_ms
        if made and made[-1][0] == start_ms:
            made[-1] = _merged(start_ms, made[-1], point)
        else:
            made.append((start_ms, *point[1:]))
    return made


def _merged(start_ms: int, one: Point, other: Point) -> Point:
    last = max(one, other, key=lambda point: point[1])
    low = min(one[3], other[3], key=Decimal)
    high = max(one[4], other[4], key=Decimal)
    return (start_ms, last[1], last[2], low, high)
