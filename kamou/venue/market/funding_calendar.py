"""The funding times of a recorded market, known from its settlements so far.

The interval of a symbol is the distance of its last two settlements. It becomes longer only if two
distances in a row are equal, because one long distance may be missing data. So a later record does
not change earlier funding times. Assumes that a symbol's interval is 8 h until its second
settlement, and that funding settles every 8 h (or at the symbol's longer interval) where its record
ends or lacks data. Costs: a symbol with another interval before its record began pays the same
assumed rate per hour at other hours.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import attrs
import numpy as np

from kamou.core.arrays import Ints
from kamou.core.day import HOUR_MS
from kamou.core.market.bars import Series
from kamou.core.market.instruments import FUNDING_PERIOD_MS
from kamou.core.model import Instrument


@attrs.frozen
class IntervalChange:
    """A symbol's funding interval from an instant on."""

    at_ms: int
    symbol: str
    hours: int

    def apply_to(self, listed: Instrument) -> Instrument:
        """Return ``listed`` with this funding interval."""
        return attrs.evolve(listed, funding_interval_h=self.hours)


@runtime_checkable
class FundingSource(Protocol):
    """A market source whose funding has a calendar."""

    @property
    def funding_calendar(self) -> FundingCalendar:
        """The calendar of all symbols."""
        ...


class FundingCalendar:
    """The settlements of all symbols, and the intervals that follow from them."""

    def __init__(self, funding: Series) -> None:
        self._settled = {
            symbol: funding.available_ms[~np.isnan(funding.values[:, column])]
            for column, symbol in enumerate(funding.symbols)
        }
        changes = [
            IntervalChange(at_ms, symbol, hours)
            for symbol, times in self._settled.items()
            for at_ms, hours in find_intervals(times)
        ]
        self._changes = sorted(changes, key=lambda each: (each.at_ms, each.symbol))
        self._change_ms = np.array([each.at_ms for each in self._changes], dtype=np.int64)

    def changes(self, since_ms: int, until_ms: int) -> list[IntervalChange]:
        """Return the changes of ``(since_ms, until_ms]`` by time and symbol."""
        first, last = np.searchsorted(self._change_ms, (since_ms, until_ms), side="right")
        return self._changes[first:last]

    def assumed_hours(self, symbol: str, hour_ms: int, interval_h: int) -> int | None:
        """Return the hours that the assumed settlement at ``hour_ms`` covers.

        Return None if none is due. ``hour_ms`` is a full hour without a recorded settlement, and
        ``interval_h`` is the symbol's present interval.
        """
        times = self._settled[symbol]
        settled = int(np.searchsorted(times, hour_ms, side="right"))
        if not settled:
            return None if hour_ms % (interval_h * HOUR_MS) else interval_h
        period_ms = max(interval_h * HOUR_MS, FUNDING_PERIOD_MS)
        is_due = hour_ms - int(times[settled - 1]) >= period_ms and hour_ms % period_ms == 0
        return period_ms // HOUR_MS if is_due else None


def find_intervals(times: Ints) -> list[tuple[int, int]]:
    """Return each interval as (ms from which it applies, hours), oldest first.

    The first one needs two equal distances too if it is longer than 8 h.

    Args:
        times: the settlements, ascending; with fewer than two there is no interval.
    """
    gaps = np.maximum(1, np.rint(np.diff(times) / HOUR_MS)).astype(np.int64).tolist()
    found: list[tuple[int, int]] = []
    before = 0
    for at_ms, gap in zip(times[1:].tolist(), gaps, strict=True):
        present = found[-1][1] if found else FUNDING_PERIOD_MS // HOUR_MS
        is_new = gap != present or not found
        if is_new and (gap <= present or gap == before):
            found.append((at_ms, gap))
        before = gap
    return found
