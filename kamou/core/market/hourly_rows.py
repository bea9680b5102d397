"""The newest observations of a source of a panel, a row per hour.

Venues publish such sources every minute to every hour. A row has each symbol's newest observation
of its hour, so z-scores of all venues are comparable. Observations have times of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.core.day import HOUR_MS, show_utc
from kamou.errors import InvalidDataError

NO_OBSERVATION_MS = -1  # time of an hour without an observation
FigureOfHours = Callable[[Ints, Floats], Floats]
"""A function of times ``[hours, symbols]`` and values ``[hours, figures, symbols]``."""


@attrs.frozen(kw_only=True, eq=False)
class HourlySnapshot:
    """The observations that a panel knew at one instant; it never changes."""

    times: Ints  # in ms, ``[hours, symbols]``; ``NO_OBSERVATION_MS``: none in this hour
    values: Floats  # ``[hours, figures, symbols]``; NaN: none
    newest_ms: int  # of the newest observation
    _derived: dict[tuple[Hashable, int, bytes], Floats] = attrs.field(init=False, factory=dict)

    def known(self, since_ms: Ints, now_ms: int) -> tuple[Ints, Floats]:
        """Return times and values of the observations in ``(since_ms, now_ms]``.

        ``since_ms`` is ``[symbols]``.
        """
        outside = (self.times > now_ms) | (self.times <= since_ms)
        if not (outside & (self.times != NO_OBSERVATION_MS)).any():  # usual, and needs no copies
            return self.times, self.values
        times = np.where(outside, NO_OBSERVATION_MS, self.times)
        return times, np.where(outside[:, np.newaxis], np.nan, self.values)

    def compute(self, key: Hashable, since_ms: Ints, now_ms: int, compute: FigureOfHours) -> Floats:
        """Return ``compute`` of ``known(since_ms, now_ms)``, cached by ``key``."""
        later = int(np.count_nonzero(self.times > now_ms)) if self.newest_ms > now_ms else 0
        known = (key, later, since_ms.tobytes())
        value = self._derived.get(known)
        if value is None:
            value = self._derived[known] = compute(*self.known(since_ms, now_ms))
        return value


class HourlyRows:
    """The observations of every symbol in the newest hours.

    Args:
        hours: rows to keep; 0: none.
        figures: figures of an observation.
        symbols: number of symbols.
        what: an observation, as an error names it, such as ``a long/short ratio``.
    """

    def __init__(self, hours: int, figures: int, symbols: int, what: str) -> None:
        self.hours = hours
        self._what = what
        self._times: Ints = np.full((hours, symbols), NO_OBSERVATION_MS, np.int64)
        self._values: Floats = np.full((hours, figures, symbols), np.nan)
        self._newest_ms = NO_OBSERVATION_MS
        self._snapshot: HourlySnapshot | None = None

    def append_values(self, available_ms: int, values: Floats) -> None:
        """Add observations ``[figures, symbols]``; NaN: unknown.

        A symbol whose first figure is unknown has no observation. An observation replaces one of
        the same hour: the hours end at full hours UTC, and their ends are part of them.

        Raises:
            InvalidDataError: ``available_ms`` is before the newest observation.
        """
        if available_ms < self._newest_ms:
            raise InvalidDataError(
                f"{self._what} available at {show_utc(available_ms)} is older than the"
                f" newest, at {show_utc(self._newest_ms)}: append in the order of time"
            )
        before_ms, self._newest_ms = self._newest_ms, available_ms
        if not self.hours:
            return
        # New arrays: snapshots keep the old ones.
        self._shift(_end_of_hour(available_ms) - _end_of_hour(before_ms))
        known = ~np.isnan(values[0])
        self._times[-1] = np.where(known, available_ms, self._times[-1])
        self._values[-1] = np.where(known, values, self._values[-1])
        self._snapshot = None

    def _shift(self, hours: int) -> None:
        """Replace the arrays by copies in which so many empty hours follow the newest."""
        kept = max(0, self.hours - hours)
        times, values = np.empty_like(self._times), np.empty_like(self._values)
        times[kept:], values[kept:] = NO_OBSERVATION_MS, np.nan
        if kept:
            times[:kept], values[:kept] = self._times[-kept:], self._values[-kept:]
        self._times, self._values = times, values

    def copy(self) -> HourlySnapshot:
        """Return the observations as they are now; the same snapshot until they change."""
        if self._snapshot is None:
            self._snapshot = HourlySnapshot(
                times=self._times, values=self._values, newest_ms=self._newest_ms
            )
        return self._snapshot


def _end_of_hour(at_ms: int) -> int:
    return -(-at_ms // HOUR_MS)


def find_first_open_ms(last_close_ms: Ints, count: Ints, period_ms: int) -> Ints:
    """Return the open time of the first of each symbol's consecutive bars.

    Args:
        last_close_ms: of each symbol's newest bar.
        count: number of its consecutive bars.
        period_ms: length of the bars.
    """
    return np.asarray(last_close_ms - count * period_ms)


class HourlyReads:
    """The part of a panel that all hourly sources share."""

    symbols: tuple[str, ...]
    period_ms: int
    history_ms: int
    count: Ints
    last_close_ms: Ints

    def _find_first_open_ms(self) -> Ints:
        return find_first_open_ms(self.last_close_ms, self.count, self.period_ms)
