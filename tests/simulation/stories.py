"""A story for the monitor: committed events, sent orders and fills at a flat market."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs

from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesRefined, RefinedCandidate
from kamou.core.kinds import RefinerVerdict, ReleaseReason
from kamou.core.model import Intent, Plan
from kamou.exchange.embedded import make_order_request
from kamou.settings.config import Settings
from kamou.settings.refiner import RefinerSettings
from kamou.simulator.monitor import Monitor
from kamou.simulator.trace import Trace
from kamou.store.journal import Committed
from kamou.venue.checker import ExcusedTime, never_excused
from kamou.venue.engine import Engine
from kamou.venue.state import AuditRecord, OrderAudit
from kamou.venue.violations import HardRule
from tests.exchange.port_fakes import intents_of
from tests.refining_cases import candidate
from tests.venue.memory_market import MemoryMarket, with_bars
from tests.venue.venue_orders import at, open_engine

D = Decimal
NONE: list[HardRule] = []
BUDGET_USD = D(1)


class EngineWithoutOrders(Engine):
    """A venue whose audit log lists no orders, so that only its fills are judged."""

    def audit_log_since(self, count: int) -> Iterator[AuditRecord]:
        return (r for r in super().audit_log_since(count) if not isinstance(r, OrderAudit))


@attrs.define
class Story:
    """A monitor, the venue that it watches, and what a process did so far."""

    engine: Engine
    monitor: Monitor
    _seq: int = 0

    @property
    def rules(self) -> list[HardRule]:
        """The rules that the monitor has reported."""
        return [each.rule for each in self.monitor.found]

    @property
    def now_ms(self) -> int:
        return self.engine.market_ms

    def commit(self, *events: e.Event) -> None:
        """Let the monitor see committed events."""
        for event in events:
            self._seq += 1
            self.monitor.check_commit([Committed(self._seq, 1, event)])

    def refine(self, plan: Plan, share: str) -> None:
        """Commit a verdict on a plan's candidate that allows this share of the full size."""
        verdict = RefinerVerdict.REFUSE if share == "0" else RefinerVerdict.SHRINK
        self.commit(
            CandidatesRefined(
                at_ms=self.now_ms,
                cause_id="cycle",
                candidates=(
                    RefinedCandidate(
                        candidate=candidate(plan.symbol, signal_id=plan.signal_id),
                        verdict=verdict,
                        size_multiplier=D(share),
                        reason_code="",
                    ),
                ),
            )
        )

    def grant(self, plan: Plan, share: str = "1") -> None:
        """Commit a permit of this plan, after a verdict that allows this share."""
        self.refine(plan, share)
        expires_at_ms = self.now_ms + 30_000
        self.commit(
            e.PermitGranted(
                at_ms=self.now_ms,
                permit_id=plan.permit_id,
                plan=plan,
                figures=(),
                expires_at_ms=expires_at_ms,
            )
        )

    def release(self, plan: Plan) -> None:
        """Commit the end of a permit's reservation."""
        self.commit(
            e.PermitReleased(
                at_ms=self.now_ms, permit_id=plan.permit_id, reason=ReleaseReason.NO_FILL
            )
        )

    def intend(self, *intents: Intent) -> None:
        """Commit intents."""
        self.commit(*(e.IntentRecorded(at_ms=self.now_ms, intent=each) for each in intents))

    def read_quote(self, symbol: str = "AAA", **wrong: Any) -> None:
        """Let the process read the venue's quote of a symbol, with these prices wrong."""
        quote = self.engine.quotes((symbol,))[symbol]
        self.monitor.inputs.record_quotes(self.now_ms, {symbol: attrs.evolve(quote, **wrong)})

    def send_entry(self, plan: Plan) -> tuple[Intent, tuple[Intent, ...]]:
        """Commit and send the entry of a plan with its stop and its target."""
        entry, attached = intents_of(plan, self.now_ms)
        self.intend(entry, *attached)
        self.commit(
            e.PermitConsumed(
                at_ms=self.now_ms,
                permit_id=plan.permit_id,
                client_order_id=entry.client_order_id,
            )
        )
        self.monitor.check_order(entry, attached, self.now_ms)
        return entry, attached

    def fill_entry(self, plan: Plan) -> None:
        """Send the entry of a plan and let the venue fill it; the monitor does not look yet."""
        entry, attached = self.send_entry(plan)
        self.engine.place(
            make_order_request(entry), tuple(make_order_request(each) for each in attached)
        )

    def fill(self, intent: Intent) -> None:
        """Let the venue fill an order of this intent, which need not reduce the position."""
        self.engine.place(attrs.evolve(make_order_request(intent), reduce_only=False))

    def look(self) -> None:
        """Let the monitor see what the venue did."""
        self.monitor.check_venue(self.now_ms)


def begin(excused_ms: ExcusedTime = never_excused, *, kind: type[Engine] = Engine) -> Story:
    """Return a story at a flat market of AAA and BBB with 10,000 USDT."""
    market = MemoryMarket({"AAA": with_bars(), "BBB": with_bars()})
    engine = open_engine(":memory:", market, kind=kind)
    engine.advance(at(2))
    refiner = RefinerSettings(budget_usd_per_day=BUDGET_USD)
    settings = attrs.evolve(Settings(), refiner=refiner)
    monitor = Monitor(
        engine=engine, settings=settings, excused_ms=excused_ms, trace=Trace(keep=False)
    )
    return Story(engine, monitor)
