"""Checks of imported bars and their gaps, and conversion of rows to columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kamou.core.arrays import Floats, Ints
from kamou.core.day import DAY_MS
from kamou.core.market.bars import Bars
from kamou.errors import InvalidDataError

Bools = npt.NDArray[np.bool_]

EPOCH_MIN_MS = 1_230_768_000_000  # 2009-01-01: no crypto data is older; times in s look like 1970
BAR_PERIOD_MIN_MS = 1_000  # no venue has shorter bars
PRICE_MIN = 1e-9  # no venue quotes a perpetual below 1e-8; a tick is at least 1e-10
PRICE_MAX = 1e12  # the price of bitcoin in the weakest currency is about 1e10
VOLUME_MAX = 1e18  # base units of one bar; products with PRICE_MAX do not overflow
GAP_REASON = "the symbol's bars before it are missing"
TWICE_REASON = "is there twice"
COARSE_REASON = "the symbol has a longer period than the others"
COARSE_STEPS_MIN = 3  # steps between bars that show a symbol's own period; fewer may be gaps
TIME_CLIP_MS = 2**60  # differences of clipped times cannot overflow 64 bits


@attrs.frozen(kw_only=True, eq=False)
class CheckedRows:
    """Rows as read from files, one element per row.

    Rows are in file order, files in name order.
    """

    symbols: tuple[str, ...]
    code: Ints  # index into ``symbols``
    source: Ints  # index of the file
    row: Ints  # 1 is the first row after the header
    open_ms: Ints  # open time of a bar, or time of an observation


@attrs.frozen(kw_only=True, eq=False)
class BarRows(CheckedRows):
    """Bars as read from files."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


@attrs.frozen(kw_only=True)
class Problem:
    """One kind of invalid rows: the first row, the reason, and how many."""

    source: int  # index of the first row's file
    row: int  # number of the first row in it
    symbol: str
    at_ms: int
    reason: str
    rows: int  # of this kind, this one included
    sources: int  # files that have such a row
    repeats: tuple[int, int] | None = None  # file and row that have the same time; None: no other


@attrs.frozen(kw_only=True)
class Findings:
    """Result of the checks: each kind of problems, and the gaps.

    ``gaps`` has the first gaps by symbol and time; ``gaps_total`` counts all.
    """

    problems: tuple[Problem, ...]
    problems_total: int  # rows with a problem; a row may have several
    gaps: tuple[Gap, ...]
    gaps_total: int


@attrs.frozen(kw_only=True)
class Gap:
    """A period of missing bars between two existing ones of a symbol."""

    symbol: str
    after_ms: int  # open of the last bar before the gap
    before_ms: int  # open of the first bar after the gap
    bars: int  # missing ones


def infer_period_ms(rows: BarRows) -> int:
    """Return the most frequent distance in ms between neighboring rows of a symbol.

    Raises:
        InvalidDataError: no symbol has bars at two times, or the distance is shorter than
            ``BAR_PERIOD_MIN_MS`` or does not divide a day.
    """
    same = (rows.code[1:] == rows.code[:-1]) & (rows.source[1:] == rows.source[:-1])
    times = np.clip(rows.open_ms, -TIME_CLIP_MS, TIME_CLIP_MS)
    steps = np.diff(times)[same]
    if not (steps > 0).any():  # rows interleave the symbols, or there is one bar of each
        order = np.lexsort((times, rows.code))
        steps = np.diff(times[order])[np.diff(rows.code[order]) == 0]
    steps = steps[steps > 0]
    if not len(steps):
        raise InvalidDataError(
            "no symbol has two bars at different times, so the bar period is unknown; import"
            " at least two bars of one symbol"
        )
    distances, counts = np.unique(steps, return_counts=True)
    period = int(distances[counts.argmax()])
    if DAY_MS % period or period < BAR_PERIOD_MIN_MS:
        raise InvalidDataError(
            f"the most frequent distance between bars is {period} ms; it must divide a day and be "
            f"at least {BAR_PERIOD_MIN_MS} ms: check the unit and the order of the times"
        )
    return period


def find_commonest_step(code: Ints, at_ms: Ints) -> int | None:
    """Return the most frequent ms between neighboring times of a symbol.

    Return None if no symbol has rows at two times.
    """
    times = np.clip(at_ms, -TIME_CLIP_MS, TIME_CLIP_MS)
    order = np.lexsort((times, code))
    steps = np.diff(times[order])[np.diff(code[order]) == 0]
    distances, counts = np.unique(steps[steps > 0], return_counts=True)
    return int(distances[counts.argmax()]) if len(distances) else None


def find_problems(
    rows: BarRows, *, period_ms: int, now_ms: int, allow_gaps: bool, gaps_max: int
) -> Findings:
    """Return each kind of problems of the rows, the gaps, and their counts.

    A symbol may begin late or end early. Gaps in between are problems unless ``allow_gaps``; the
    first ``gaps_max`` by symbol and time are listed. A symbol without any two neighboring bars has
    a longer period of its own, which is a problem and no gap.
    """
    checks = _bad_values(rows) + _bad_times(rows, period_ms, now_ms)
    follows, before = _predecessors(rows)
    step = np.where(follows, rows.open_ms - rows.open_ms[before], period_ms)
    checks.append((follows & (step == 0), TWICE_REASON))
    own = _own_periods(rows, follows, step, period_ms)[rows.code]
    checks.append((own > period_ms, COARSE_REASON))
    gapped = follows & (step > period_ms) & (own == period_ms)

    def describe(at: int, reason: str) -> str:
        if reason == GAP_REASON:
            reason += f", {step[at] // period_ms - 1} of them"
        elif reason == COARSE_REASON:
            reason += f": {own[at]} ms between its bars, {period_ms} ms in the other symbols"
        return reason + _figures(rows, at)

    if not allow_gaps:
        checks.append((gapped, GAP_REASON))
    problems = find_kinds(rows, checks, describe, before)
    bad = np.zeros(len(rows.row), dtype=bool)
    for mask, _ in checks:
        bad |= mask
    return Findings(
        problems=problems,
        problems_total=int(np.count_nonzero(bad)),
        gaps=_gaps(rows, np.flatnonzero(gapped), before, period_ms, gaps_max),
        gaps_total=int(np.count_nonzero(gapped)),
    )


def find_kinds(
    rows: CheckedRows,
    checks: Sequence[tuple[Bools, str]],
    describe: Callable[[int, str], str],
    before: Ints | None = None,
) -> tuple[Problem, ...]:
    """Return one problem for each check that some row fails, with the first such row.

    Args:
        rows: the rows.
        checks: a mask of rows and the reason, for each kind.
        describe: takes the index of a row and the reason; returns the reason with figures.
        before: the index of each row's predecessor, which a row repeats that is there twice.
    """
    problems = []
    for mask, reason in checks:
        found = np.flatnonzero(mask)
        if not len(found):
            continue
        at = int(found[np.lexsort((rows.row[found], rows.source[found]))[0]])
        same = int(before[at]) if before is not None and reason == TWICE_REASON else None
        problems.append(
            Problem(
                source=int(rows.source[at]),
                row=int(rows.row[at]),
                symbol=rows.symbols[rows.code[at]],
                at_ms=int(rows.open_ms[at]),
                reason=describe(at, reason),
                rows=len(found),
                sources=len(np.unique(rows.source[found])),
                repeats=None if same is None else (int(rows.source[same]), int(rows.row[same])),
            )
        )
    return tuple(problems)


def _own_periods(rows: BarRows, follows: Bools, step: Ints, period_ms: int) -> Ints:
    """Return the period of each symbol in ms, ``[symbols]``.

    It is the shortest step between its bars, or ``period_ms`` with fewer than ``COARSE_STEPS_MIN``
    steps.
    """
    forward = follows & (step > 0)
    shortest = np.full(len(rows.symbols), np.iinfo(np.int64).max)
    np.minimum.at(shortest, rows.code[forward], step[forward])
    steps = np.bincount(rows.code[forward], minlength=len(rows.symbols))
    return np.where(steps < COARSE_STEPS_MIN, period_ms, np.maximum(shortest, period_ms))


def _gaps(
    rows: BarRows, gapped: Ints, before: Ints, period_ms: int, gaps_max: int
) -> tuple[Gap, ...]:
    """Return the first gaps by symbol and time; rows may be in any order."""
    alphabetical = np.argsort(np.argsort(np.array(rows.symbols)))
    order = np.lexsort((rows.open_ms[gapped], alphabetical[rows.code[gapped]]))
    return tuple(
        Gap(
            symbol=rows.symbols[rows.code[at]],
            after_ms=int(rows.open_ms[before[at]]),
            before_ms=int(rows.open_ms[at]),
            bars=(int(rows.open_ms[at]) - int(rows.open_ms[before[at]])) // period_ms - 1,
        )
        for at in map(int, gapped[order[:gaps_max]])
    )


def _bad_values(rows: BarRows) -> list[tuple[Bools, str]]:
    prices = (rows.open, rows.high, rows.low, rows.close)
    unknown = ~np.isfinite(rows.volume)
    nonpositive = rows.volume < 0
    unlikely = np.isfinite(rows.volume) & (rows.volume > VOLUME_MAX)
    for price in prices:
        unknown |= ~np.isfinite(price)
        nonpositive |= price <= 0
        unlikely |= (price > 0) & np.isfinite(price) & ((price < PRICE_MIN) | (price > PRICE_MAX))
    top = np.maximum(np.maximum(rows.open, rows.close), rows.low)
    bottom = np.minimum(np.minimum(rows.open, rows.close), rows.high)
    return [
        (unknown, "a price or the volume is NaN, infinite or missing"),
        (nonpositive, "a price is not positive or the volume is negative"),
        (
            unlikely,
            f"a price is not between {PRICE_MIN:g} and {PRICE_MAX:g}, or the volume is above "
            f"{VOLUME_MAX:g}",
        ),
        (rows.high < top, "high is below open, low or close"),
        (rows.low > bottom, "low is above open, high or close"),
    ]


def _bad_times(rows: BarRows, period_ms: int, now_ms: int) -> list[tuple[Bools, str]]:
    back = np.zeros(len(rows.row), dtype=bool)
    order = np.lexsort((np.arange(len(rows.row)), rows.code, rows.source))  # file order per symbol
    neighbours = (np.diff(rows.code[order]) == 0) & (np.diff(rows.source[order]) == 0)
    later = rows.open_ms[order]
    back[order[1:]] = neighbours & (later[1:] < later[:-1])
    ancient = rows.open_ms < EPOCH_MIN_MS
    return [
        (back, "is earlier than the symbol's row before it: not sorted by time"),
        (ancient, "is before 2009, older than any crypto data: check the unit of the times"),
        (~ancient & (rows.open_ms % period_ms != 0), f"is not on the {period_ms} ms grid of UTC"),
        (rows.open_ms > now_ms - period_ms, "closes in the future"),
    ]


def _predecessors(rows: BarRows) -> tuple[Bools, Ints]:
    """Return the mask of rows with a predecessor, and the index of each predecessor.

    A predecessor is the symbol's latest row with an earlier or equal time.
    """
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


def count_grid_bars(rows: BarRows, period_ms: int) -> int:
    """Return the number of bars from the earliest row's time to the latest's.

    Raises:
        ValueError: there are no rows.
    """
    return (int(rows.open_ms.max()) - int(rows.open_ms.min())) // period_ms + 1


def to_grid(rows: BarRows, period_ms: int) -> Bars:
    """Return rows without problems as columns over the sorted symbols.

    The caller checks first that ``count_grid_bars`` times the number of symbols fits in memory.
    """
    first, bars = int(rows.open_ms.min()), count_grid_bars(rows, period_ms)
    names = tuple(sorted(rows.symbols))
    at_of = {symbol: at for at, symbol in enumerate(names)}
    place = np.array([at_of[symbol] for symbol in rows.symbols])
    cell = ((rows.open_ms - first) // period_ms, place[rows.code])

    def columns(values: Floats, kind: type[np.floating[Any]] = np.float64) -> Floats:
        grid = np.full((bars, len(names)), np.nan, dtype=kind)
        grid[cell] = values
        return grid

    return Bars(
        symbols=names,
        period_ms=period_ms,
        open_ms=first + period_ms * np.arange(bars, dtype=np.int64),
        open=columns(rows.open),
        high=columns(rows.high),
        low=columns(rows.low),
        close=columns(rows.close),
        # float32 takes half the memory, and recorded volumes have no more digits than it holds.
        volume=columns(rows.volume, np.float32),
    )
