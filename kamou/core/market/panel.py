"""The panel: the newest bars, indicators, and other sources of a shard.

A panel has one row per closed bar and one column per symbol, in float64, with NaN where a symbol
had no valid bar. The buffer is longer than the window and moves its newest rows to its start when
it is full, so any window is one contiguous slice that is read without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.day import HOUR_MS, show_utc
from kamou.core.indicators.base import BarRow, Indicator, IndicatorState, update_block
from kamou.core.market.flow import FlowReads, FlowRows
from kamou.core.market.market_rows import MarketReads, MarketRows
from kamou.core.market.newest_rows import SLACK_ROWS_MIN, NewestRows
from kamou.core.market.panel_block import Field as Field
from kamou.core.market.panel_block import InterestSnapshot, PanelBlock, count_valid
from kamou.core.market.premium import PremiumReads, PremiumRows
from kamou.core.market.ratios import RatioReads, RatioRows
from kamou.core.market.settlements import (
    FigureOfRates,
    FundingSnapshot,
    Settlements,
    find_funding_history_ms,
)
from kamou.errors import InvalidDataError

PRICES: tuple[Field, ...] = ("open", "high", "low", "close")
GIVEN_FIELDS: tuple[Field, ...] = (*PRICES, "volume")
PANEL_FIELDS: tuple[Field, ...] = (*GIVEN_FIELDS, "log_close", "log_return")
COMPARED_FIELDS: tuple[Field, ...] = ("high", "low", "close", "log_close")  # with the bar before
# Open interest changes little within 4 h, and medians over finer rows would take most of the CPU.
INTEREST_PERIOD_MS = 4 * HOUR_MS


def _drop_invalid(columns: tuple[Floats, ...]) -> tuple[Mask, tuple[Floats, ...]]:
    """Return the mask of valid bars, and the columns with NaN for the others.

    The columns are open, high, low, close and volume, ``[..., symbols]``.
    """
    open_, high, low, close, volume = columns
    valid = (low > 0) & (np.maximum(open_, close) <= high) & (high < np.inf)
    valid &= (np.minimum(open_, close) >= low) & (volume >= 0) & (volume < np.inf)
    if valid.all():
        return valid, columns
    return valid, tuple(np.where(valid, column, np.nan) for column in columns)


def _compare(
    columns: tuple[Floats, ...], previous: tuple[Floats, ...], count: Ints, close_ms: Ints
) -> tuple[dict[Field, Floats], BarRow]:
    """Return the rows of every field, and the input of indicators.

    Args:
        columns: valid open, high, low, close, volume and ln(close).
        previous: the ``COMPARED_FIELDS`` fields of the bars before.
        count: number of consecutive valid bars.
        close_ms: times of the closes, ``[1]``, or ``[bars, 1]`` for a block.
    """
    _, high, low, close, _, log_close = columns
    previous_high, previous_low, previous_close, previous_log = previous
    rows = dict(zip(PANEL_FIELDS, (*columns, log_close - previous_log), strict=True))
    bar = BarRow(
        high=high,
        low=low,
        close=close,
        change=close - previous_close,
        rise=high - previous_high,
        fall=previous_low - low,
        true_range=np.maximum(high, previous_close) - np.minimum(low, previous_close),
        log_return=rows["log_return"],
        count=count,
        close_ms=close_ms,
    )
    return rows, bar


class Panel(FlowReads, RatioReads, PremiumReads, MarketReads):
    """Bars, indicators and other sources of one shard.

    Args:
        symbols: one per column.
        period_ms: time between the opens of two bars.
        window: number of closed bars to keep.
        indicators: recursive states to keep up to date; ``indicator`` reads them.
        open_interest_rows: rows of open interest to keep.
        history_bars: bars that a new panel needs before its strategies are warm. They may be more
            than the window, because recursive states go back further.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        period_ms: int,
        window: int,
        indicators: Iterable[Indicator] = (),
        *,
        open_interest_rows: int = 2,
        history_bars: int = 0,
    ) -> None:
        assert period_ms > 0
        assert window >= 2  # changes need the previous bar
        width = len(symbols)
        self.symbols = tuple(symbols)
        self.period_ms = period_ms
        self.window = window
        self.history_ms = max(
            max(history_bars, window) * period_ms, open_interest_rows * INTEREST_PERIOD_MS
        )
        self.bars = 0  # rows ever appended
        self.open_ms = -1  # of the newest bar
        self.count: Ints = np.zeros(width, np.int64)  # consecutive valid bars up to the newest
        self.last_close_ms: Ints = np.full(width, -1, np.int64)  # of each newest valid bar
        self._rows: dict[Field, NewestRows] = {
            field: NewestRows(window, width) for field in PANEL_FIELDS
        }
        self._states: dict[Indicator, IndicatorState] = {
            spec: spec.start(width) for spec in indicators
        }
        self._interest_ms: Ints = np.zeros(0, np.int64)
        self._interest_row_ms = -1  # time of the newest row's first observation
        self._interest = NewestRows(open_interest_rows, width)
        self._interest_version = 0  # changes with every stored observation
        self._snapshot: tuple[int, InterestSnapshot] | None = None  # with its version
        self._derived: dict[Hashable, tuple[tuple[int, int], Floats]] = {}
        self._funding = Settlements(0, width)
        self._flow = FlowRows(0, width)
        self._ratios = RatioRows(0, width)
        self._premium = PremiumRows(0, width)
        self._market = MarketRows(0)

    @property
    def close_ms(self) -> int:
        """Close time of the newest bar; -1 before the first."""
        return self.open_ms + self.period_ms if self.bars else -1

    @property
    def funding_settlements(self) -> int:
        """Settlements of funding that it keeps for each symbol; 0: it needs no funding."""
        return self._funding.rows

    def keep_funding(self, settlements: int) -> None:
        """Keep so many settlements of each symbol; call it before the first one is added."""
        self._funding = Settlements(settlements, len(self.symbols))
        self.history_ms = max(self.history_ms, find_funding_history_ms(settlements))

    def append(
        self, open_ms: int, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats
    ) -> Mask:
        """Add one closed bar of every symbol and return the mask of valid ones.

        Arrays are ``[symbols]``. A bar with a figure that is NaN or infinite, a price of 0 or
        less, a negative volume or contradictory prices counts as missing: the symbol's warm-up
        starts again. If rows are skipped, the warm-up of all symbols starts again.

        Raises:
            InvalidDataError: the bar is not after the newest one, or not on its time grid.
        """
        gap = self._check_time(open_ms)
        valid, columns = _drop_invalid((open_, high, low, close, volume))
        before = np.zeros_like(self.count) if gap else self.count
        self.count = np.where(valid, before + 1, 0)
        self.open_ms = open_ms
        self.bars += 1
        self.last_close_ms = np.where(valid, self.close_ms, self.last_close_ms)
        previous = tuple(self.row(field) for field in COMPARED_FIELDS)
        closed_at = np.array([self.close_ms])
        rows, bar = _compare((*columns, np.log(columns[3])), previous, self.count, closed_at)
        if gap:
            rows["log_return"] = np.full_like(rows["log_return"], np.nan)
        for state in self._states.values():
            state.update(bar)
        for field, row in rows.items():
            self._rows[field].push(row)
        self._market.push(np.array([open_ms]))
        return valid

    def append_block(
        self, open_ms: Ints, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats
    ) -> PanelBlock:
        """Add 1 to ``SLACK_ROWS_MIN`` consecutive closed bars, as ``append`` would.

        Arrays are ``[bars, symbols]``.

        Returns:
            The panel after each bar, without open interest.

        Raises:
            InvalidDataError: as ``append``, or rows are missing between the bars.
        """
        bars = len(open_ms)
        assert 0 < bars <= SLACK_ROWS_MIN, bars
        gap = self._check_time(int(open_ms[0]))
        if (np.diff(open_ms) != self.period_ms).any():
            raise InvalidDataError(
                f"the {bars} bars of the block from {show_utc(int(open_ms[0]))} do not open"
                f" {self.period_ms} ms after each other; append them in parts without gaps"
            )
        valid, columns = _drop_invalid((open_, high, low, close, volume))
        count = count_valid(np.zeros_like(self.count) if gap else self.count, valid)
        close_ms = open_ms + self.period_ms
        last_close_ms = np.where(valid, close_ms[:, np.newaxis], self.last_close_ms)
        last_close_ms = np.maximum.accumulate(last_close_ms, axis=0)
        columns = (*columns, np.log(columns[3]))
        for field, values in zip((*GIVEN_FIELDS, "log_close"), columns, strict=True):
            self._rows[field].push_block(values)
        previous = tuple(
            self._rows[field].last_of_block(bars)[-bars - 1 : -1] for field in COMPARED_FIELDS
        )
        rows, bar = _compare(columns, previous, count, close_ms[:, np.newaxis])
        if gap:
            rows["log_return"][0] = np.nan
        self._rows["log_return"].push_block(rows["log_return"])
        self._market.push(open_ms)
        self.open_ms, self.bars = int(open_ms[-1]), self.bars + bars
        self.count, self.last_close_ms = count[-1], last_close_ms[-1]
        return PanelBlock(
            symbols=self.symbols,
            period_ms=self.period_ms,
            window=self.window,
            close_ms=close_ms,
            count=count,
            last_close_ms=last_close_ms,
            market=self._market.last_of_block(bars),
            rows={field: rows.last_of_block(bars) for field, rows in self._rows.items()},
            indicators={spec: update_block(state, bar) for spec, state in self._states.items()},
        )

    def _check_time(self, open_ms: int) -> bool:
        """Return True if rows are missing between the newest bar and ``open_ms``.

        Raises:
            InvalidDataError: as ``append``.
        """
        if not self.bars:
            return False
        step = open_ms - self.open_ms
        if step <= 0 or step % self.period_ms:
            raise InvalidDataError(
                f"a bar opening at {show_utc(open_ms)} cannot follow the one at "
                f"{show_utc(self.open_ms)}: "
                f"it must open a multiple of {self.period_ms} ms later"
            )
        return step > self.period_ms

    def extend(
        self, open_ms: Ints, open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats
    ) -> None:
        """Append the rows of ``[bars, symbols]`` in order, as ``append`` does.

        Raises:
            InvalidDataError: as ``append``.
        """
        columns = (open_, high, low, close, volume)
        edges = np.flatnonzero(np.diff(open_ms) != self.period_ms) + 1  # blocks have no gaps
        for first, end in pairwise((0, *edges.tolist(), len(open_ms))):
            for start in range(first, end, SLACK_ROWS_MIN):
                rows = slice(start, min(end, start + SLACK_ROWS_MIN))
                self.append_block(open_ms[rows], *(column[rows] for column in columns))

    def view(self, field: Field, n: int, back: int = 0) -> Floats:
        """Return the ``n`` rows that end ``back`` bars before the newest, oldest first.

        ``[n, symbols]``, a view of the buffer: read it before the next ``append``. Rows before the
        first bar are NaN. Across a gap rows are not evenly spaced, so check ``count``.

        Raises:
            AssertionError: ``n + back`` is below 1, or more than the window.
        """
        return self._rows[field].last(n + back)[:n]

    def row(self, field: Field, back: int = 0) -> Floats:
        """Return the row ``back`` bars before the newest, ``[symbols]``; NaN if missing."""
        row: Floats = self._rows[field].last(back + 1)[0]
        return row

    def indicator(self, spec: Indicator) -> Floats:
        """Return an indicator's value, ``[symbols]``; NaN if warming up or undefined.

        Raises:
            KeyError: the panel was not made with this indicator.
        """
        return self._states[spec].value

    def state(self, spec: Indicator) -> IndicatorState:
        """Return the state of an indicator, which may have more than one value.

        Raises:
            KeyError: as ``indicator``.
        """
        return self._states[spec]

    def append_interest(self, available_ms: int, values: Floats) -> None:
        """Add open interest ``[symbols]``; NaN, infinite or nonpositive is unknown.

        An observation less than ``INTEREST_PERIOD_MS`` after the newest row's first one only fills
        in values that the row lacks, so that frequent polls do not push old rows out of the window.
        The row then counts as available at ``available_ms``.

        Raises:
            InvalidDataError: ``available_ms`` is before the time of the newest row.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.where((values > 0) & (values < np.inf), np.log(values), np.nan)
        if len(self._interest_ms):
            newest_ms = int(self._interest_ms[-1])
            if available_ms < newest_ms:
                raise InvalidDataError(
                    f"open interest available at {show_utc(available_ms)} is older than the "
                    f"newest, at {show_utc(newest_ms)}: append in the order of time"
                )
            if available_ms - self._interest_row_ms < INTEREST_PERIOD_MS:
                self._fill_interest(available_ms, logs)
                return
        self._interest.push(logs)
        self._interest_row_ms = available_ms
        self._interest_ms = np.append(self._interest_ms, available_ms)[-self._interest.window :]
        self._interest_version += 1

    def _fill_interest(self, available_ms: int, logs: Floats) -> None:
        newest = self._interest.last(1)[0]
        unknown = np.isnan(newest) & ~np.isnan(logs)
        if unknown.any():
            newest[unknown] = logs[unknown]
            self._interest_ms[-1] = available_ms  # the row is complete only from now on
            self._interest_version += 1

    def open_interest(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the open interest that is known at ``now_ms``.

        Times in ms are ``[rows]``, ln(open interest) is ``[rows, symbols]``; both have no rows if
        none is known.
        """
        known = int(np.searchsorted(self._interest_ms, now_ms, side="right"))
        if not known:
            return self._interest_ms[:0], self._interest.last(1)[:0]
        return self._interest_ms[:known], self._interest.last(len(self._interest_ms))[:known]

    def copy_interest(self) -> InterestSnapshot:
        """Return the open interest as it is now; the same snapshot until it changes."""
        version = self._interest_version
        if self._snapshot is None or self._snapshot[0] != version:
            rows = len(self._interest_ms)
            logs = self._interest.last(max(rows, 1))[:rows]
            snapshot = InterestSnapshot(times=self._interest_ms.copy(), logs=logs.copy())
            self._snapshot = (version, snapshot)
        return self._snapshot[1]

    def compute_from_interest(
        self, key: Hashable, now_ms: int, compute: Callable[[Ints, Floats], Floats]
    ) -> Floats:
        """Return ``compute(*open_interest(now_ms))``.

        The result is cached by ``key`` until the open interest known at ``now_ms`` changes.
        """
        times, logs = self.open_interest(now_ms)
        newest_ms = int(times[-1]) if len(times) else -1
        version = (self._interest_version, newest_ms)
        known = self._derived.get(key)
        if known is not None and known[0] == version:
            return known[1]
        value = compute(times, logs)
        self._derived[key] = (version, value)
        return value

    def append_funding(self, settled_ms: int, rates: Floats) -> None:
        """Add the rates that settled, ``[symbols]``, as fractions per interval.

        Raises:
            InvalidDataError: ``settled_ms`` is before the newest settlement.
        """
        self._funding.append(settled_ms, rates)

    def funding(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return times in ms and rates of the funding that had settled by ``now_ms``.

        Both are ``[settlements, symbols]``, oldest first; -1 and NaN where there is none.
        """
        return self._funding.copy().known(now_ms)

    def copy_funding(self) -> FundingSnapshot:
        """Return the funding as it is now; the same snapshot until it changes."""
        return self._funding.copy()

    def compute_from_funding(self, key: Hashable, now_ms: int, compute: FigureOfRates) -> Floats:
        """Return ``compute(*funding(now_ms))``, cached by ``key`` until it changes."""
        return self._funding.copy().compute(key, now_ms, compute)
