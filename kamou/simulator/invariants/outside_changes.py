"""Withdrawals, losses and reductions that the system cannot know yet."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.venue.checker import ExcusedTime

KNOWN_AFTER_MS = 150_000  # two cycles and their reads, after which a change must be known
DECIDED_MS = 1_000  # from the decision of an entry to its fill
PERMIT_MS = 30_000  # lifetime of a permit granted before a loss was reported

Reported = tuple[str, int, Decimal]  # symbol, time and quantity of a fill


@attrs.define
class OutsideChanges:
    """Withdrawals, losses and reductions that the system learns of later.

    The system knows a change after it reads the account. If it cannot read the account, it may use
    its last read until that is ``age_max_ms`` old (seed 700202: a withdrawal, then three minutes of
    failing reads). It knows a loss at the report of its fill, if that comes earlier (seed 960240:
    an entry 307 ms after a liquidation in another symbol). Times are true times.
    """

    excused_ms: ExcusedTime
    age_max_ms: int  # largest age of an account read that entries may use
    _withdrawals: list[tuple[int, Decimal]] = attrs.Factory(list)  # (at_ms, amount > 0)
    _losses: list[tuple[Reported, Decimal]] = attrs.Factory(list)  # (fill, amount > 0)
    _reductions: list[Reported] = attrs.Factory(list)
    _reported: dict[Reported, int] = attrs.Factory(dict)  # fill -> when its report was committed

    def must_know(self, changed_at_ms: int, now_ms: int) -> bool:
        """Return True if at ``now_ms`` the system must know a change of ``changed_at_ms``."""
        age_ms = now_ms - changed_at_ms
        readable_ms = age_ms - self.excused_ms("", changed_at_ms, now_ms)
        return readable_ms > KNOWN_AFTER_MS or age_ms > self.age_max_ms + KNOWN_AFTER_MS

    def record_withdrawal(self, at_ms: int, amount: Decimal) -> None:
        """Record a withdrawal of ``amount`` > 0 USDT."""
        self._withdrawals.append((at_ms, amount))

    def record_reduction(self, symbol: str, at_ms: int, quantity: Decimal) -> None:
        """Record a fill that made a position smaller."""
        self._reductions.append((symbol, at_ms, quantity))

    def has_unreported(self, now_ms: int) -> bool:
        """Return True if an entry that fills now may predate the report of a reduction."""
        return any(
            fill[1] <= now_ms and self._is_news(fill, now_ms, DECIDED_MS)
            for fill in self._reductions
        )

    def record_loss(self, symbol: str, at_ms: int, quantity: Decimal, amount: Decimal) -> None:
        """Record that a fill realized a loss of ``amount`` > 0."""
        self._losses.append(((symbol, at_ms, quantity), amount))

    def record_report(self, symbol: str, at_ms: int, quantity: Decimal, now_ms: int) -> None:
        """Record that the journal has the report of a fill from ``now_ms`` on."""
        self._reported.setdefault((symbol, at_ms, quantity), now_ms)

    def sum_unknown(self, now_ms: int) -> Decimal:
        """Return the USDT lost or withdrawn that the system may still count as equity."""
        gone = [amount for at_ms, amount in self._withdrawals if not self.must_know(at_ms, now_ms)]
        lost = [amount for fill, amount in self._losses if self._is_news(fill, now_ms, PERMIT_MS)]
        return sum(gone + lost, Decimal(0))

    def _is_news(self, fill: Reported, now_ms: int, grace_ms: int) -> bool:
        """Return True if ``grace_ms`` before ``now_ms`` the system could lack the fill."""
        reported_ms = self._reported.get(fill, now_ms)
        return now_ms - reported_ms <= grace_ms and not self.must_know(fill[1], now_ms)
