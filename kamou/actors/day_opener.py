"""``DayOpener``, which decides which UTC days two reads of the equity open."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.balance_changes import group_by_symbol
from kamou.core.book.events import DayOpened
from kamou.core.book.position_book import PositionBook
from kamou.core.day import utc_day
from kamou.core.risk.limits import RiskLimits
from kamou.core.risk.midnight_equity import WAIT_MS, OpeningRead, open_days
from kamou.core.risk.states import EquityRead, overdue_ms


class DayOpener:
    """Judge of the equity reads that open UTC days.

    A day opens on two reads that agree, because all limits of the day depend on its equity. The
    first read is kept until the second one.
    """

    def __init__(self, limits: RiskLimits) -> None:
        self._limits = limits
        self._first: EquityRead | None = None  # to be confirmed by a second read
        self._since_ms: int | None = None  # the first read of a day that is not open yet

    @property
    def read_again_ms(self) -> int | None:
        """Time from which a second read may confirm the first; None: no day waits for one."""
        if self._first is None:
            return None
        return self._first.at_ms + self._limits.equity_confirm_s * 1000

    def judge(
        self, book: PositionBook, read: EquityRead | None, now_ms: int
    ) -> tuple[DayOpened, ...]:
        """Return the days that this read opens, oldest first; the caller commits them.

        A read that is missing, old or unexplained, or whose equity is not above 0, opens none. The
        equities of this read and of the one before it, at least ``equity_confirm_s`` earlier, must
        agree. While book and venue differ, a day opens only ``WAIT_MS`` after its first read.
        """
        if read is None or read.equity <= Decimal(0) or not read.explained:
            return ()
        if overdue_ms(read, self._limits, now_ms) > 0:
            return ()
        day = utc_day(read.at_ms)
        if day <= book.day.utc_day:
            self._since_ms = None
            return ()
        if self._since_ms is None or utc_day(self._since_ms) != day:
            self._since_ms = read.at_ms
        first, self._first = self._first, read
        if first is None or utc_day(first.at_ms) != day:
            return ()
        waited = read.at_ms - self._since_ms >= WAIT_MS
        if not read.agreed and not waited:
            return ()  # a position that the venue omits would be missing at midnight too
        second = self._openings(book, read, waited=waited)
        earlier = self._openings(book, attrs.evolve(first, midnights=read.midnights), waited=waited)
        apart = read.at_ms - first.at_ms >= self._limits.equity_confirm_s * 1000
        if not apart or not second or not earlier or not self._agree(book, earlier[-1], second[-1]):
            return ()
        self._first = None
        return second

    def _openings(
        self, book: PositionBook, read: EquityRead, *, waited: bool
    ) -> tuple[DayOpened, ...]:
        """Return the days that this read opens; none while a midnight may still get marks."""
        opening_read = OpeningRead(
            at_ms=read.at_ms,
            equity=read.equity,
            wallet_balance=read.wallet_balance,
            positions=read.positions,
            midnights=read.midnights,
            tolerance=self._limits.equity_tolerance,
        )
        return open_days(book, opening_read, waited=waited)

    def _agree(self, book: PositionBook, first: DayOpened, second: DayOpened) -> bool:
        """Return True if two openings agree within the tolerance; transfers do not count."""
        equities = []
        for event in (first, second):
            equity = event.opening
            if equity is None:
                marks = group_by_symbol(event.marks)
                equity = book.equity_at_midnight(event.equity, event.at_ms, marks)
            equities.append(equity)
        return abs(equities[1] - equities[0]) <= self._limits.equity_tolerance * first.equity
