"""What makes recorded candles unfit, row by row, and how fit ones become columns. Pure."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kamou.core.bars import Candles, Floats, Ints
from kamou.errors import DataRefusedError

Bools = npt.NDArray[np.bool_]

EPOCH_MIN_MS = 1_230_768_000_000  # 2009-01-01: no crypto market is older; seconds look like 1970
DAY_MS = 86_400_000
GRID_CELLS_MAX = 500_000_000  # bars x symbols: beyond it one wrong date is the likelier reason


@attrs.frozen(kw_only=True, eq=False)
class BarRows:
    """Candles as they stand in files: one element per row, in file order, files in name order."""

    symbols: tuple[str, ...]
    code: Ints  # index into ``symbols``
    source: Ints  # which file
    row: Ints  # 1 is the first row after the header
    open_ms: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


@attrs.frozen(kw_only=True)
class Problem:
    """Why one row is refused."""

    source: int
    row: int
    symbol: str
    at_ms: int
    reason: str


@attrs.frozen(kw_only=True)
class Gap:
    """Bars missing between two that are there."""

    symbol: str
    after_ms: int  # open of the last bar before
    before_ms: int  # open of the first bar after
    bars: int


def infer_period_ms(rows: BarRows) -> int:
    """The commonest distance between a symbol's neighbouring rows.

    Raises:
        DataRefusedError: there are no two bars, or the distance does not divide a day.
    """
    same = (rows.code[1:] == rows.code[:-1]) & (rows.source[1:] == rows.source[:-1])
    steps = np.diff(rows.open_ms)[same]
    if not (steps > 0).any():  # rows interleave the symbols, or there is one bar of each
        order = np.lexsort((rows.open_ms, rows.code))
        steps = np.diff(rows.open_ms[order])[np.diff(rows.code[order]) == 0]
    steps = steps[steps > 0]
    if not len(steps):
        raise DataRefusedError("fewer than two bars of any symbol: the period cannot be told")
    distances, counts = np.unique(steps, return_counts=True)
    period = int(distances[counts.argmax()])
    if DAY_MS % period:
        raise DataRefusedError(
            f"the commonest distance between bars is {period} ms, which does not divide a day"
        )
    return period


def find_problems(
    rows: BarRows, *, period_ms: int, now_ms: int, allow_gaps: bool, limit: int
) -> tuple[tuple[Problem, ...], int, tuple[Gap, ...]]:
    """Everything wrong with the rows: the first ``limit`` by file and row, how many rows, the gaps.

    A symbol may begin late or end early. Gaps inside its time are problems unless allowed.
    """
    checks = _bad_values(rows) + _bad_times(rows, period_ms, now_ms)
    follows, before = _predecessors(rows)
    step = np.where(follows, rows.open_ms - rows.open_ms[before], period_ms)
    checks.append((follows & (step == 0), "is there twice"))
    gapped = follows & (step > period_ms)
    if not allow_gaps:
        checks.append((gapped, "the symbol's bars before it are missing"))
    bad = np.zeros(len(rows.row), dtype=bool)
    for mask, _ in checks:
        bad |= mask
    found = np.flatnonzero(bad)
    shown = found[np.lexsort((rows.row[found], rows.source[found]))][:limit]
    problems = tuple(
        Problem(
            source=int(rows.source[at]),
            row=int(rows.row[at]),
            symbol=rows.symbols[rows.code[at]],
            at_ms=int(rows.open_ms[at]),
            reason="; ".join(reason for mask, reason in checks if mask[at])
            + (f", {step[at] // period_ms - 1} of them" if gapped[at] and not allow_gaps else "")
            + _figures(rows, at),
        )
        for at in map(int, shown)
    )
    gaps = tuple(
        Gap(
            symbol=rows.symbols[rows.code[at]],
            after_ms=int(rows.open_ms[before[at]]),
            before_ms=int(rows.open_ms[at]),
            bars=int(step[at]) // period_ms - 1,
        )
        for at in map(int, np.flatnonzero(gapped))
    )
    return problems, len(found), gaps


def _bad_values(rows: BarRows) -> list[tuple[Bools, str]]:
    prices = (rows.open, rows.high, rows.low, rows.close)
    unknown = ~np.isfinite(rows.volume)
    nonpositive = rows.volume < 0
    for price in prices:
        unknown |= ~np.isfinite(price)
        nonpositive |= price <= 0
    top = np.maximum(np.maximum(rows.open, rows.close), rows.low)
    bottom = np.minimum(np.minimum(rows.open, rows.close), rows.high)
    return [
        (unknown, "a price or the volume is NaN, infinite or missing"),
        (nonpositive, "a price is not positive or the volume is negative"),
        (rows.high < top, "high is below open, low or close"),
        (rows.low > bottom, "low is above open, high or close"),
    ]


def _bad_times(rows: BarRows, period_ms: int, now_ms: int) -> list[tuple[Bools, str]]:
    back = np.zeros(len(rows.row), dtype=bool)
    order = np.lexsort((np.arange(len(rows.row)), rows.code, rows.source))  # file order per symbol
    neighbours = (np.diff(rows.code[order]) == 0) & (np.diff(rows.source[order]) == 0)
    back[order[1:]] = neighbours & (np.diff(rows.open_ms[order]) < 0)
    ancient = rows.open_ms < EPOCH_MIN_MS
    return [
        (back, "is earlier than the symbol's row before it: not sorted by time"),
        (ancient, "is before 2009: times must be in milliseconds"),
        (~ancient & (rows.open_ms % period_ms != 0), f"is not on the {period_ms} ms grid of UTC"),
        (rows.open_ms + period_ms > now_ms, "closes in the future"),
    ]


def _predecessors(rows: BarRows) -> tuple[Bools, Ints]:
    """Per row: whether the same symbol has an earlier or equal row, and which is the latest."""
    order = np.lexsort((rows.row, rows.source, rows.open_ms, rows.code))
    follows = np.zeros(len(order), dtype=bool)
    before = np.zeros(len(order), dtype=np.int64)
    follows[order[1:]] = np.diff(rows.code[order]) == 0
    before[order[1:]] = order[:-1]
    return follows, before


def _figures(rows: BarRows, at: int) -> str:
    return (
        f" (open {rows.open[at]:g}, high {rows.high[at]:g}, low {rows.low[at]:g}, "
        f"close {rows.close[at]:g}, volume {rows.volume[at]:g})"
    )


def to_grid(rows: BarRows, period_ms: int) -> Candles:
    """Rows without problems as columns over the sorted symbols.

    Raises:
        DataRefusedError: the grid from the first bar to the last would be absurdly large.
    """
    first, last = int(rows.open_ms.min()), int(rows.open_ms.max())
    bars = (last - first) // period_ms + 1
    if bars * len(rows.symbols) > GRID_CELLS_MAX:
        raise DataRefusedError(
            f"{bars} bars of {len(rows.symbols)} symbols: too many for one set; import less time"
        )
    names = tuple(sorted(rows.symbols))
    place = np.array([names.index(symbol) for symbol in rows.symbols])
    cell = ((rows.open_ms - first) // period_ms, place[rows.code])

    def columns(values: Floats, kind: type[np.floating[Any]] = np.float64) -> Floats:
        grid = np.full((bars, len(names)), np.nan, dtype=kind)
        grid[cell] = values
        return grid

    return Candles(
        symbols=names,
        period_ms=period_ms,
        open_ms=first + period_ms * np.arange(bars, dtype=np.int64),
        open=columns(rows.open),
        high=columns(rows.high),
        low=columns(rows.low),
        close=columns(rows.close),
        # Half the memory; recorded volumes carry no more digits than float32 holds.
        volume=columns(rows.volume, np.float32),
    )
