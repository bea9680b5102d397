"""Invariant 5: no position exceeds its permit, and no reducing order adds."""

from __future__ import annotations

import attrs

from kamou.core.model import Intent, OrderRole
from kamou.ids import is_kamou_id
from kamou.simulator.invariants.observed import (
    Observed,
    ReportViolation,
    SeenPermit,
    adds_exposure,
)
from kamou.venue.state import FillAudit
from kamou.venue.violations import HardRule


@attrs.define
class PositionSize:
    """The checks of sizes: of sent orders, and of positions after a fill."""

    observed: Observed
    report: ReportViolation

    def check_reducing(self, intent: Intent, now_ms: int) -> None:
        """Check an order that is no entry and is about to be sent."""
        if not intent.reduce_only:
            detail = f"{intent.client_order_id}: {intent.role} that is not reduce-only"
            self.report(HardRule.NOT_REDUCING, now_ms, intent.symbol, detail)

    def check_entry(self, intent: Intent, permit: SeenPermit, now_ms: int) -> None:
        """Check an entry that is about to be sent with a valid permit."""
        if intent.quantity > permit.plan.quantity:
            detail = f"quantity {intent.quantity}, {permit.plan.quantity} permitted"
            detail = f"{intent.client_order_id}: {detail}"
            self.report(HardRule.OVERSIZED, now_ms, intent.symbol, detail)

    def check_fill(self, record: FillAudit, *, external: bool) -> None:
        """Check the position after a fill.

        ``external`` is True if an external order had added to the position.
        """
        name = record.client_order_id
        intent, permit = self.observed.intents.get(name), self.observed.permit_of(name)
        entered = not record.reduce_only and is_kamou_id(name) and not external
        if entered and permit is not None and abs(record.position_after) > permit.plan.quantity:
            detail = f"{record.position_after} contracts, {permit.plan.quantity} permitted"
            self.report(HardRule.OVERSIZED, record.at_ms, record.symbol, detail)
        if intent is not None and intent.role is not OrderRole.ENTRY and adds_exposure(record):
            detail = f"{intent.role} {name} added exposure"
            self.report(HardRule.ADDED, record.at_ms, record.symbol, detail)
