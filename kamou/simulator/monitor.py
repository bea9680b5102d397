"""The monitor, which feeds the invariants and counts the coverage."""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Sequence
from decimal import Decimal

from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesVetoed
from kamou.core.book.gate_events import GateChanged
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Intent, OrderRole, TradingState
from kamou.ids import is_kamou_id
from kamou.messages.codec import encode
from kamou.runtime.supervision import ChildExit, ExitKind
from kamou.settings.config import Settings
from kamou.simulator.binding_limits import binding_limits, is_bound_by_risk
from kamou.simulator.crash_injection import InjectedCrashError
from kamou.simulator.invariants.agreement import find_differences
from kamou.simulator.invariants.client_order_ids import ClientOrderIds
from kamou.simulator.invariants.committed_events import CommittedEvents
from kamou.simulator.invariants.crashes import Crashes
from kamou.simulator.invariants.day_loss import DayLoss
from kamou.simulator.invariants.earned_sizes import EarnedSizes
from kamou.simulator.invariants.entry_inputs import EntryInputs
from kamou.simulator.invariants.explained_money import find_unexplained_money
from kamou.simulator.invariants.gathered_windows import GatheredWindows
from kamou.simulator.invariants.halts import Halts
from kamou.simulator.invariants.observed import SAMPLE_MS, Observed
from kamou.simulator.invariants.outside_changes import OutsideChanges
from kamou.simulator.invariants.permits import Permits
from kamou.simulator.invariants.position_size import PositionSize
from kamou.simulator.invariants.promised_risk import PromisedRisk
from kamou.simulator.invariants.resting_entries import RestingEntries
from kamou.simulator.invariants.site_record import find_site_event_errors
from kamou.simulator.invariants.time_limits import TimeLimits
from kamou.simulator.invariants.venue_records import (
    SimulatedChecker,
    make_limit_checker,
    reopen_day,
)
from kamou.simulator.invariants.verdicts import RefinerVerdicts
from kamou.simulator.simulated_flow import read_rows
from kamou.simulator.trace import Trace
from kamou.store.journal import Committed, read_events
from kamou.venue.checker import ExcusedTime
from kamou.venue.engine import Engine
from kamou.venue.state import (
    AuditRecord,
    ContractAudit,
    FillAudit,
    MoneyAudit,
    OrderAudit,
)
from kamou.venue.violations import HardRule, Violation

VIOLATIONS_MAX = 50  # one defect may violate a rule many times
LAST_EVENTS = 60  # shown with the first violation


class Monitor:
    """The invariants and the coverage of one simulation, over all of its processes."""

    def __init__(
        self, *, engine: Engine, settings: Settings, excused_ms: ExcusedTime, trace: Trace
    ) -> None:
        self.engine = engine
        self.trace = trace
        self.found: list[Violation] = []
        self.last: tuple[str, ...] = ()  # events before the first violation
        self.coverage: Counter[str] = Counter()
        self.bound_by_risk = 0  # permits whose size a risk limit decided
        self.on_grant: Callable[[], None] = lambda: None  # called at the next permit
        self.stalls: list[tuple[int, int]] = []  # (from, to) in ms of slow requests and commits
        limits = settings.risk
        outside = OutsideChanges(excused_ms, age_max_ms=limits.account_age_max_s * 1000)
        self._observed = seen = Observed(
            engine=engine, limits=limits, excused_ms=excused_ms, outside=outside
        )
        report = self.add_violation
        self._permits = Permits(seen, report)
        self._order_ids = ClientOrderIds(seen, report)
        self._checker = SimulatedChecker(seen)
        self._portfolio = self._checker.portfolio = make_limit_checker(seen, report)
        self._promised_risk = PromisedRisk(seen, report)
        self._verdicts = RefinerVerdicts(observed=seen, report=report, refiner=settings.refiner)
        self.sizes = EarnedSizes(observed=seen, report=report, equity=float(settings.equity))
        self.windows = GatheredWindows(report=report, coverage=self.coverage, read=read_rows)
        self.inputs = EntryInputs(seen, report)
        self._size = PositionSize(seen, report)
        self._committed = CommittedEvents(report)
        self.halts = Halts(seen, report)
        self._day_loss = DayLoss(seen, report)
        self.crashes = Crashes(report, InjectedCrashError)
        self._time_limits = TimeLimits(seen, report)
        self._resting = RestingEntries(seen, report)
        self._day_unknown = False  # a restored journal has no open day
        self._sampled_ms = 0
        self._reported = 0  # violations of the checker reported so far
        self._seen = 0  # audit records checked so far
        self._recent: deque[str] = deque(maxlen=LAST_EVENTS)

    @property
    def state(self) -> TradingState:
        """The trading state of the journal."""
        return self._observed.state

    def add_violation(self, rule: HardRule, at_ms: int, symbol: str, detail: str) -> None:
        """Store a violation, up to ``VIOLATIONS_MAX``, and the events before the first."""
        if not self.found:
            self.last = tuple(self._recent)
        if len(self.found) < VIOLATIONS_MAX:
            self.found.append(Violation(rule=rule, at_ms=at_ms, symbol=symbol, detail=detail))

    def note(self, line: str) -> None:
        """Add a line to the trace, and to the events that a violation shows."""
        self.trace.line(line)
        self._recent.append(line)

    # --- the journal -----------------------------------------------------------------

    def check_commit(self, done: Sequence[Committed]) -> None:
        """Check committed events, count them and add them to the trace."""
        for each in done:
            event = each.event
            kind = type(event).__name__
            body = encode(event)
            self.coverage[kind] += 1
            self.trace.digest(body)
            self.note(f"{event.at_ms} journal {each.seq} {kind} {event.unique_key or ''}")
            self._check_event(event)
            self.coverage.update(f"bound {name}" for name in binding_limits(event))
            self._committed.record(each, body)

    def _check_event(self, event: e.Event) -> None:
        self._observed.fold_event(event)
        self._order_ids.record_event(event)
        self._promised_risk.record_event(event)
        self._verdicts.record_event(event)
        self.sizes.record_event(event)
        match event:
            case e.PermitGranted():
                self.bound_by_risk += is_bound_by_risk(event.plan)
                self._permits.check_grant(event)
                self._promised_risk.check_grant(event)
                self._verdicts.check_grant(event)
                self.sizes.check_grant(event)
                self.on_grant()
            case e.DayOpened():
                self._day_loss.open_day(event)
                if self._day_unknown:
                    self._day_unknown = False
                    reopen_day(self._portfolio, self._checker, event, self.engine.market_ms)
            case e.StateChanged():
                self.coverage[f"state {event.after}"] += 1
                self.halts.check_change(event)
                self._day_loss.check_change(event)
            case e.CycleRanked():
                for each in event.by_strategy:
                    self.coverage[f"signals {each.name}"] += int(each.value)
                for each in event.abstained:
                    self.coverage[f"abstained {each.name}"] += int(each.value)
            case CandidatesVetoed():
                for vetoed in event.candidates:
                    self.coverage.update(f"vetoed {denial.code}" for denial in vetoed.denials)
            case GateChanged():
                self.coverage[f"gate {event.to_state} {event.reason}"] += 1
            case _:
                pass

    def check_recovery(self, connection: sqlite3.Connection, now_ms: int) -> None:
        """Check that a process finds every committed event in its database."""
        self._committed.check_recovery(connection, now_ms)

    def restore_journal(self, connection: sqlite3.Connection) -> None:
        """Continue with a restored journal.

        Events that it does not have are no violation. Sent orders and granted permits stay known.
        Trading state, drift and day are those of the restored journal.
        """
        events = read_events(connection, 0)
        book = PositionBook()
        book.apply_all((each.seq, each.event) for each in events)
        self._committed.restore(events[-1].seq, events[-1].event)
        self._verdicts.restore_journal(each.event for each in events)
        self.sizes.restore_journal(each.event for each in events)
        self._observed.restore_book(book)
        for invariant in (self._promised_risk, self.halts, self._day_loss, self._time_limits):
            invariant.restore_book(book)
        self._portfolio.forget_entry_counts()
        # Positions that the journal does not have are adopted with a new stop (seed 930640).
        self._checker.forget_entries(
            held for held in self._checker.held if held not in book.trades.open
        )
        self._day_unknown = not book.day.utc_day

    # --- orders on their way to the venue --------------------------------------------

    def check_order(self, intent: Intent, attached: tuple[Intent, ...], now_ms: int) -> None:
        """Check an order that the process is about to send."""
        self.coverage[f"sent {intent.role}"] += 1
        self.note(f"{now_ms} wire {intent.role} {intent.symbol} {intent.client_order_id}")
        self._order_ids.check_order(intent, attached, now_ms)
        if intent.role is not OrderRole.ENTRY:
            self._size.check_reducing(intent, now_ms)
            return
        self.inputs.check_entry(intent, now_ms)
        self._day_loss.check_entry(intent, now_ms)
        self.halts.check_entry(intent, now_ms)
        permit = self._permits.check_entry(intent, now_ms)
        if permit is not None:
            self._size.check_entry(intent, permit, now_ms)

    # --- the venue -------------------------------------------------------------------

    def check_venue(self, now_ms: int) -> None:
        """Check the venue's new audit records and everything with a deadline."""
        count = self.engine.audit_log_count
        if self._seen < count:
            for record in self.engine.audit_log_since(self._seen):
                self._take(record)
            self._seen = count
        if self._observed.sample_equity(now_ms):
            self.halts.check_overdue(now_ms)
            self._time_limits.check_overdue(now_ms)
            self._resting.check_overdue(now_ms)
        if self._checker.held:
            self._checker.check_until(now_ms)
        if now_ms - self._sampled_ms >= SAMPLE_MS:
            self._sampled_ms = now_ms
            self._portfolio.sample(self._checker, now_ms)
        self._report_checker()

    def _report_checker(self) -> None:
        """Report the new violations of the venue's checker."""
        for each in self._checker.found[self._reported :]:
            self.add_violation(each.rule, each.at_ms, each.symbol, each.detail)
        self._reported = len(self._checker.found)

    def _take(self, record: AuditRecord) -> None:
        self.trace.digest(repr(record).encode())
        self._note_record(record)
        self._observed.fold_audit(record)
        self._day_loss.record_audit(record)
        if isinstance(record, FillAudit):
            external = self._checker.symbol(record.symbol).external
            self._order_ids.check_fill(record)
            self._size.check_fill(record, external=external)
            self.sizes.check_fill(record, external=external)
            self._permits.check_fill(record)
            self._time_limits.record_fill(record)
        elif isinstance(record, OrderAudit):
            self._order_ids.check_accepted(record)
            self._resting.record_order(record)
        self._checker.take(record)

    def _note_record(self, record: AuditRecord) -> None:
        """Count a record of the audit log, and add its line to the trace."""
        at = f"{record.at_ms} venue"
        if isinstance(record, FillAudit):
            self.coverage["fills"] += 1
            self.coverage[f"fills {record.reason}"] += 1
            if self._is_partial(record):
                self.coverage["partial fills"] += 1
            self.note(
                f"{at} fill {record.symbol} {record.side} {record.quantity}"
                f" at {record.price} {record.position_before}->{record.position_after}"
                f" {record.client_order_id} {record.reason}"
            )
        elif isinstance(record, OrderAudit):
            self.coverage[f"order {record.event}"] += 1
            self.note(
                f"{at} {record.event} {record.symbol} {record.type}"
                f" {record.remaining} {record.client_order_id} {record.detail}"
            )
        elif isinstance(record, ContractAudit):
            self.note(f"{at} contract {record.symbol} {record.contract_size}")
        else:
            assert isinstance(record, MoneyAudit)
            self.note(f"{at} {record.kind} {record.symbol} {record.amount}")

    def _is_partial(self, record: FillAudit) -> bool:
        """Return True for a fill of a part of Kamou's order that may open a position."""
        intent = self._observed.intents.get(record.client_order_id)
        if intent is None or record.reduce_only or not is_kamou_id(record.client_order_id):
            return False
        return record.quantity < intent.quantity

    # --- the supervisor --------------------------------------------------------------

    def check_exit(self, exit_: ChildExit, now_ms: int) -> None:
        """Check the end of a child."""
        if exit_.kind is ExitKind.CRASHED:
            self.coverage["crashes"] += 1
            self.note(f"{now_ms} crash {exit_.child} {exit_.error!r}")
        self.crashes.check_exit(exit_, now_ms)

    # --- the end ---------------------------------------------------------------------

    def check_end(self, reader: sqlite3.Connection, opening: Decimal, now_ms: int) -> None:
        """Check journal and venue after the convergence phase.

        ``opening`` is the wallet balance at the start of the simulation, in USDT.
        """
        self.check_venue(now_ms)
        events = [committed.event for committed in read_events(reader, 0)]
        book = PositionBook()
        book.apply_all(enumerate(events, 1))
        for difference in find_differences(book, events, self.engine):
            self.add_violation(HardRule.UNSETTLED, now_ms, "", difference)
        for difference in find_unexplained_money(book, events, self.engine, opening):
            self.add_violation(HardRule.UNSETTLED, now_ms, "", difference)
        for error in find_site_event_errors(reader):
            self.add_violation(HardRule.SITE, now_ms, "", error)
        self._close()

    def _close(self) -> None:
        """Check that the equity equals the sum of all audit records (invariant 7).

        Count the entries and orders, and end the trace.
        """
        engine, checker = self.engine, self._checker
        self.check_venue(engine.market_ms)
        checker.check_equity(engine.account(), engine.positions(), engine.source.instruments)
        self._report_checker()
        self.coverage["entries"] = checker.entries
        self.coverage["orders"] = len(checker.accepted)
        self.trace.line(f"end {checker.wallet_balance} {checker.fills}")
