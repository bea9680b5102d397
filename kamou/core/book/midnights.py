"""Published equity of midnights, which late fills and payments may still correct."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.balance_changes import BalanceChange, group_by_symbol
from kamou.core.book.events import DayOpened
from kamou.core.book.late_events import DayCorrected


@attrs.frozen(kw_only=True)
class OpenedMidnight:
    """Midnight (00:00 UTC) of a published day, with its equity.

    Late fills and payments may still correct the equity.
    """

    at_ms: int
    read_at_ms: int  # of the account read, which had all fills and payments until then
    equity: Decimal  # money, as known now
    published: Decimal  # money, as the newest event has it
    marks: dict[str, Decimal]  # mark prices of the midnight, by symbol
    corrections: int = 0  # number of committed ones
    cause: str = ""  # id of the newest fill or payment that changed it


@attrs.define(kw_only=True)
class Midnights:
    """Midnights of the newest account read that opened days."""

    opened: dict[str, OpenedMidnight] = attrs.field(factory=dict)  # by day

    def keep(self, event: DayOpened, opening: Decimal) -> None:
        """Keep a day's midnight, and drop those that other account reads opened.

        A midnight whose equity cannot be computed is not kept.

        Args:
            opening: equity at the midnight, money.
        """
        kept = {d: m for d, m in self.opened.items() if m.read_at_ms == event.at_ms}
        if event.at_midnight:
            kept[event.day] = OpenedMidnight(
                at_ms=event.midnight_at_ms,
                read_at_ms=event.at_ms,
                equity=opening,
                published=opening,
                marks=group_by_symbol(event.marks),
            )
        self.opened = kept

    def count(self, key: str, paid: BalanceChange) -> None:
        """Subtract a late fill or payment from the equity of each midnight before it.

        A midnight changes only if its account read is not earlier than the fill or payment.

        Args:
            key: fill key or income id.
        """
        for day, midnight in self.opened.items():
            if midnight.at_ms <= paid.at_ms <= midnight.read_at_ms:
                equity = midnight.equity - paid.worth(midnight.marks)
                self.opened[day] = attrs.evolve(midnight, equity=equity, cause=key)

    def apply_correction(self, event: DayCorrected) -> None:
        """Store the committed correction of a midnight, if the book has it."""
        midnight = self.opened.get(event.day)
        if midnight is not None:
            self.opened[event.day] = attrs.evolve(
                midnight, published=event.equity, corrections=event.number
            )

    def pending_corrections(self, at_ms: int) -> tuple[DayCorrected, ...]:
        """Return a correction of each midnight that a late fill or payment has changed."""
        return tuple(
            DayCorrected(
                at_ms=at_ms,
                cause_id=midnight.cause,
                day=day,
                number=midnight.corrections + 1,
                before=midnight.published,
                equity=midnight.equity,
            )
            for day, midnight in self.opened.items()
            if midnight.equity != midnight.published
        )
