"""Invariant 1: each entry has an unexpired, unused, unreleased permit."""

from __future__ import annotations

import attrs

from kamou.core.book import events as e
from kamou.core.model import Intent
from kamou.simulator.invariants.observed import (
    SKEW_MAX_MS,
    Observed,
    ReportViolation,
    SeenPermit,
)
from kamou.venue.state import FillAudit
from kamou.venue.violations import HardRule


@attrs.define
class Permits:
    """The checks of permits: at their grant, at each sent entry and at each fill."""

    observed: Observed
    report: ReportViolation
    _granted: set[str] = attrs.Factory(set)

    def check_grant(self, event: e.PermitGranted) -> None:
        """Check that a permit is new and lasts no longer than its setting."""
        symbol, lasts_ms = event.plan.symbol, event.expires_at_ms - event.at_ms
        if lasts_ms > self.observed.limits.permit_ttl_s * 1000:
            detail = f"{event.permit_id}: the permit lasts {lasts_ms} ms"
            self.report(HardRule.PERMIT_LONG, self.observed.engine.market_ms, symbol, detail)
        if event.permit_id in self._granted:
            self.report(HardRule.PERMIT_TWICE, event.at_ms, symbol, event.permit_id)
        self._granted.add(event.permit_id)

    def check_entry(self, intent: Intent, now_ms: int) -> SeenPermit | None:
        """Return the permit of a sent entry; None, and a violation, if it is not valid."""
        permit = self.observed.permits.get(intent.permit_id)
        if permit is None:
            wrong = f"no permit {intent.permit_id!r}"
        elif permit.client_order_id != intent.client_order_id:
            wrong = f"the permit is used by {permit.client_order_id or 'no order'}"
        elif permit.released:
            wrong = "the permit was released"
        elif now_ms > permit.expires_at_ms + SKEW_MAX_MS:
            wrong = f"the permit expired {now_ms - permit.expires_at_ms} ms ago"
        else:
            return permit
        detail = f"{intent.client_order_id}: {wrong}"
        self.report(HardRule.UNPERMITTED, now_ms, intent.symbol, detail)
        return None

    def check_fill(self, record: FillAudit) -> None:
        """Check that a fill came before the release of its permit."""
        permit = self.observed.permit_of(record.client_order_id)
        if permit is not None and permit.released:
            detail = f"{record.client_order_id} filled after its permit was released"
            self.report(HardRule.RELEASED, record.at_ms, record.symbol, detail)
