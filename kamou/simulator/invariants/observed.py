"""State that the monitor has observed, folded once for all invariants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

import attrs

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Intent, OrderRole, Plan, TradingState
from kamou.core.risk.limits import RiskLimits
from kamou.ids import is_kamou_id
from kamou.simulator.invariants.outside_changes import KNOWN_AFTER_MS, OutsideChanges
from kamou.venue.checker import ExcusedTime
from kamou.venue.engine import Engine
from kamou.venue.state import AuditRecord, FillAudit, MoneyAudit, MoneyKind, OrderAudit, OrderStep
from kamou.venue.violations import HardRule

ReportViolation = Callable[[HardRule, int, str, str], None]
"""Function that receives a violation: rule, at_ms, symbol, detail."""

SKEW_MAX_MS = 4_000  # largest clock error; an order may use a permit so long after its expiry
SAMPLE_MS = 1_000  # between two samples of the equity


@attrs.define(kw_only=True)
class SeenPermit:
    """A granted permit, which may become a position."""

    plan: Plan
    expires_at_ms: int
    client_order_id: str | None = None  # of the order that used the permit; None: none so far
    released: bool = False
    filled: Decimal = Decimal(0)
    ended: bool = False  # its order was closed at the venue

    @property
    def open_risk(self) -> Decimal:
        if self.released or self.ended:
            return Decimal(0)
        return self.plan.risk * (1 - self.filled / self.plan.quantity)


@attrs.define(kw_only=True)
class Observed:
    """The fold of the journal's events and the venue's audit log of one simulation.

    Times are true times. The monitor folds each event and each record before the invariants check
    it.
    """

    engine: Engine
    limits: RiskLimits
    excused_ms: ExcusedTime
    outside: OutsideChanges
    state: TradingState = TradingState.ACTIVE
    intents: dict[str, Intent] = attrs.Factory(dict)  # by client order id
    permits: dict[str, SeenPermit] = attrs.Factory(dict)
    # symbol -> client order id of a live stop -> trigger price
    stops: dict[str, dict[str, Decimal]] = attrs.Factory(dict)
    held_since: dict[str, int] = attrs.Factory(dict)  # symbol -> at_ms of the position's first fill
    external: set[str] = attrs.Factory(set)  # held symbols that external orders added to
    equity: deque[tuple[int, Decimal]] = attrs.Factory(deque)  # samples (at_ms, equity)

    def permit_of(self, client_order_id: str) -> SeenPermit | None:
        """Return the permit of an order; None for an order without one."""
        intent = self.intents.get(client_order_id)
        return self.permits.get(intent.permit_id) if intent is not None else None

    def strategy_of(self, client_order_id: str) -> str:
        """Return the strategy of an entry order; empty if it is unknown."""
        permit = self.permit_of(client_order_id)
        return permit.plan.strategy if permit is not None else ""

    def fold_event(self, event: e.Event) -> None:
        """Fold a committed event."""
        match event:
            case e.PermitGranted():
                self.permits[event.permit_id] = SeenPermit(
                    plan=event.plan, expires_at_ms=event.expires_at_ms
                )
            case e.PermitConsumed() if event.permit_id in self.permits:
                self.permits[event.permit_id].client_order_id = event.client_order_id
            case e.PermitReleased() if event.permit_id in self.permits:
                self.permits[event.permit_id].released = True
            case e.IntentRecorded():
                self.intents[event.intent.client_order_id] = event.intent
            case e.FillRecorded():
                fill, now_ms = event.fill, self.engine.market_ms
                self.outside.record_report(fill.symbol, fill.at_ms, fill.quantity, now_ms)
            case e.StateChanged():
                self.state = event.after
            case _:
                pass

    def fold_audit(self, record: AuditRecord) -> None:
        """Fold a record of the venue's audit log."""
        if isinstance(record, OrderAudit):
            self._fold_order(record)
        elif isinstance(record, FillAudit):
            self._fold_fill(record)
        elif isinstance(record, MoneyAudit) and record.kind is MoneyKind.TRANSFER:
            self.equity.clear()  # earlier equity is not comparable

    def _fold_order(self, record: OrderAudit) -> None:
        name, intent = record.client_order_id, self.intents.get(record.client_order_id)
        if record.event is OrderStep.CLOSED:
            self.stops.get(record.symbol, {}).pop(name, None)
            permit = self.permit_of(name)
            if permit is not None:
                permit.ended = True
        is_stop = intent is not None and intent.role is OrderRole.STOP_LOSS and is_kamou_id(name)
        if record.event is OrderStep.ACCEPTED and is_stop and record.trigger_price is not None:
            self.stops.setdefault(record.symbol, {})[name] = record.trigger_price

    def _fold_fill(self, record: FillAudit) -> None:
        symbol, after, before = record.symbol, record.position_after, record.position_before
        if after == 0 or after * before < 0:
            self.held_since.pop(symbol, None)
            self.external.discard(symbol)
        if after != 0:
            self.held_since.setdefault(symbol, record.at_ms)
            if adds_exposure(record) and not is_kamou_id(record.client_order_id):
                self.external.add(symbol)
        permit = self.permit_of(record.client_order_id)
        if permit is not None:
            permit.filled += record.quantity

    def sample_equity(self, now_ms: int) -> bool:
        """Sample the equity once per ``SAMPLE_MS``; return True if it was sampled.

        Drop the samples older than ``KNOWN_AFTER_MS``, except the newest of them.
        """
        last_ms = self.equity[-1][0] if self.equity else 0
        if now_ms - last_ms < SAMPLE_MS:
            return False
        self.equity.append((now_ms, self.engine.account().equity))
        while len(self.equity) > 1 and self.equity[1][0] < now_ms - KNOWN_AFTER_MS:
            self.equity.popleft()
        return True

    def restore_book(self, book: PositionBook) -> None:
        """Continue with the book of a restored journal; permits and intents stay known."""
        self.state = book.trading.state
        for permit_id, permit in self.permits.items():
            # A restart takes longer than an order to arrive, so a missing order never arrives.
            permit.ended = permit.ended or permit_id not in book.permits.reservations


def adds_exposure(record: FillAudit) -> bool:
    """Return True if a fill made a position larger, or reversed its side."""
    after, before = record.position_after, record.position_before
    return abs(after) > abs(before) or after * before < 0
