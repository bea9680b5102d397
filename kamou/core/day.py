"""The UTC day and its money, calendar dates, and lengths of time in ms."""

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
    """Return the UTC day of an instant, written ``YYYY-MM-DD``.

    Raises:
        ValueError, OverflowError, OSError: the instant is no date of the years 1 to 9999.
    """
    return _name_day(at_ms // DAY_MS)


@lru_cache(maxsize=1_024)  # a run needs few days, each thousands of times
def _name_day(number: int) -> str:
    """Return the name of the day ``number`` days after 1970-01-01."""
    return datetime.fromtimestamp(number * (DAY_MS // 1000), tz=UTC).date().isoformat()


def show_utc(at_ms: int) -> str:
    """Return a time in UTC for a message; ``time`` and ``at_ms`` if that is no date.

    Example: ``2026-11-30T16:02:32Z``.
    """
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"time {at_ms}"


def next_day(day: str) -> str:
    """Return the day after ``day``, both written ``YYYY-MM-DD``.

    Raises:
        ValueError: ``day`` is no date.
        OverflowError: ``day`` is the last day of the year 9999.
    """
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def next_month(month: str) -> str:
    """Return the month after ``month``, both written ``YYYY-MM``.

    Raises:
        ValueError: ``month`` is no month.
        OverflowError: ``month`` is the last month of the year 9999.
    """
    return next_day(f"{month}-{monthrange(int(month[:4]), int(month[5:]))[1]}")[:7]


def midnight_ms_of(day: str) -> int:
    """Return 00:00 UTC, in ms since the Unix epoch, of a day written ``YYYY-MM-DD``.

    Raises:
        ValueError: ``day`` is no date.
    """
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000


def day_start_ms(at_ms: int) -> int:
    """Return 00:00 UTC of the day that contains ``at_ms``, both in ms since the epoch."""
    return at_ms - at_ms % DAY_MS


@attrs.frozen(kw_only=True)
class Stretch:
    """Equity, money, at the start and the end of a period between two transfers."""

    start: Decimal  # just after the previous transfer, or at the day's start
    end: Decimal  # just before the next transfer, or now


@attrs.frozen(kw_only=True)
class Day:
    """Money of one UTC day from its start to one instant, with its loss and return.

    The daily loss limit compares ``loss``, which includes the cost of closing all positions and
    leaves out deposits and withdrawals. The record publishes ``return_twr``, which leaves out exit
    costs. Each transfer ends a stretch, so ``return_twr`` does not depend on the size of transfers.
    """

    equity_start: Decimal  # at 00:00 or, if that is not possible, at the first read
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
        """``change`` as a fraction of ``equity_start``, which must be above 0."""
        assert self.equity_start > 0, self
        return self.change / self.equity_start

    @property
    def money_lost(self) -> Decimal:
        """Loss with exit costs, money, >= 0."""
        return max(Decimal(0), self.exit_costs - self.change)

    @property
    def loss(self) -> Decimal:
        """Loss with exit costs, a fraction of ``equity_start``; negative after a profit.

        ``equity_start`` must be above 0.
        """
        assert self.equity_start > 0, self
        return (self.exit_costs - self.change) / self.equity_start

    def limit(self, share: Decimal) -> Decimal:
        """Return the money that the day may lose: ``share`` times ``equity_start``."""
        return share * self.equity_start

    def left(self, share: Decimal) -> Decimal:
        """Return the money that the day may still lose; negative beyond the limit.

        A profit of the day does not raise it above ``limit(share)``.
        """
        return self.limit(share) - self.money_lost

    @property
    def return_twr(self) -> float | None:
        """Time-weighted return, a fraction; None if it is not known.

        It is the product over the stretches of end / start, less 1. It is not known without
        stretches, if the first one starts at 0 or less, or if a later one starts below 0. A later
        stretch that starts at 0 changes nothing if it ends at 0; otherwise the return is not known.
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
