"""An invariant without a number: a trade ends soon after its time limit."""

from __future__ import annotations

import attrs

from kamou.core.book.position_book import PositionBook
from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.venue.state import FillAudit
from kamou.venue.violations import HardRule

OVERDUE_MS = 120_000  # beyond a trade's time limit


@attrs.define
class TimeLimits:
    """The time limits of the open positions."""

    observed: Observed
    report: ReportViolation
    _due: dict[str, tuple[int, int]] = attrs.Factory(dict)  # symbol -> (limit, counted from) in ms

    def record_fill(self, record: FillAudit) -> None:
        """Begin or end the time limit of a position."""
        symbol, after, before = record.symbol, record.position_after, record.position_before
        if after == 0 or after * before < 0:
            self._due.pop(symbol, None)
        permit = self.observed.permit_of(record.client_order_id)
        if permit is not None and permit.plan.hold_ms and after != 0:
            self._due.setdefault(symbol, (record.at_ms + permit.plan.hold_ms, record.at_ms))

    def restore_book(self, book: PositionBook) -> None:
        """Drop the limits of positions that a restored journal does not have.

        Such positions are adopted, and their time limits are lost.
        """
        holds = {t.symbol: t.hold_until_ms for t in book.trades.open.values()}
        self._due = {s: due for s, due in self._due.items() if holds.get(s) == due[0]}

    def check_overdue(self, now_ms: int) -> None:
        """Report the positions that are open long after their time limits."""
        for symbol, (due_ms, since_ms) in tuple(self._due.items()):
            excused_ms = self.observed.excused_ms(symbol, due_ms, now_ms)
            if now_ms - due_ms > OVERDUE_MS + excused_ms:
                del self._due[symbol]
                late = f"{now_ms - due_ms} ms after its time limit"
                detail = f"filled at {since_ms} ms, still open {late}"
                self.report(HardRule.OVERDUE, now_ms, symbol, detail)
