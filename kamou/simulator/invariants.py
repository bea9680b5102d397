"""What must hold, checked while the world runs: reads the venue's records, the wire, the journal.

Numbers are those of ``docs/reliability.md``: 1 permits, 2 client order ids (and nothing that the
venue accepts was written off before), 3 protection, 4 limits, 5 size, 6 book is venue (see
``convergence``), 7 equity, 8 nothing acknowledged is lost, 10 halt, 11 crashes. 9 is the ledger's
and 12 the swarm's.
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
from kamou.ids import is_ours
from kamou.messages.codec import encode
from kamou.runtime.supervision import ChildExit, ExitKind, RestartStormError
from kamou.simulator.crash_injection import InjectedCrash
from kamou.simulator.due_actions import SAMPLE_MS, SKEW_MAX_MS, DueActions
from kamou.simulator.limits import SimulatedChecker, bound_by, limits_on, reopen_day
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

VIOLATIONS_MAX = 50  # one defect repeats itself
LAST_EVENTS = 60  # shown with the first violation
SLOW_S = 90  # a slow disk or a crash explains a call that was not answered for so long after


@attrs.define(kw_only=True)
class _Permit:
    plan: Plan
    expires_at_ms: int
    client_order_id: str = ""
    released: bool = False


class Monitor:
    """Everything that is checked in one world. It outlives the processes in it."""

    def __init__(
        self, *, engine: Engine, limits: RiskLimits, excused_ms: ExcusedTime, trace: Trace
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.trace = trace
        self.found: list[Violation] = []
        self.last: tuple[str, ...] = ()  # events before the first violation
        self.coverage: Counter[str] = Counter()
        self.disturbed_ms = 0  # when a crash, or a slow disk, last explained a failed call
        self.on_grant: Callable[[], None] = lambda: None  # somebody waits for the next permit
        self.stalls: list[tuple[int, int]] = []  # a request timed out, or the disk stood still
        self.state = TradingState.ACTIVE
        self.head_seq = 0
        self._head_body = b""
        age_max_ms = limits.account_age_max_s * 1000
        self._outside = outside = OutsideChanges(excused_ms, age_max_ms=age_max_ms)
        self._checker = SimulatedChecker(limits, excused_ms, outside)
        self.portfolio = self._checker.portfolio = limits_on(self, engine, limits, outside)
        self.due_actions = DueActions(
            engine=engine,
            limits=limits,
            excused_ms=excused_ms,
            outside=outside,
            wrong=self.violation,
        )
        self._day_unknown = False  # an older journal came back that knows of no day
        self._sampled_ms = 0
        self._told = 0  # violations of the checker that are reported
        self._seen = 0  # audit records
        self._recent: deque[str] = deque(maxlen=LAST_EVENTS)
        self._permits: dict[str, _Permit] = {}
        self._intents: dict[str, Intent] = {}
        self._sent: set[str] = set()
        self._written_off: dict[str, int] = {}  # orders that the journal calls dead, unfilled
        self._entered: dict[str, str] = {}  # trade -> client order id of its entry

    def violation(self, rule: str, at_ms: int, symbol: str, detail: str) -> None:
        if not self.found:
            self.last = tuple(self._recent)
        if len(self.found) < VIOLATIONS_MAX:
            self.found.append(Violation(rule=rule, at_ms=at_ms, symbol=symbol, detail=detail))

    def note(self, line: str) -> None:
        """Something happened: it belongs in the trace."""
        self.trace.line(line)
        self._recent.append(line)

    # --- the journal -----------------------------------------------------------------

    def committed(self, done: Sequence[Committed]) -> None:
        """These are durable now."""
        for each in done:
            event = each.event
            kind = type(event).__name__
            body = encode(event)
            self.coverage[kind] += 1
            self.trace.digest(body)
            self.note(f"{event.at_ms} journal {each.seq} {kind} {event.unique_key or ''}")
            self.due_actions.journalled(event)
            if isinstance(event, e.DayOpened) and self._day_unknown:
                self._day_unknown = False
                reopen_day(self.portfolio, self._checker, event, self.engine.market_ms)
            self.coverage.update(f"bound {name}" for name in bound_by(event))
            learn = _LEARNS.get(type(event))
            if learn is not None:
                learn(self, event)
            self.head_seq, self._head_body = each.seq, body

    def recovered(self, connection: sqlite3.Connection, now_ms: int) -> None:
        """A process found this database: is all that was acknowledged in it? (8)"""
        row = connection.execute("SELECT count(*), coalesce(max(seq), 0) FROM event").fetchone()
        if tuple(row) != (self.head_seq, self.head_seq):
            self.violation("LOST", now_ms, "", f"{tuple(row)} of {self.head_seq} events are left")
            self.head_seq = row[1]
            return
        if self.head_seq:
            (body,) = connection.execute(
                "SELECT body FROM event WHERE seq = ?", (self.head_seq,)
            ).fetchone()
            body = body.encode() if isinstance(body, str) else bytes(body)
            if body != self._head_body:
                self.violation("LOST", now_ms, "", f"event {self.head_seq} is another")

    def rolled_back(self, connection: sqlite3.Connection) -> None:
        """An older journal stands in its place: what came after it is no loss, it was given up.

        What was sent and promised really was. State, drift and the day are the journal's again.
        """
        events = read_events(connection, 0)
        book = PositionBook()
        book.apply_all((each.seq, each.event) for each in events)
        self.head_seq, self._head_body = events[-1].seq, encode(events[-1].event)
        self.state = book.state
        self.due_actions.rolled_back(book)
        self.portfolio.forgotten()
        # What it does not know of is adopted: its stop bounds the risk from then on (seed 930640).
        self._checker.forget_entries(held for held in self._checker.held if held not in book.trades)
        self._day_unknown = not book.day

    def _granted(self, event: e.PermitGranted) -> None:
        if event.permit_id in self._permits:
            self.violation("PERMIT_TWICE", event.at_ms, event.plan.symbol, event.permit_id)
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
        self._outside.reported(fill.symbol, fill.at_ms, fill.quantity, self.engine.market_ms)

    def _closed(self, event: e.OrderClosed) -> None:
        if not event.filled:
            self._written_off[event.client_order_id] = event.at_ms

    def strategy_of(self, client_order_id: str) -> str:
        """The strategy that an entry order is of; empty when nobody knows."""
        intent = self._intents.get(client_order_id)
        permit = self._permits.get(intent.permit_id) if intent is not None else None
        return permit.plan.strategy if permit is not None else ""

    def _state(self, event: e.StateChanged) -> None:
        self.state = event.after
        self.coverage[f"state {event.after.value}"] += 1

    # --- the wire --------------------------------------------------------------------

    def sent(self, intent: Intent, attached: tuple[Intent, ...], now_ms: int) -> None:
        """This is about to leave the process."""
        self.coverage[f"sent {intent.role.value}"] += 1
        self.note(f"{now_ms} wire {intent.role.value} {intent.symbol} {intent.client_order_id}")

        def wrong(rule: str, detail: str) -> None:
            self.violation(rule, now_ms, intent.symbol, f"{intent.client_order_id}: {detail}")

        for each in (intent, *attached):
            if each.client_order_id in self._sent:
                wrong("DUPLICATE_ID", "sent before")
            self._sent.add(each.client_order_id)
            if self._intents.get(each.client_order_id) != each:
                wrong("UNJOURNALLED", f"no committed intent of this {each.role.value}")
        self.due_actions.sent(intent, now_ms)
        if intent.role is not OrderRole.ENTRY:
            if not intent.reduce_only:
                wrong("NOT_REDUCING", intent.role.value)
            return
        before = self._entered.setdefault(intent.trade_id, intent.client_order_id)
        if before != intent.client_order_id:
            wrong("ENTERED_TWICE", f"{intent.trade_id} was entered by {before}")
        if not self.state.entries_allowed:
            wrong("HALTED", f"an entry left in {self.state.value}")
        permit = self._permits.get(intent.permit_id)
        if permit is None:
            wrong("UNPERMITTED", f"no permit {intent.permit_id!r}")
        elif permit.client_order_id != intent.client_order_id:
            wrong("UNPERMITTED", f"the permit is used by {permit.client_order_id or 'nobody'}")
        elif permit.released:
            wrong("UNPERMITTED", "the permit was released")
        elif now_ms > permit.expires_at_ms + SKEW_MAX_MS:
            wrong("UNPERMITTED", f"the permit expired at {permit.expires_at_ms}")
        elif intent.quantity > permit.plan.quantity:
            wrong("OVERSIZED", f"{intent.quantity} of {permit.plan.quantity} permitted")

    # --- the venue -------------------------------------------------------------------

    def look(self, now_ms: int) -> None:
        """Take the venue's new audit records; is anything overdue?"""
        count = self.engine.audit_log_count
        if self._seen < count:
            for record in self.engine.audit_log_since(self._seen):
                self._take(record)
            self._seen = count
        self.due_actions.look(now_ms)
        checker = self._checker
        if checker.held:
            checker.until(now_ms)
        if now_ms - self._sampled_ms >= SAMPLE_MS:
            self._sampled_ms = now_ms
            self.portfolio.sample(checker, now_ms)
        if self._told < len(checker.found):
            for violation in checker.found[self._told :]:
                self.violation(violation.rule, violation.at_ms, violation.symbol, violation.detail)
            self._told = len(checker.found)

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
                since = f"written off at {self._written_off[record.client_order_id]}"
                self.violation(
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
            self.due_actions.audit_record(record)
        self._checker.take(record)

    def _size(self, record: FillAudit) -> None:
        """A position is never larger than its permit (5)."""
        intent = self._intents.get(record.client_order_id)
        if record.reduce_only or not is_ours(record.client_order_id):
            return
        if intent is None:
            self.violation("UNJOURNALLED", record.at_ms, record.symbol, record.client_order_id)
            return
        if record.quantity < intent.quantity:
            self.coverage["partial fills"] += 1
        permit = self._permits.get(intent.permit_id)
        if permit is None or self._checker.of(record.symbol).external:
            return
        if abs(record.position_after) > permit.plan.quantity:
            self.violation(
                "OVERSIZED",
                record.at_ms,
                record.symbol,
                f"{record.position_after} held, {permit.plan.quantity} permitted",
            )

    # --- the supervisor --------------------------------------------------------------

    def exited(self, exit_: ChildExit, now_ms: int) -> None:
        """Every crash was ordered, or follows from one that was (11)."""
        if exit_.kind is ExitKind.STUCK:
            self.violation("STUCK", now_ms, "", exit_.child)
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
        self.violation("CRASH", now_ms, "", f"{exit_.child}: {error!r}{_where(error)}")

    # --- the end ---------------------------------------------------------------------

    def close(self) -> None:
        """Equity closes (7)."""
        engine = self.engine
        self.look(engine.market_ms)
        before = len(self._checker.found)
        self._checker.close(engine.account(), engine.positions(), engine.source.instruments)
        for violation in self._checker.found[before:]:
            self.violation(violation.rule, violation.at_ms, violation.symbol, violation.detail)
        checker = self._checker
        self.coverage["entries"] = checker.entries
        self.coverage["orders"] = len(checker.accepted)
        self.trace.line(f"end {checker.wallet_balance} {checker.fills}")

    @property
    def worst_overshoot_r(self) -> Decimal:
        return self._checker.overshoot


def _leaves(error: BaseException | None) -> tuple[BaseException | None, ...]:
    """What a group of errors consists of: several tasks of one actor may be struck at once."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    return tuple(leaf for each in error.exceptions for leaf in _leaves(each))


def _where(error: Exception | None) -> str:
    """The innermost of our own lines that it was raised at."""
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
