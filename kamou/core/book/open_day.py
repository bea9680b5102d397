"""The open UTC day: its opening, its newest equity and its net deposits."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs

from kamou.core.book.balance_changes import BalanceChange, group_by_symbol
from kamou.core.book.events import DayOpened, EquityRecorded
from kamou.core.day import day_start_ms, utc_day
from kamou.core.model import ZERO


@attrs.define(kw_only=True)
class OpenDay:
    """The UTC day that opened last. Before the first opening ``utc_day`` is empty."""

    utc_day: str = ""  # YYYY-MM-DD
    opened_at_ms: int = 0
    equity: Decimal = ZERO  # at the day's opening
    from_ms: int = 0  # fills and payments from this time on belong to the day
    last_ms: int = 0  # the day's newest equity snapshot, and its equity
    last_equity: Decimal = ZERO
    net_deposits: Decimal = ZERO  # by the venue's time
    marks: dict[str, Decimal] = attrs.field(factory=dict)  # marks of ``DayOpened``, by symbol

    def open(self, event: DayOpened, opening: Decimal, payments: Iterable[BalanceChange]) -> None:
        """Begin the day.

        Args:
            event: the day's opening.
            opening: equity at 00:00, money; of an event without its own, as computed.
            payments: all that the book has, of which the day's transfers count.
        """
        self.utc_day = event.day
        self.opened_at_ms = event.at_ms
        self.last_ms, self.last_equity = event.at_ms, event.equity
        self.marks = group_by_symbol(event.marks)
        self.equity = opening
        counted_ms = event.midnight_at_ms or day_start_ms(event.at_ms)
        if event.opening is not None and not event.at_midnight:
            counted_ms = event.at_ms + 1  # ``opening`` includes all payments before the read
        self.from_ms = counted_ms
        if opening <= 0:  # all equity was deposited since: the day begins with this read
            self.equity, counted_ms = event.equity, event.at_ms + 1
        later = (p.amount for p in payments if p.transfer and p.at_ms >= counted_ms)
        self.net_deposits = sum(later, ZERO)

    def count(self, paid: BalanceChange) -> None:
        """Count a fill or payment of this day.

        The account read that opened the day may have counted it already.
        """
        if self.utc_day and paid.at_ms >= self.from_ms:
            self.net_deposits += paid.amount if paid.transfer else ZERO
            if paid.at_ms <= self.opened_at_ms:
                self.equity -= paid.worth(self.marks)

    def record_snapshot(self, event: EquityRecorded) -> None:
        """Keep an equity snapshot of this day as its newest."""
        if utc_day(event.at_ms) == self.utc_day:
            self.last_ms, self.last_equity = event.at_ms, event.equity
