"""The UTC trading day and its PnL, calendar dates, and durations in ms."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def utc_day(at_ms: int) -> str:
    """Return the UTC day of an instant, written ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(at_ms // 1000, tz=UTC).date().isoformat()


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


def day_pnl(equity: Decimal, day_equity: Decimal, net_deposits: Decimal) -> Decimal:
    """Return the day's return so far, a fraction: (E - E0 - F) / E0.

    Args:
        equity: E, money; includes unrealized PnL.
        day_equity: E0, money; equity when the day opened.
        net_deposits: F, money; net deposits since then, because they are no profit or loss.
    """
    assert day_equity > 0
    return (equity - day_equity - net_deposits) / day_equity
