"""The monitor, which checks the invariants during a simulation.

It reads the audit log, the requests and the journal. The invariants have the numbers of
``docs/reliability.md``: 1 permits, 2 client order ids (and the venue accepts no order that the
journal has closed), 3 protection, 4 limits, 5 size, 6 book and venue agree (see ``convergence``), 7
equity, 8 no committed event is lost, 10 halt, 11 crashes. ``swarm`` checks 12 and ``site_faults``
checks 13; nothing checks 9, which belongs to a public log that does not exist yet.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import attrs

from kamou.core.book import events as e
from kamou.core.book.position_book import PositionBook
from kamou.core.model import Intent, OrderRole, Plan, TradingState
from kamou.core.risk.limits import RiskLimits
from kamou.errors import (
    CallTimeoutError,
    CallUnavailableError,
)
from kamou.ids import is_kamou_id
from kamou.messages.codec import encode
from kamou.runtime.supervision import ChildExit, ExitKind, RestartStormError
from kamou.simulator.crash_injection import InjectedCrash
from kamou.simulator.due_actions import SAMPLE_MS, SKEW_MAX_MS, DueActions
from kamou.simulator.limits import SimulatedChecker, binding_limits, make_limit_checker, reopen_day
from kamou.simulator.outside_changes import OutsideChanges
from kamou.simulator.trace import Trace
from kamou.store.journal import Committed, read_events
from kamou.venue.checker import ExcusedTime, Violation
from kamou.venue.engine import Engine
from kamou.venue.state import (
    AuditRecord,
    ContractAudit,
    FillAudit,
    MoneyAudit,
    OrderAudit,
)

VIOLATIONS_MAX = 50  # one defect may violate a rule many times
LAST_EVENTS = 60  # shown with the first violation
SLOW_S = 90  # time after a crash or a slow commit in which calls without an answer are excused


@attrs.define(kw_only=True)
class _Permit:
    plan: Plan
    expires_at_ms: int
    client_order_id: str = ""
    released: bool = False


class Monitor:
    """The checks and the coverage of one simulation, over all of its processes."""

    def __init__(
        self, *, engine: Engine, limits: RiskLimits, excused_ms: ExcusedTime, trace: Trace
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.trace = trace
        self.found: list[Violation] = []
        self.last: tuple[str, ...] = ()  # events before the first violation
        self.coverage: Counter[str] = Counter()
        self.disturbed_ms = 0  # when a crash or slow disk last excused a failed call
        self.on_grant: Callable[[], None] = lambda: None  # called at the next permit
        self.stalls: list[tuple[int, int]] = []  # a request timed out or the disk was slow
        self.state = TradingState.ACTIVE
        self.head_seq = 0
        self._head_body = b""
        age_max_ms = limits.account_age_max_s * 1000
        self._outside = outside = OutsideChanges(excused_ms, age_max_ms=age_max_ms)
        self._checker = SimulatedChecker(limits, excused_ms, outside)
        self.portfolio = self._checker.portfolio = make_limit_checker(self, engine, limits, outside)
        self.due_actions = DueActions(
            engine=engine,
            limits=limits,
            excused_ms=excused_ms,
            outside=outside,
            wrong=self.add_violation,
        )
        self._day_unknown = False  # a restored journal has no open day
        self._sampled_ms = 0
        self._reported = 0  # violations of the checker reported so far
        self._seen = 0  # audit records
        self._recent: deque[str] = deque(maxlen=LAST_EVENTS)
        self._permits: dict[str, _Permit] = {}
        self._intents: dict[str, Intent] = {}
        self._sent: set[str] = set()
        self._written_off: dict[str, int] = {}  # unfilled orders that the journal has closed
        self._entered: dict[str, str] = {}  # trade -> client order id of its entry

    def add_violation(self, rule: str, at_ms: int, symbol: str, detail: str) -> None:
        """Store a violation, up to ``VIOLATIONS_MAX``."""
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
        """Check committed events and update the state with them."""
        for each in done:
            event = each.event
            kind = type(event).__name__
            body = encode(event)
            self.coverage[kind] += 1
            self.trace.digest(body)
            self.note(f"{event.at_ms} journal {each.seq} {kind} {event.unique_key or ''}")
            self.due_actions.record_event(event)
            if isinstance(event, e.DayOpened) and self._day_unknown:
                self._day_unknown = False
                reopen_day(self.portfolio, self._checker, event, self.engine.market_ms)
            self.coverage.update(f"bound {name}" for name in binding_limits(event))
            learn = _LEARNS.get(type(event))
            if learn is not None:
                learn(self, event)
            self.head_seq, self._head_body = each.seq, body

    def check_recovery(self, connection: sqlite3.Connection, now_ms: int) -> None:
        """Check that a process finds every committed event in its database (8)."""
        row = connection.execute("SELECT count(*), coalesce(max(seq), 0) FROM event").fetchone()
        if tuple(row) != (self.head_seq, self.head_seq):
            self.add_violation(
                "LOST",
                now_ms,
                "",
                f"{row[0]} events up to {row[1]} are stored, of {self.head_seq} committed",
            )
            self.head_seq = row[1]
            return
        if self.head_seq:
            (body,) = connection.execute(
                "SELECT body FROM event WHERE seq = ?", (self.head_seq,)
            ).fetchone()
            body = body.encode() if isinstance(body, str) else bytes(body)
            if body != self._head_body:
                detail = f"event {self.head_seq} differs from the committed one"
                self.add_violation("LOST", now_ms, "", detail)

    def restore_journal(self, connection: sqlite3.Connection) -> None:
        """Continue with a restored journal.

        Events that it does not have are no violation. Sent orders and granted permits stay known.
        Trading state, drift and day are those of the restored journal.
        """
        events = read_events(connection, 0)
        book = PositionBook()
        book.apply_all((each.seq, each.event) for each in events)
        self.head_seq, self._head_body = events[-1].seq, encode(events[-1].event)
        self.state = book.state
        self.due_actions.restore_book(book)
        self.portfolio.forget_entry_counts()
        # Positions that the journal does not have are adopted with a new stop (seed 930640).
        self._checker.forget_entries(held for held in self._checker.held if held not in book.trades)
        self._day_unknown = not book.day

    def _granted(self, event: e.PermitGranted) -> None:
        if event.permit_id in self._permits:
            self.add_violation("PERMIT_TWICE", event.at_ms, event.plan.symbol, event.permit_id)
        self._permits[event.permit_id] = _Permit(plan=event.plan, expires_at_ms=event.expires_at_ms)
        self.on_grant()

    def _consumed(self, event: e.PermitConsumed) -> None:
        permit = self._permits.get(event.permit_id)
        if permit is not None:
            permit.client_order_id = event.client_order_id

    def _released(self, event: e.PermitReleased) -> None:
        permit = self._permits.get(event.permit_id)
        if permit is not None:
            permit.released = True

    def _intended(self, event: e.IntentRecorded) -> None:
        self._intents[event.intent.client_order_id] = event.intent

    def _fill_recorded(self, event: e.FillRecorded) -> None:
        fill = event.fill
        self._outside.record_report(fill.symbol, fill.at_ms, fill.quantity, self.engine.market_ms)

    def _closed(self, event: e.OrderClosed) -> None:
        if not event.filled:
            self._written_off[event.client_order_id] = event.at_ms

    def strategy_of(self, client_order_id: str) -> str:
        """Return the strategy of an entry order; empty if it is unknown."""
        intent = self._intents.get(client_order_id)
        permit = self._permits.get(intent.permit_id) if intent is not None else None
        return permit.plan.strategy if permit is not None else ""

    def _state(self, event: e.StateChanged) -> None:
        self.state = event.after
        self.coverage[f"state {event.after.value}"] += 1

    # --- the wire --------------------------------------------------------------------

    def check_order(self, intent: Intent, attached: tuple[Intent, ...], now_ms: int) -> None:
        """Check an order that the process is about to send."""
        self.coverage[f"sent {intent.role.value}"] += 1
        self.note(f"{now_ms} wire {intent.role.value} {intent.symbol} {intent.client_order_id}")

        def wrong(rule: str, detail: str) -> None:
            self.add_violation(rule, now_ms, intent.symbol, f"{intent.client_order_id}: {detail}")

        for each in (intent, *attached):
            if each.client_order_id in self._sent:
                wrong("DUPLICATE_ID", "sent before")
            self._sent.add(each.client_order_id)
            if self._intents.get(each.client_order_id) != each:
                wrong("UNJOURNALLED", f"no committed intent of this {each.role.value}")
        self.due_actions.check_entry(intent, now_ms)
        if intent.role is not OrderRole.ENTRY:
            if not intent.reduce_only:
                wrong("NOT_REDUCING", intent.role.value)
            return
        before = self._entered.setdefault(intent.trade_id, intent.client_order_id)
        if before != intent.client_order_id:
            wrong("ENTERED_TWICE", f"{intent.trade_id} was entered by {before}")
        if not self.state.entries_allowed:
            wrong("HALTED", f"an entry was sent in {self.state.value}")
        permit = self._permits.get(intent.permit_id)
        if permit is None:
            wrong("UNPERMITTED", f"no permit {intent.permit_id!r}")
        elif permit.client_order_id != intent.client_order_id:
            wrong("UNPERMITTED", f"the permit is used by {permit.client_order_id or 'no order'}")
        elif permit.released:
            wrong("UNPERMITTED", "the permit was released")
        elif now_ms > permit.expires_at_ms + SKEW_MAX_MS:
            wrong("UNPERMITTED", f"the permit expired {now_ms - permit.expires_at_ms} ms ago")
        elif intent.quantity > permit.plan.quantity:
            wrong("OVERSIZED", f"quantity {intent.quantity}, {permit.plan.quantity} permitted")

    # --- the venue -------------------------------------------------------------------

    def check_venue(self, now_ms: int) -> None:
        """Check the venue's new audit records and everything with a deadline."""
        count = self.engine.audit_log_count
        if self._seen < count:
            for record in self.engine.audit_log_since(self._seen):
                self._take(record)
            self._seen = count
        self.due_actions.check_overdue(now_ms)
        checker = self._checker
        if checker.held:
            checker.check_until(now_ms)
        if now_ms - self._sampled_ms >= SAMPLE_MS:
            self._sampled_ms = now_ms
            self.portfolio.sample(checker, now_ms)
        if self._reported < len(checker.found):
            for violation in checker.found[self._reported :]:
                self.add_violation(
                    violation.rule, violation.at_ms, violation.symbol, violation.detail
                )
            self._reported = len(checker.found)

    def _take(self, record: AuditRecord) -> None:
        self.trace.digest(repr(record).encode())
        if isinstance(record, FillAudit):
            self.coverage["fills"] += 1
            self.coverage[f"fills {record.reason}"] += 1
            self.note(
                f"{record.at_ms} venue fill {record.symbol} {record.side.value} {record.quantity}"
                f" at {record.price} {record.position_before}->{record.position_after}"
                f" {record.client_order_id} {record.reason}"
            )
            self._size(record)
        elif isinstance(record, OrderAudit):
            self.coverage[f"order {record.event}"] += 1
            if record.event == "accepted" and record.client_order_id in self._written_off:
                since = f"closed in the journal at {self._written_off[record.client_order_id]}"
                self.add_violation(
                    "RESURRECTED", record.at_ms, record.symbol, f"{record.client_order_id} {since}"
                )
            self.note(
                f"{record.at_ms} venue {record.event} {record.symbol} {record.type.value}"
                f" {record.remaining} {record.client_order_id} {record.detail}"
            )
        elif isinstance(record, ContractAudit):
            self.note(f"{record.at_ms} venue contract {record.symbol} {record.contract_size}")
        else:
            assert isinstance(record, MoneyAudit)
            self.note(f"{record.at_ms} venue {record.kind} {record.symbol} {record.amount}")
        if not isinstance(record, ContractAudit):
            self.due_actions.record_audit(record)
        self._checker.take(record)

    def _size(self, record: FillAudit) -> None:
        """Check that a position is not larger than its permit (5)."""
        intent = self._intents.get(record.client_order_id)
        if record.reduce_only or not is_kamou_id(record.client_order_id):
            return
        if intent is None:
            self.add_violation("UNJOURNALLED", record.at_ms, record.symbol, record.client_order_id)
            return
        if record.quantity < intent.quantity:
            self.coverage["partial fills"] += 1
        permit = self._permits.get(intent.permit_id)
        if permit is None or self._checker.symbol(record.symbol).external:
            return
        if abs(record.position_after) > permit.plan.quantity:
            self.add_violation(
                "OVERSIZED",
                record.at_ms,
                record.symbol,
                f"{record.position_after} held, {permit.plan.quantity} permitted",
            )

    # --- the supervisor --------------------------------------------------------------

    def check_exit(self, exit_: ChildExit, now_ms: int) -> None:
        """Check that a child is not stuck and crashed only for an allowed reason (11).

        Allowed are an injected crash, and what follows from one or from a slow commit.
        """
        if exit_.kind is ExitKind.STUCK:
            self.add_violation("STUCK", now_ms, "", exit_.child)
        if exit_.kind is not ExitKind.CRASHED:
            return
        error = exit_.error
        self.coverage["crashes"] += 1
        self.note(f"{now_ms} crash {exit_.child} {error!r}")
        causes = _leaves(error)
        if all(isinstance(cause, InjectedCrash) for cause in causes):
            self.disturbed_ms = now_ms
            return
        follows = InjectedCrash | CallUnavailableError | CallTimeoutError | RestartStormError
        lately = now_ms - self.disturbed_ms <= SLOW_S * 1000
        if lately and all(isinstance(cause, follows) for cause in causes):
            self.disturbed_ms = now_ms
            return
        self.add_violation("CRASH", now_ms, "", f"{exit_.child}: {error!r}{_where(error)}")

    # --- the end ---------------------------------------------------------------------

    def close(self) -> None:
        """Check that the equity equals the sum of all audit records (7)."""
        engine = self.engine
        self.check_venue(engine.market_ms)
        before = len(self._checker.found)
        self._checker.check_equity(engine.account(), engine.positions(), engine.source.instruments)
        for violation in self._checker.found[before:]:
            self.add_violation(violation.rule, violation.at_ms, violation.symbol, violation.detail)
        checker = self._checker
        self.coverage["entries"] = checker.entries
        self.coverage["orders"] = len(checker.accepted)
        self.trace.line(f"end {checker.wallet_balance} {checker.fills}")

    @property
    def worst_overshoot_r(self) -> Decimal:
        return self._checker.overshoot


def _leaves(error: BaseException | None) -> tuple[BaseException | None, ...]:
    """Return the single errors of a group, because crashes may strike several tasks."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    return tuple(leaf for each in error.exceptions for leaf in _leaves(each))


def _where(error: Exception | None) -> str:
    """Return the innermost line of Kamou in the error's traceback."""
    trail = error.__traceback__ if error is not None else None
    where = ""
    while trail is not None:
        code = trail.tb_frame.f_code
        if "/kamou/" in code.co_filename:
            where = f" at {code.co_filename.rpartition('/kamou/')[2]}:{trail.tb_lineno}"
        trail = trail.tb_next
    return where


_LEARNS: dict[type[e.Event], Callable[[Monitor, Any], None]] = {
    e.PermitGranted: Monitor._granted,
    e.PermitConsumed: Monitor._consumed,
    e.PermitReleased: Monitor._released,
    e.IntentRecorded: Monitor._intended,
    e.FillRecorded: Monitor._fill_recorded,
    e.OrderClosed: Monitor._closed,
    e.StateChanged: Monitor._state,
}
