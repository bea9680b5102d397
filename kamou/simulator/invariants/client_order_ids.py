"""Invariant 2: an order is first committed, then sent once, as committed.

A client order id is used once, a trade is entered once, and an order that the journal closed is not
live at the venue and does not come back.
"""

from __future__ import annotations

import attrs

from kamou.core.book import events as e
from kamou.core.model import Intent, OrderRole
from kamou.ids import is_kamou_id
from kamou.simulator.invariants.observed import Observed, ReportViolation
from kamou.venue.state import FillAudit, OrderAudit, OrderStep
from kamou.venue.violations import HardRule


@attrs.define
class ClientOrderIds:
    """The checks of orders by their client order ids."""

    observed: Observed
    report: ReportViolation
    _sent: set[str] = attrs.Factory(set)
    _entered: dict[str, str] = attrs.Factory(dict)  # trade -> client order id of its entry
    _written_off: dict[str, int] = attrs.Factory(dict)  # unfilled orders closed in the journal

    def record_event(self, event: e.Event) -> None:
        """Check an order that the journal closes, and remember it if it has no fill."""
        if isinstance(event, e.OrderClosed | e.OrderRejected):
            self._check_written_off(event.client_order_id)
        if isinstance(event, e.OrderClosed) and not event.filled:
            self._written_off[event.client_order_id] = event.at_ms

    def _check_written_off(self, client_order_id: str) -> None:
        engine = self.observed.engine
        for order in engine.open_orders():
            if order.client_order_id == client_order_id:
                detail = f"{client_order_id} is live"
                self.report(HardRule.WRITTEN_OFF, engine.market_ms, order.symbol, detail)

    def check_order(self, intent: Intent, attached: tuple[Intent, ...], now_ms: int) -> None:
        """Check an order that the process is about to send."""

        def wrong(rule: HardRule, detail: str) -> None:
            self.report(rule, now_ms, intent.symbol, f"{intent.client_order_id}: {detail}")

        for each in (intent, *attached):
            if each.client_order_id in self._sent:
                wrong(HardRule.DUPLICATE_ID, "sent before")
            self._sent.add(each.client_order_id)
            if self.observed.intents.get(each.client_order_id) != each:
                wrong(HardRule.UNJOURNALLED, f"no committed intent of this {each.role}")
        if intent.role is OrderRole.ENTRY:
            before = self._entered.setdefault(intent.trade_id, intent.client_order_id)
            if before != intent.client_order_id:
                wrong(HardRule.ENTERED_TWICE, f"{intent.trade_id} was entered by {before}")

    def check_accepted(self, record: OrderAudit) -> None:
        """Check an accepted order against its intent, and that it was not written off."""
        name = record.client_order_id
        if record.event is not OrderStep.ACCEPTED:
            return
        if name in self._written_off:
            detail = f"{name} was closed in the journal at {self._written_off[name]} ms"
            self.report(HardRule.RESURRECTED, record.at_ms, record.symbol, detail)
        if not is_kamou_id(name):
            return
        intent = self.observed.intents.get(name)
        if intent is None:
            self.report(HardRule.UNJOURNALLED, record.at_ms, record.symbol, name)
            return
        reported = (record.side, record.type, record.reduce_only, record.trigger_price)
        meant = (intent.side, intent.type, intent.role is not OrderRole.ENTRY, intent.trigger_price)
        if reported != meant or record.remaining > intent.quantity:
            detail = (
                f"{name} {intent.role}: {reported} {record.remaining},"
                f" not {meant} {intent.quantity}"
            )
            self.report(HardRule.NOT_AS_INTENDED, record.at_ms, record.symbol, detail)

    def check_fill(self, record: FillAudit) -> None:
        """Check that Kamou's fill that may open a position has an intent."""
        name = record.client_order_id
        if not record.reduce_only and is_kamou_id(name) and name not in self.observed.intents:
            self.report(HardRule.UNJOURNALLED, record.at_ms, record.symbol, name)
