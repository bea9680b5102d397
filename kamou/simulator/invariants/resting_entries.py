"""An invariant without a number: a post-only entry ends soon after its deadline."""

from __future__ import annotations

import attrs

from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.venue.state import OrderAudit, OrderStep
from kamou.venue.violations import HardRule

RESTING_MAX_MS = 60_000  # beyond an entry's deadline


@attrs.define
class RestingEntries:
    """The deadlines of the post-only entries that are live at the venue."""

    observed: Observed
    report: ReportViolation
    _due: dict[str, tuple[int, str]] = attrs.Factory(dict)  # client order id -> (ms, symbol)

    def record_order(self, record: OrderAudit) -> None:
        """Begin or end the deadline of an entry."""
        name = record.client_order_id
        if record.event is OrderStep.CLOSED:
            self._due.pop(name, None)
        intent, permit = self.observed.intents.get(name), self.observed.permit_of(name)
        accepted = record.event is OrderStep.ACCEPTED
        if accepted and intent is not None and permit is not None and permit.plan.rest_ms:
            self._due[name] = (intent.intended_at_ms + permit.plan.rest_ms, record.symbol)

    def check_overdue(self, now_ms: int) -> None:
        """Report the entries that are live long after their deadlines."""
        for name, (due_ms, symbol) in tuple(self._due.items()):
            excused_ms = self.observed.excused_ms(symbol, due_ms, now_ms)
            if now_ms - due_ms > RESTING_MAX_MS + excused_ms:
                del self._due[name]
                detail = f"{name} rests {now_ms - due_ms} ms after its deadline"
                self.report(HardRule.RESTING, now_ms, symbol, detail)
