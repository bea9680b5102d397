"""Published midnights, whose equity late fills and payments may still correct."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.balance_changes import BalanceChange, group_by_symbol
from kamou.core.book.events import DayOpened
from kamou.core.book.late_events import DayCorrected


@attrs.frozen(kw_only=True)
class OpenedMidnight:
    """Midnight with published equity, which late fills and payments may still change."""

    at_ms: int
    read_at_ms: int  # of the account read, which had all fills and payments until then
    equity: Decimal  # as now known
    published: Decimal
    marks: dict[str, Decimal]
    corrections: int = 0
    cause: str = ""  # id of the newest fill or payment that changed it


@attrs.define(kw_only=True)
class Midnights:
    """Midnights of the newest account read that opened days."""

    opened: dict[str, OpenedMidnight] = attrs.field(factory=dict)  # by day

    def keep(self, event: DayOpened, opening: Decimal) -> None:
        """Keep one account read's midnights, which late fills or payments may correct."""
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
        """Subtract a fill or payment between a midnight and its account read."""
        for day, midnight in self.opened.items():
            if midnight.at_ms <= paid.at_ms <= midnight.read_at_ms:
                equity = midnight.equity - paid.worth(midnight.marks)
                self.opened[day] = attrs.evolve(midnight, equity=equity, cause=key)

    def apply_correction(self, event: DayCorrected) -> None:
        """Note the committed correction of a midnight."""
        midnight = self.opened.get(event.day)
        if midnight is not None:
            self.opened[event.day] = attrs.evolve(
                midnight, published=event.equity, corrections=event.number
            )

    def pending_corrections(self, at_ms: int) -> tuple[DayCorrected, ...]:
        """Return corrections of midnights that a late fill or payment has changed."""
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
