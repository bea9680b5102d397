"""``PanelBlock``, a panel after each bar of a block of bars.

Strategies score all bars of a block at once.

The arrays of a ``PanelBlock`` are those of a ``Panel`` with one more axis, ``[bars, symbols]``.
Entry b has what the panel had after bar b: nothing of a later bar is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.indicators.base import Indicator
from kamou.core.market.flow import FigureOfFlow, FlowSnapshot
from kamou.core.market.hourly_rows import FigureOfHours, HourlySnapshot, find_first_open_ms
from kamou.core.market.settlements import FigureOfRates, FundingSnapshot

Field = Literal["open", "high", "low", "close", "volume", "log_close", "log_return"]


@attrs.frozen(kw_only=True, eq=False)
class InterestSnapshot:
    """The open interest that a panel knew at one instant; it never changes."""

    times: Ints  # when each row became available, in ms, ``[rows]``
    logs: Floats  # ln(open interest), ``[rows, symbols]``
    _derived: dict[tuple[Hashable, int], Floats] = attrs.field(init=False, factory=dict)

    def compute(
        self, key: Hashable, now_ms: int, compute: Callable[[Ints, Floats], Floats]
    ) -> Floats:
        """Return ``compute`` of the rows known at ``now_ms``.

        The result is cached by ``key`` and the number of these rows.
        """
        known = int(np.searchsorted(self.times, now_ms, side="right"))
        value = self._derived.get((key, known))
        if value is None:
            value = self._derived[key, known] = compute(self.times[:known], self.logs[:known])
        return value


@attrs.frozen(kw_only=True, eq=False)
class PanelBlock:
    """Bars, indicators and other sources after each bar of a block.

    It reads the panel's buffer: use it before the panel's next bar.
    """

    symbols: tuple[str, ...]
    period_ms: int
    window: int
    close_ms: Ints  # close times of the bars, ``[bars]``
    count: Ints  # consecutive valid bars up to each bar, ``[bars, symbols]``
    last_close_ms: Ints  # of each newest valid bar, ``[bars, symbols]``
    interest: Sequence[InterestSnapshot] = ()  # one for each bar; empty: no strategy reads it
    funding: Sequence[FundingSnapshot] = ()  # as ``interest``
    flow: Sequence[FlowSnapshot] = ()  # as ``interest``
    ratios: Sequence[HourlySnapshot] = ()  # as ``interest``
    premium: Sequence[HourlySnapshot] = ()  # as ``interest``
    _market: Floats  # as ``_rows``, ``[rows, MARKET_FIGURES]``; empty: no strategy reads it
    _rows: Mapping[Field, Floats]  # window - 1 rows before the block, and the block's
    _indicators: Mapping[Indicator, Floats]  # [bars, symbols]

    def view(self, field: Field, n: int, back: int = 0) -> Floats:
        """Return the ``n`` rows that end ``back`` bars before each bar, oldest first.

        ``[n, bars, symbols]``, a view of the buffer. See ``Panel.view``.
        """
        first = self.window - back - n
        assert first >= 0, (n, back, self.window)
        rows = self._rows[field]
        windows = np.lib.stride_tricks.sliding_window_view(rows[first : len(rows) - back], n, 0)
        return np.moveaxis(windows, -1, 0)

    def market(self, n: int) -> Floats:
        """Return the whole market's figures of the ``n`` bars that end at each bar.

        ``[n, bars, MARKET_FIGURES]``, a view of the buffer. See ``Panel.market``.
        """
        first = self.window - n
        assert first >= 0, (n, self.window)
        windows = np.lib.stride_tricks.sliding_window_view(self._market[first:], n, 0)
        return np.moveaxis(windows, -1, 0)

    def row(self, field: Field, back: int = 0) -> Floats:
        """Return the rows that are ``back`` bars before each bar, ``[bars, symbols]``."""
        rows = self._rows[field]
        first = self.window - 1 - back
        assert first >= 0, (back, self.window)
        return rows[first : len(rows) - back]

    def indicator(self, spec: Indicator) -> Floats:
        """Return an indicator's values, ``[bars, symbols]``; NaN where unknown.

        Raises:
            KeyError: the panel was not made with this indicator.
        """
        return self._indicators[spec]

    def compute_from_interest(
        self, key: Hashable, now_ms: Ints, compute: Callable[[Ints, Floats], Floats]
    ) -> Floats:
        """Return ``compute`` of the open interest known at each bar, ``[bars, ...]``.

        ``now_ms`` is ``[bars, 1]``. Each snapshot caches the result by ``key`` and the number of
        rows known, so one result serves all bars between two changes of the open interest.
        """
        times = now_ms[:, 0].tolist()
        return np.stack(
            [
                known.compute(key, at_ms, compute)
                for known, at_ms in zip(self.interest, times, strict=True)
            ]
        )

    def compute_from_funding(self, key: Hashable, now_ms: Ints, compute: FigureOfRates) -> Floats:
        """Return ``compute`` of the funding known at each bar, ``[bars, ...]``.

        ``now_ms`` is ``[bars, 1]``. One result serves all bars between two settlements.
        """
        times = now_ms[:, 0].tolist()
        return np.stack(
            [
                known.compute(key, at_ms, compute)
                for known, at_ms in zip(self.funding, times, strict=True)
            ]
        )

    def compute_from_flow(self, key: Hashable, now_ms: Ints, compute: FigureOfFlow) -> Floats:
        """Return ``compute`` of the order flow known at each bar, ``[bars, ...]``.

        ``now_ms`` is ``[bars, 1]``. One result serves all bars between two windows.
        """
        times = now_ms[:, 0].tolist()
        return np.stack(
            [
                known.compute(key, at_ms, compute)
                for known, at_ms in zip(self.flow, times, strict=True)
            ]
        )

    def compute_from_ratios(self, key: Hashable, now_ms: Ints, compute: FigureOfHours) -> Floats:
        """Return ``compute`` of the long/short ratios known at each bar, ``[bars, ...]``.

        ``now_ms`` is ``[bars, 1]``. One result serves all bars between two observations.
        """
        return self._compute_from_hours(self.ratios, key, now_ms, compute)

    def compute_from_premium(self, key: Hashable, now_ms: Ints, compute: FigureOfHours) -> Floats:
        """Return ``compute`` of the premium index, as ``compute_from_ratios`` does."""
        return self._compute_from_hours(self.premium, key, now_ms, compute)

    def _compute_from_hours(
        self,
        snapshots: Sequence[HourlySnapshot],
        key: Hashable,
        now_ms: Ints,
        compute: FigureOfHours,
    ) -> Floats:
        first_ms = find_first_open_ms(self.last_close_ms, self.count, self.period_ms)
        return np.stack(
            [
                known.compute(key, since_ms, at_ms, compute)
                for known, since_ms, at_ms in zip(
                    snapshots, first_ms, now_ms[:, 0].tolist(), strict=True
                )
            ]
        )


def count_valid(before: Ints, valid: Mask) -> Ints:
    """Return the number of consecutive valid bars up to each bar of a block.

    Args:
        before: the count before the block, ``[symbols]``.
        valid: ``[bars, symbols]``, as the result.
    """
    ordinal = np.arange(1, len(valid) + 1)[:, np.newaxis]
    if valid.all():
        return before + ordinal
    newest_bad = np.maximum.accumulate(np.where(valid, 0, ordinal), axis=0)
    return ordinal - newest_bad + np.where(newest_bad == 0, before, 0)


def pick_columns(windows: Floats, where: Mask) -> Floats:
    """Return a copy of the columns of ``windows`` that ``where`` selects, in C order.

    ``windows`` is ``[n, ..., symbols]``, ``where`` is ``[..., symbols]``, the copy is
    ``[n, selected]``.
    """
    return np.ascontiguousarray(windows[:, where])
