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
    equity: Decimal = ZERO  # at 00:00, or at the day's first read
    from_ms: int = 0  # fills and payments from this time on belong to the day
    last_ms: int = 0  # time of the day's newest equity snapshot
    last_equity: Decimal = ZERO  # money, of that snapshot
    net_deposits: Decimal = ZERO  # money since 00:00, by the venue's time
    marks: dict[str, Decimal] = attrs.field(factory=dict)  # marks of ``DayOpened``, by symbol

    def open(self, event: DayOpened, opening: Decimal, payments: Iterable[BalanceChange]) -> None:
        """Begin the day.

        Args:
            event: the day's opening.
            opening: equity at 00:00, money. If it is 0 or less, the day begins with the equity of
                the event's read.
            payments: all fills and payments of the book; the day's transfers among them count.
        """
        self.utc_day = event.day
        self.opened_at_ms = event.at_ms
        self.last_ms, self.last_equity = event.at_ms, event.equity
        self.marks = group_by_symbol(event.marks)
        self.equity = opening
        counted_ms = event.midnight_at_ms or day_start_ms(event.at_ms)
        if not event.at_midnight:
            counted_ms = event.at_ms + 1  # ``opening`` includes all payments up to the read
        self.from_ms = counted_ms
        if opening <= 0:  # all equity was deposited since 00:00
            self.equity, counted_ms = event.equity, event.at_ms + 1
        later = (p.amount for p in payments if p.transfer and p.at_ms >= counted_ms)
        self.net_deposits = sum(later, ZERO)

    def count(self, paid: BalanceChange) -> None:
        """Count a fill or payment, if it belongs to this day.

        A transfer changes the net deposits. If the account read that opened the day includes the
        fill or payment, the equity at 00:00 was computed without it and is corrected.
        """
        if self.utc_day and paid.at_ms >= self.from_ms:
            self.net_deposits += paid.amount if paid.transfer else ZERO
            if paid.at_ms <= self.opened_at_ms:
                self.equity -= paid.worth(self.marks)

    def record_snapshot(self, event: EquityRecorded) -> None:
        """Keep an equity snapshot of this day as its newest."""
        if utc_day(event.at_ms) == self.utc_day:
            self.last_ms, self.last_equity = event.at_ms, event.equity
