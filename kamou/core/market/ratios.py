"""The newest ratios of long to short accounts of a panel, a row per hour.

Venues publish ratios every 5 minutes to every hour. A row has each symbol's newest observation of
its hour, so z-scores of all venues are comparable. Observations have times of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import HOUR_MS, show_utc
from kamou.core.indicators.long_short_ratio import ALL_ACCOUNTS
from kamou.errors import InvalidDataError

RATIO_PERIOD_MS = HOUR_MS
NO_RATIO_MS = -1  # time of an hour without an observation
FigureOfRatios = Callable[[Ints, Floats], Floats]
"""A function of times ``[hours, symbols]`` and ln(ratios) ``[hours, 2, symbols]``."""


@attrs.frozen(kw_only=True, eq=False)
class RatioSnapshot:
    """The ratios that a panel knew at one instant; it never changes."""

    times: Ints  # in ms, ``[hours, symbols]``; ``NO_RATIO_MS``: none in this hour
    logs: Floats  # ln(ratio), ``[hours, 2, symbols]``; NaN: none
    newest_ms: int  # of the newest observation
    _derived: dict[tuple[Hashable, int, bytes], Floats] = attrs.field(init=False, factory=dict)

    def known(self, since_ms: Ints, now_ms: int) -> tuple[Ints, Floats]:
        """Return times and logs of the observations in ``(since_ms, now_ms]``.

        ``since_ms`` is ``[symbols]``.
        """
        outside = (self.times > now_ms) | (self.times <= since_ms)
        if not (outside & (self.times != NO_RATIO_MS)).any():  # the usual case, without copies
            return self.times, self.logs
        times = np.where(outside, NO_RATIO_MS, self.times)
        return times, np.where(outside[:, np.newaxis], np.nan, self.logs)

    def compute(
        self, key: Hashable, since_ms: Ints, now_ms: int, compute: FigureOfRatios
    ) -> Floats:
        """Return ``compute`` of ``known(since_ms, now_ms)``, cached by ``key``."""
        later = int(np.count_nonzero(self.times > now_ms)) if self.newest_ms > now_ms else 0
        known = (key, later, since_ms.tobytes())
        value = self._derived.get(known)
        if value is None:
            value = self._derived[known] = compute(*self.known(since_ms, now_ms))
        return value


class RatioRows:
    """The ratios of every symbol in the newest hours.

    Args:
        hours: rows to keep; 0: none.
        symbols: number of symbols.
    """

    def __init__(self, hours: int, symbols: int) -> None:
        self.hours = hours
        self._times: Ints = np.full((hours, symbols), NO_RATIO_MS, np.int64)
        self._logs: Floats = np.full((hours, 2, symbols), np.nan)
        self._newest_ms = NO_RATIO_MS
        self._snapshot: RatioSnapshot | None = None

    def append(self, available_ms: int, accounts: Floats, top_traders: Floats) -> None:
        """Add ratios of all accounts and of top traders, both ``[symbols]``.

        A ratio that is NaN, infinite, 0 or negative is unknown. A symbol without a known ratio of
        all accounts has no observation. An observation replaces one of the same hour: the hours end
        at multiples of ``RATIO_PERIOD_MS``, and their ends are part of them.

        Raises:
            InvalidDataError: ``available_ms`` is before the newest observation.
        """
        if available_ms < self._newest_ms:
            raise InvalidDataError(
                f"a long/short ratio available at {show_utc(available_ms)} is older than the"
                f" newest, at {show_utc(self._newest_ms)}: append in the order of time"
            )
        before_ms, self._newest_ms = self._newest_ms, available_ms
        if not self.hours:
            return
        # New arrays: snapshots keep the old ones.
        self._shift(_end_of_hour(available_ms) - _end_of_hour(before_ms))
        logs = np.stack((_logs_of(accounts), _logs_of(top_traders)))
        known = ~np.isnan(logs[ALL_ACCOUNTS])
        self._times[-1] = np.where(known, available_ms, self._times[-1])
        self._logs[-1] = np.where(known, logs, self._logs[-1])
        self._snapshot = None

    def _shift(self, hours: int) -> None:
        """Replace the arrays by copies in which so many empty hours follow the newest."""
        kept = max(0, self.hours - hours)
        times, logs = np.empty_like(self._times), np.empty_like(self._logs)
        times[kept:], logs[kept:] = NO_RATIO_MS, np.nan
        if kept:
            times[:kept], logs[:kept] = self._times[-kept:], self._logs[-kept:]
        self._times, self._logs = times, logs

    def copy(self) -> RatioSnapshot:
        """Return the ratios as they are now; the same snapshot until they change."""
        if self._snapshot is None:
            self._snapshot = RatioSnapshot(
                times=self._times, logs=self._logs, newest_ms=self._newest_ms
            )
        return self._snapshot


def _end_of_hour(at_ms: int) -> int:
    return -(-at_ms // RATIO_PERIOD_MS)


def _logs_of(ratios: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((ratios > 0) & (ratios < np.inf), np.log(ratios), np.nan)


def find_first_open_ms(last_close_ms: Ints, count: Ints, period_ms: int) -> Ints:
    """Return the open time of the first of each symbol's consecutive bars.

    Args:
        last_close_ms: of each symbol's newest bar.
        count: number of its consecutive bars.
        period_ms: length of the bars.
    """
    return np.asarray(last_close_ms - count * period_ms)


class RatioReads:
    """The part of a panel that has the long/short ratios."""

    symbols: tuple[str, ...]
    period_ms: int
    history_ms: int
    count: Ints
    last_close_ms: Ints
    _ratios: RatioRows

    @property
    def ratio_hours(self) -> int:
        """Hours of long/short ratios that the panel keeps; 0: it needs none."""
        return self._ratios.hours

    def keep_ratios(self, hours: int) -> None:
        """Keep so many hours of ratios; call it before the first one is added."""
        self._ratios = RatioRows(hours, len(self.symbols))
        self.history_ms = max(self.history_ms, hours * RATIO_PERIOD_MS)

    def append_ratios(self, available_ms: int, accounts: Floats, top_traders: Floats) -> None:
        """Add ratios, as ``RatioRows.append``.

        Raises:
            InvalidDataError: as ``RatioRows.append``.
        """
        self._ratios.append(available_ms, accounts, top_traders)

    def ratios(self, now_ms: int) -> tuple[Ints, Floats]:
        """Return the hourly ratios that were available by ``now_ms``, oldest first.

        Times in ms are ``[hours, symbols]``, -1 where there is none. ln(ratio) is ``[hours, 2,
        symbols]``, of all accounts and of top traders, NaN if unknown. The last row is the hour of
        the newest observation of any symbol. A symbol has no ratio from before its consecutive
        bars: a gap in its bars starts the warm-up of its ratios again, too.
        """
        return self._ratios.copy().known(self._find_first_open_ms(), now_ms)

    def _find_first_open_ms(self) -> Ints:
        return find_first_open_ms(self.last_close_ms, self.count, self.period_ms)

    def copy_ratios(self) -> RatioSnapshot:
        """Return the ratios as they are now; the same snapshot until they change."""
        return self._ratios.copy()

    def compute_from_ratios(self, key: Hashable, now_ms: int, compute: FigureOfRatios) -> Floats:
        """Return ``compute(*ratios(now_ms))``, cached by ``key`` until it changes."""
        since_ms = self._find_first_open_ms()
        return self._ratios.copy().compute(key, since_ms, now_ms, compute)
