"""The UTC day and its money, calendar dates, and durations in ms."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import attrs

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def utc_day(at_ms: int) -> str:
    """Return the UTC day of an instant, written ``YYYY-MM-DD``."""
    return _name_day(at_ms // DAY_MS)


@lru_cache(maxsize=1_024)  # a run asks for few days, thousands of times
def _name_day(number: int) -> str:
    """Return the name of the day ``number`` days after 1970-01-01."""
    return datetime.fromtimestamp(number * (DAY_MS // 1000), tz=UTC).date().isoformat()


def show_utc(at_ms: int) -> str:
    """Return a time in UTC for an error, or ``time MS`` if ``at_ms`` is no date."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"time {at_ms}"


def next_day(day: str) -> str:
    """Return the day after ``day``, both written ``YYYY-MM-DD``."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def next_month(month: str) -> str:
    """Return the month after ``month``, both written ``YYYY-MM``."""
    return next_day(f"{month}-{monthrange(int(month[:4]), int(month[5:]))[1]}")[:7]


def midnight_ms_of(day: str) -> int:
    """Return 00:00 UTC of a day that is written ``YYYY-MM-DD``."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000


def day_start_ms(at_ms: int) -> int:
    """Return 00:00 UTC of the day that contains the instant."""
    return at_ms - at_ms % DAY_MS


@attrs.frozen(kw_only=True)
class Stretch:
    """Equity at the start and the end of a time without transfers, money."""

    start: Decimal  # just after the transfer before, or at the day's start
    end: Decimal  # just before the next transfer, or now


@attrs.frozen(kw_only=True)
class Day:
    """Money of one UTC day from its start to one instant, and its two figures.

    ``loss`` is what the daily loss limit compares: it includes the cost of closing what is open and
    leaves out deposits and withdrawals. ``return_twr`` is what the record publishes: it has no exit
    costs, and each transfer divides it, so that it does not depend on their size.
    """

    equity_start: Decimal  # at 00:00; of a day that cannot begin there, at its first read
    equity: Decimal  # at the instant
    net_deposits: Decimal = Decimal(0)  # from the start to the instant
    exit_costs: Decimal = Decimal(0)  # of closing all positions at the instant
    stretches: tuple[Stretch, ...] = ()  # oldest first; empty: the equity at transfers is unknown

    @property
    def change(self) -> Decimal:
        """Profit or loss in money, without transfers and exit costs."""
        return self.equity - self.equity_start - self.net_deposits

    @property
    def result(self) -> Decimal:
        """``change`` as a fraction of the equity at the start, which must be above 0."""
        assert self.equity_start > 0, self
        return self.change / self.equity_start

    @property
    def money_lost(self) -> Decimal:
        """Loss with exit costs, money, >= 0."""
        return max(Decimal(0), self.exit_costs - self.change)

    @property
    def loss(self) -> Decimal:
        """Loss with exit costs, a fraction of the first equity; negative after a profit."""
        assert self.equity_start > 0, self
        return (self.exit_costs - self.change) / self.equity_start

    def limit(self, share: Decimal) -> Decimal:
        """Return the money that the day may lose: ``share`` of its first equity."""
        return share * self.equity_start

    def left(self, share: Decimal) -> Decimal:
        """Return the money that the day may still lose; negative beyond the limit."""
        return self.limit(share) - self.money_lost

    @property
    def return_twr(self) -> float | None:
        """Time-weighted return, a fraction; None if a stretch has none.

        It is the product over the stretches of end / start, less 1. A stretch that begins and ends
        with no equity changes nothing, unless it is the first one.
        """
        if not self.stretches or self.stretches[0].start <= 0:
            return None
        growth = 1.0
        for stretch in self.stretches:
            if stretch.start > 0:
                growth *= float(stretch.end / stretch.start)
            elif stretch.start < 0 or stretch.end != 0:
                return None
        return growth - 1.0
