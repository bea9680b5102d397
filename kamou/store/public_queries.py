"""What the site asks beyond ``store.queries``: one snapshot for many questions, and columns.

Every function takes a connection of ``store.database.open_reader``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import attrs
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@contextmanager
def snapshot(reader: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All questions inside see the same committed state. Keep it short: it holds the WAL."""
    reader.execute("BEGIN")
    try:
        yield reader
    finally:
        reader.execute("ROLLBACK")


@attrs.frozen(kw_only=True)
class Mark:
    """Equity at the end of one stretch of time, with the extremes of the marks inside it."""

    at_ms: int
    equity: Decimal
    low: float
    high: float


@attrs.frozen(kw_only=True)
class Outcome:
    """What statistics need of one closed trade."""

    strategy: str
    pnl_net: Decimal
    r_multiple: float
    fees: Decimal
    funding: Decimal
    slippage: Decimal


def curve(reader: sqlite3.Connection, *, points_max: int) -> tuple[Mark, ...]:
    """The equity curve in at most ``points_max`` marks; thinning never hides a dip."""
    first, last = reader.execute("SELECT min(at_ms), max(at_ms) FROM equity").fetchone()
    if first is None:
        return ()
    stretch_ms = max(1, (last - first) // points_max + 1)
    # Bare columns of an aggregate with one max() come from its row: the stretch's last mark.
    ends = reader.execute(
        "SELECT max(at_ms), equity FROM equity GROUP BY (at_ms - ?1) / ?2 ORDER BY 1",
        (first, stretch_ms),
    ).fetchall()
    extremes = reader.execute(
        "SELECT min(CAST(equity AS REAL)), max(CAST(equity AS REAL)) FROM equity"
        " GROUP BY (at_ms - ?1) / ?2 ORDER BY max(at_ms)",
        (first, stretch_ms),
    ).fetchall()
    return tuple(
        Mark(at_ms=at_ms, equity=Decimal(equity), low=low, high=high)
        for (at_ms, equity), (low, high) in zip(ends, extremes, strict=True)
    )


def marks_between(reader: sqlite3.Connection, from_ms: int, to_ms: int) -> tuple[Floats, Floats]:
    """Equity and net flows since inception at every mark in ``[from_ms, to_ms)``, oldest first."""
    rows = reader.execute(
        "SELECT CAST(equity AS REAL), CAST(flows AS REAL) FROM equity"
        " WHERE at_ms >= ? AND at_ms < ? ORDER BY at_ms",
        (from_ms, to_ms),
    ).fetchall()
    columns = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def first_mark(reader: sqlite3.Connection) -> tuple[int, Decimal] | None:
    """When the record begins, and the equity it began with."""
    row = reader.execute("SELECT at_ms, equity FROM equity ORDER BY at_ms LIMIT 1").fetchone()
    return None if row is None else (row[0], Decimal(row[1]))


def outcomes(reader: sqlite3.Connection) -> tuple[Outcome, ...]:
    """Every closed trade, in order of closing."""
    rows = reader.execute(
        "SELECT strategy, pnl_net, r_multiple, fees, funding, slippage FROM trade"
        " ORDER BY closed_ms, trade_id"
    ).fetchall()
    return tuple(
        Outcome(
            strategy=strategy,
            pnl_net=Decimal(pnl),
            r_multiple=r,
            fees=Decimal(fees),
            funding=Decimal(funding),
            slippage=Decimal(slippage),
        )
        for strategy, pnl, r, fees, funding, slippage in rows
    )


def traded_names(reader: sqlite3.Connection) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The strategies and the symbols that have closed trades, each sorted."""
    strategies = reader.execute("SELECT DISTINCT strategy FROM trade ORDER BY 1").fetchall()
    symbols = reader.execute("SELECT DISTINCT symbol FROM trade ORDER BY 1").fetchall()
    return tuple(row[0] for row in strategies), tuple(row[0] for row in symbols)
