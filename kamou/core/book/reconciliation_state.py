"""State of reconciliation: closed cycles, drift, recorded fills and payments."""

from __future__ import annotations

import attrs

from kamou.core.book.events import CycleClosed, DriftFound
from kamou.core.book.retention import SEEN_KEPT, forget_oldest
from kamou.core.kinds import DriftKind
from kamou.core.model import FillReport, Income


@attrs.define(kw_only=True)
class ReconciliationState:
    """Times of closed cycles, drift, and keys of recorded fills and payments."""

    cycle_at_ms: int = 0  # of the last closed cycle
    clean_at_ms: int = 0  # of the last cycle that closed without drift
    clean_before_ms: int = 0  # of the cycle without drift before that
    drift: dict[str, DriftKind] = attrs.field(factory=dict)  # unexplained: symbol -> kind
    fills_seen: dict[str, int] = attrs.field(factory=dict)  # key -> at_ms; it may be listed again
    incomes_seen: dict[str, int] = attrs.field(factory=dict)  # income id -> at_ms

    @property
    def drifting(self) -> bool:
        """True while a symbol has drift that is not explained."""
        return bool(self.drift)

    def note_fill(self, fill: FillReport) -> bool:
        """Store the key of a fill; return False if the fill was recorded before."""
        if fill.key in self.fills_seen:
            return False
        self.fills_seen[fill.key] = fill.at_ms
        forget_oldest(self.fills_seen, SEEN_KEPT)
        return True

    def note_income(self, income: Income) -> bool:
        """Store the id of a payment; return False if the payment was recorded before."""
        if income.income_id in self.incomes_seen:
            return False
        self.incomes_seen[income.income_id] = income.at_ms
        forget_oldest(self.incomes_seen, SEEN_KEPT)
        return True

    def close_cycle(self, event: CycleClosed) -> None:
        """Store the time of the cycle, and whether it was without drift."""
        self.cycle_at_ms = event.cycle_at_ms
        if event.drift == 0:
            self.clean_before_ms = self.clean_at_ms
            self.clean_at_ms = event.cycle_at_ms

    def forget_seen(self, since_ms: int) -> None:
        """Drop keys of fills and payments before ``since_ms``, which are not read again."""
        for seen in (self.fills_seen, self.incomes_seen):
            for key in [k for k, at_ms in seen.items() if at_ms < since_ms]:
                del seen[key]

    def find_drift(self, event: DriftFound) -> None:
        """Store the kind of a symbol's drift."""
        self.drift[event.symbol] = event.kind

    def explain_drift(self) -> None:
        """Remove the drift of all symbols, which is explained."""
        self.drift.clear()
