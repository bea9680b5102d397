"""The risk governor: reviews orders, opens each UTC day, keeps the trading state."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

import attrs
import trio

from kamou.actors.base import Actor
from kamou.actors.day_opener import DayOpener
from kamou.actors.decision_recorder import note_review
from kamou.actors.followers import BookFollower
from kamou.actors.journal import Journal
from kamou.core.book.events import PermitReleased
from kamou.core.book.gate_events import GateChanged
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.position_book import PositionBook
from kamou.core.book.strategy_events import StrategyResumed
from kamou.core.codes import Deny, StateReason
from kamou.core.model import NOTE, Denial, Figure, Intent, Plan, TradingState
from kamou.core.record.gate import Gate
from kamou.core.risk import governor
from kamou.core.risk.context import ReviewContext
from kamou.core.risk.equity import exit_costs
from kamou.core.risk.limits import TradingParameters
from kamou.core.risk.pacing import TokenBucket, full_bucket
from kamou.core.risk.repetition import find_repetition
from kamou.core.risk.states import Decision, EquityRead, EquityReads, Pending, overdue_ms
from kamou.core.risk.verdict import Denied, Verdict
from kamou.errors import DiskFullError, DuplicateEventError
from kamou.messages.governor import (
    ChangeGate,
    DiskFull,
    Flatten,
    Halt,
    ProtectionFailed,
    Resume,
    StateNotice,
)
from kamou.messages.orders import (
    GovernorMessage,
    ReconcileNow,
    Reviewed,
    ReviewEntry,
    ReviewReduction,
    VenueObserved,
)
from kamou.runtime.mailbox_sides import Outbox

MESSAGES_PER_ENTRY = 3  # entry, stop loss, take profit


@attrs.define
class KeptCommand:
    """A command that waits for space on the disk; it outlives the governor's crashes."""

    command: Halt | Flatten | None = None


@attrs.define(kw_only=True, eq=False, slots=False)
class RiskGovernor(Actor[GovernorMessage]):
    """The actor that reviews orders, opens UTC days and keeps the trading state.

    It decides on the fold of the journal. It commits a permit before it answers, and a trading
    state before it acts on that state. While the journal cannot commit, it grants no permit.
    """

    name: str = attrs.field(init=False, default="risk_governor")
    _journal: Journal
    _orders: Outbox[StateNotice]
    _reconciler: Outbox[ReconcileNow]
    _gate: Gate
    _parameters: TradingParameters
    _excluded: frozenset[str]
    _kept: KeptCommand
    _follower: BookFollower = attrs.field(init=False)
    _day_opener: DayOpener = attrs.field(init=False)
    _bucket: TokenBucket = attrs.field(init=False)
    _started_at_ms: int = attrs.field(init=False)
    _observed: VenueObserved | None = attrs.field(init=False, default=None)
    _pending: Pending | None = attrs.field(init=False, default=None)
    _read_again_ms: int | None = attrs.field(init=False, default=None)
    # The newest read with finite equity.
    _read: EquityRead | None = attrs.field(init=False, default=None)
    _requested_ms: int = attrs.field(init=False, default=0)  # last request for a read
    # Start of fresh reads in this state.
    _fresh_since_ms: int | None = attrs.field(init=False, default=None)
    _disk_full: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._follower = BookFollower(self._journal)
        self._day_opener = DayOpener(self._parameters.limits)
        self._started_at_ms = self.clock.now_ms()
        self._bucket = full_bucket(self._parameters.limits.messages_per_s, self._started_at_ms)

    async def recover(self) -> None:
        await self._follower.recover()

    def next_due_ms(self) -> int | None:
        due = (self._request_ms(), self._stale_ms())
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    def _request_ms(self) -> int | None:
        """Return the time to request a second read, or a read that replaces an old one.

        Return None if neither is needed. Cycles may be longer than the age limit. A request is not
        repeated at once: while the venue does not answer, the governor would do nothing else (seed
        960263).
        """
        known_ms = self._read.at_ms if self._read is not None else self._started_at_ms
        old_ms = (
            None
            if self._disk_full
            else known_ms + self._parameters.limits.account_age_max_s * 1000 + 1
        )
        due = [at_ms for at_ms in (self._read_again_ms, old_ms) if at_ms is not None]
        return (
            max(min(due), self._requested_ms + self._parameters.limits.equity_confirm_s * 1000)
            if due
            else None
        )

    def _stale_ms(self) -> int | None:
        """Return the time at which old data stop entries, by the clock, in ms.

        Return None in a halt or on a full disk.
        """
        if self._disk_full or not self._follower.book.trading.state.entries_allowed:
            return None
        now_ms = self.clock.now_ms()
        left_ms = self._parameters.limits.stale_halt_s * 1000 - self._overdue_ms(now_ms)
        return now_ms + left_ms + 1

    def _overdue_ms(self, now_ms: int) -> int:
        """Return the ms by which account or marks exceed their age limit; fresh: <= 0."""
        read = self._read or EquityRead(equity=Decimal(0), at_ms=self._started_at_ms)
        return overdue_ms(read, self._parameters.limits, now_ms)

    async def tick(self) -> None:
        """Request a read that is due; stop entries if the last read is too old.

        The reconciler makes the read, because it reads transfers as well: without them a withdrawal
        would look like a loss.
        """
        await trio.lowlevel.checkpoint()
        now_ms = self.clock.now_ms()
        request_ms = self._request_ms()
        if request_ms is not None and now_ms >= request_ms:
            self._requested_ms = now_ms
            self._reconciler.put_nowait(ReconcileNow())
        try:
            if self._overdue_ms(now_ms) > self._parameters.limits.stale_halt_s * 1000:
                await self._judge(self._read)
        except DiskFullError:
            self._disk_full = True

    # --- reviews -----------------------------------------------------------------

    async def answer(self, message: object) -> Reviewed | Denial | None:
        """Return the review of an entry; a Denial or None (allowed) for a reduction."""
        if isinstance(message, ReviewReduction):
            return self._review_reduction(message.intent)
        assert isinstance(message, ReviewEntry), message
        return await self._review_entry(message)

    async def _review_entry(self, message: ReviewEntry) -> Reviewed:
        full = False
        try:
            book = await self._release(self.clock.now_ms())
        except DiskFullError:
            book, full = self._follower.catch_up(), True
        context = self._context(message, book)
        read = note_review(context)  # now, because the book may change during an await
        try:
            verdict = _deny_on_full_disk(context.plan) if full else await self._decide(context)
        except DiskFullError:
            verdict = _deny_on_full_disk(context.plan)
        return Reviewed(verdict=verdict, read=read)

    async def _decide(self, context: ReviewContext) -> Verdict:
        verdict, event = governor.review_entry(context)
        if isinstance(verdict, Denied):
            self._journal.cast(event)
            await self._disable(context.book)
            return verdict
        await self._journal.commit(event)
        self._bucket = self._bucket.take(MESSAGES_PER_ENTRY)
        return verdict

    def _context(self, message: ReviewEntry, book: PositionBook) -> ReviewContext:
        now, observed, plan = self.clock.now_ms(), self._observed, message.plan
        self._bucket = self._bucket.at(now)
        return ReviewContext(
            plan=plan,
            book=book,
            quote=message.quote,
            marks={quote.symbol: quote for quote in message.marks},
            account=observed.account if observed else None,
            positions=observed.positions if observed else (),
            reconciled=observed is not None and observed.reconciled,
            clock_offset_ms=observed.clock_offset_ms if observed else 0,
            parameters=self._parameters,
            now_ms=now,
            grant=self._gate.find_grant(plan.strategy, book),
            excluded=self._excluded,
            tokens=self._bucket.tokens,
            funding_rate=message.funding_rate,
        )

    def _review_reduction(self, intent: Intent) -> Denial | None:
        book = self._follower.catch_up()
        now_ms = self.clock.now_ms()
        self._bucket = self._bucket.at(now_ms).take(1)
        position, orders = book.trades.position(intent.symbol), book.orders.of_symbol(intent.symbol)
        return governor.review_reduction(intent, position, orders, now_ms=now_ms)

    async def _release(self, now_ms: int) -> PositionBook:
        """Release the permits of ``releasable_permits``; return the book after that."""
        book = self._follower.catch_up()
        for permit_id, reason in book.releasable_permits(now_ms):
            try:
                await self._journal.commit(
                    PermitReleased(
                        at_ms=now_ms, cause_id=permit_id, permit_id=permit_id, reason=reason
                    )
                )
            except DuplicateEventError:
                continue
        return self._follower.catch_up()

    # --- the state ---------------------------------------------------------------

    async def handle(self, message: GovernorMessage) -> None:
        try:
            await self._receive(message)
        except DiskFullError:
            self._disk_full = True
            if isinstance(message, Halt | Flatten) and not isinstance(self._kept.command, Flatten):
                self._kept.command = message  # until it can be committed

    async def _receive(self, message: GovernorMessage) -> None:
        match message:
            case VenueObserved():
                self._observed = message
                await self._disable(await self._release(self.clock.now_ms()))
                await self._judge(self._take(message))
            case Halt():
                await self._command(TradingState.REDUCE_ONLY, message.reason, message.note)
            case Flatten():
                await self._command(TradingState.FLATTENING, message.reason, message.note)
            case Resume():
                await self._resume(message.note)
            case DiskFull():
                self._disk_full = message.full
                if not message.full:
                    await self._carry_out_kept()
                    await self._command(TradingState.REDUCE_ONLY, StateReason.DISK_FULL)
            case ProtectionFailed():
                await self._judge(self._read, protection_failed=True)
            case ChangeGate():
                await self._change_gate(message.change)
            case _:
                assert_never(message)

    async def _carry_out_kept(self) -> None:
        """Carry out the command that could not be committed while the disk was full."""
        if self._kept.command is not None:
            await self._receive(self._kept.command)  # it is kept if the disk is full again
            self._kept.command = None

    async def _change_gate(self, change: GateChanged) -> None:
        """Commit a change at the gate, unless another change came before it."""
        if self._follower.catch_up().gate.find(change.strategy).is_followed_by(change):
            await self._journal.commit(change)
            self._follower.catch_up()

    def _take(self, message: VenueObserved) -> EquityRead | None:
        """Keep a read with finite equity; return the newest such read, or None."""
        read = EquityRead(
            equity=message.account.equity,
            at_ms=message.account.at_ms,
            marks_at_ms=message.marks_at_ms,
            exit_costs=exit_costs(
                message.positions, self._follower.book.instruments, self._parameters.costs
            ),
            explained=message.explained,
            wallet_balance=message.account.wallet_balance,
            positions=message.positions,
            agreed=message.reconciled,
            midnights=message.midnights,
        )
        if read.finite:
            self._read = read
        if not read.finite or overdue_ms(read, self._parameters.limits, self.clock.now_ms()) > 0:
            self._fresh_since_ms = None
        elif self._fresh_since_ms is None:
            self._fresh_since_ms = read.at_ms
        return self._read

    async def _command(self, state: TradingState, reason: StateReason, note: str = "") -> None:
        decision = governor.decide_command(self._follower.catch_up(), state, reason)
        await self._act(_with_note(decision, note))
        await self._keep_note(decision, reason, note)

    async def _resume(self, note: str) -> None:
        decision = governor.decide_resume(
            self._follower.catch_up(),
            self._read,
            limits=self._parameters.limits,
            now_ms=self.clock.now_ms(),
        )
        await self._act(_with_note(decision, note))
        await self._keep_note(decision, StateReason.OPERATOR_RESUME, note)
        book = self._follower.catch_up()
        if book.trading.disabled and book.trading.state.entries_allowed:
            now_ms = self.clock.now_ms()
            await self._journal.commit(
                *(
                    StrategyResumed(at_ms=now_ms, strategy=s, note=note)
                    for s in book.trading.disabled
                )
            )
            self._follower.catch_up()

    async def _keep_note(self, decision: Decision, reason: StateReason, note: str) -> None:
        """Journal a command that changed no trading state, if it has a note or refusal."""
        if decision.reason is None and (note or decision.refusal):
            now_ms, why = self.clock.now_ms(), decision.refusal
            event = CommandRecorded(at_ms=now_ms, reason=reason, note=note, refusal=why)
            await self._journal.commit(event)
            self._follower.catch_up()

    async def _disable(self, book: PositionBook) -> None:
        """Disable strategies that entered too often, until the operator resumes them."""
        disabled = tuple(find_repetition(book, self._parameters.limits, self.clock.now_ms()))
        if disabled:
            await self._journal.commit(*disabled)
            self._follower.catch_up()

    async def _judge(self, read: EquityRead | None, *, protection_failed: bool = False) -> None:
        book = await self._open_day(read)
        await self._act(
            governor.next_state(
                book,
                EquityReads(
                    newest=read,
                    pending=self._pending,
                    started_at_ms=self._started_at_ms,
                    fresh_since_ms=self._fresh_since_ms,
                ),
                limits=self._parameters.limits,
                now_ms=self.clock.now_ms(),
                protection_failed=protection_failed,
                disk_full=self._disk_full,
            )
        )

    async def _open_day(self, read: EquityRead | None) -> PositionBook:
        """Open the UTC days that ``read`` opens, if any; return the book after that."""
        book = self._follower.catch_up()
        opened = self._day_opener.judge(book, read, self.clock.now_ms())
        if opened:
            await self._journal.commit(*opened)
        return self._follower.catch_up()

    async def _act(self, decision: Decision) -> None:
        self._pending = decision.pending
        self._read_again_ms = decision.read_again_ms
        if self._read_again_ms is None:
            self._read_again_ms = self._day_opener.read_again_ms
        now_ms = self.clock.now_ms()
        if self._read is not None and self._read_again_ms is None and self._overdue_ms(now_ms) > 0:
            self._read_again_ms = now_ms + self._parameters.limits.equity_confirm_s * 1000
        event = decision.event(now_ms)
        if event is None:
            return
        self._fresh_since_ms = None
        await self._journal.commit(event)
        self._follower.catch_up()
        self._orders.put_priority(StateNotice(state=decision.after, reason=event.reason))


def _deny_on_full_disk(plan: Plan) -> Denied:
    figures = (Figure(name="reason", value=StateReason.DISK_FULL),)
    denial = Denial(code=Deny.TRADING_HALTED, figures=figures)
    return Denied(permit_id=plan.permit_id, denials=(denial,))


def _with_note(decision: Decision, note: str) -> Decision:
    """Return the decision with the operator's note among its figures."""
    if not note:
        return decision
    figures = (*decision.figures, Figure(name=NOTE, value=note))
    return attrs.evolve(decision, figures=figures)
