"""The order executor: sends orders to the venue and journals the venue's answers.

The order manager decides when to send an order. The order executor commits the intent, sends the
order and journals the venue's answer. It never sends an order twice: if the outcome is unknown, it
journals that and resolves the order by query.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kamou.actors.followers import BookFollower
from kamou.actors.journal import Journal
from kamou.actors.timed_port import TimedPort
from kamou.clock import Clock
from kamou.core.book.events import (
    CancelRequested,
    Event,
    FillRecorded,
    IntentRecorded,
    OrderAccepted,
    OrderClosed,
    OrderRejected,
    OrderUnknown,
    PermitDenied,
    PermitReleased,
)
from kamou.core.book.intents import SaltOf, entry_intents
from kamou.core.book.orders import IN_FLIGHT, OrderState
from kamou.core.book.position_book import PositionBook
from kamou.core.kinds import FillSource
from kamou.core.model import ZERO, Denial, FillReport, Intent, OrderReport, OrderStatus, Plan
from kamou.core.risk.denials import deny_intent, deny_plan, deny_unreviewed
from kamou.core.risk.verdict import Approved, Denied
from kamou.errors import (
    CallTimeoutError,
    CallUnavailableError,
    DuplicateEventError,
    InvalidPermitError,
    RateLimitedError,
    RejectedError,
    UnknownOutcomeError,
    UnreachableError,
)
from kamou.messages.orders import Reviewed, ReviewEntry, ReviewReduction
from kamou.runtime.mailbox_sides import Callee

CLOCKS_APART_MS = 60_000  # fills are read from this long before the intent: clocks may differ


@attrs.frozen(kw_only=True)
class OrderExecutorSettings:
    """Waiting times of the order executor."""

    review_timeout_s: float = 2.0  # then an entry is denied: nobody has checked its limits
    venue_timeout_s: float = 5.0  # a slower read is unreachable; a slower order is unknown
    not_found_after_ms: int = 20_000  # from an order's last change until it counts as expired, if
    # the venue does not know it: receive window + client timeout + margin


@attrs.define(kw_only=True, eq=False)
class OrderExecutor:
    """The part of the order manager that sends, cancels and resolves orders.

    It owns the order manager's position book.
    """

    journal: Journal
    port: TimedPort
    _governor: Callee
    clock: Clock
    salt_of: SaltOf
    settings: OrderExecutorSettings
    follower: BookFollower = attrs.field(init=False)
    _began_ms: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.follower = BookFollower(self.journal)
        self._began_ms = self.clock.now_ms()

    @property
    def book(self) -> PositionBook:
        """Return the position book as of the journal's committed head."""
        return self.follower.catch_up()

    async def commit(self, *events: Event) -> PositionBook:
        """Commit the events durably and return the book after them.

        Events that are committed already are skipped.

        Raises:
            DiskFullError, CallUnavailableError, CallTimeoutError: as ``Journal.commit``.
        """
        if events:
            try:
                await self.journal.commit(*events)
            except DuplicateEventError:
                for event in events:
                    try:
                        await self.journal.commit(event)
                    except DuplicateEventError:
                        continue  # committed before, under the same key
        return self.book

    # --- entries -----------------------------------------------------------------

    async def review(self, message: ReviewEntry) -> Reviewed | Denied:
        """Return the governor's review; without an answer, journal and return a denial."""
        plan = message.plan
        try:
            reviewed = await self._governor.call(message, timeout_s=self.settings.review_timeout_s)
        except (CallTimeoutError, CallUnavailableError) as error:
            denial = deny_unreviewed(self.settings.review_timeout_s, str(error))
            self.deny(deny_plan(plan, (denial,), self.clock.now_ms()))
            return Denied(permit_id=plan.permit_id, denials=(denial,))
        assert isinstance(reviewed, Reviewed | Denied), reviewed
        return reviewed

    def deny(self, denied: PermitDenied) -> None:
        """Journal a denial that the governor has not journalled itself."""
        self.journal.cast(denied)

    async def enter(self, plan: Plan, approved: Approved, inputs: Sequence[Event]) -> None:
        """Commit the intents of an entry and its attached orders, and send them.

        Then journal the venue's answer, or that the outcome is unknown. An entry has no attached
        orders if the venue cannot attach them. ``inputs`` are the events of the decision; they are
        committed with the intents.

        Raises:
            DiskFullError, CallUnavailableError, CallTimeoutError: as ``commit``.
        """
        now = self.clock.now_ms()
        entry, *attached = entry_intents(plan, now_ms=now, salt_of=self.salt_of)
        if not self.port.capabilities.attached_stop:
            attached = []  # a separate stop loss and take profit follow the first fill
        await self.commit(
            *inputs,
            *(
                IntentRecorded(at_ms=now, cause_id=intent.cause_id, intent=intent)
                for intent in (entry, *attached)
            ),
        )
        try:
            report = await self.port.submit(approved, entry, tuple(attached))
        except InvalidPermitError as invalid:
            await self._reject_entry(entry, attached, invalid.code, invalid.reason)
        except RejectedError as rejected:
            await self._reject_entry(entry, attached, rejected.code, rejected.reason)
        except RateLimitedError as limited:
            await self._reject_entry(entry, attached, "RATE_LIMITED", str(limited))
        except (UnknownOutcomeError, UnreachableError) as unclear:
            await self.commit(
                OrderUnknown(
                    at_ms=self.clock.now_ms(),
                    cause_id=entry.client_order_id,
                    client_order_id=entry.client_order_id,
                    reason=str(unclear),
                )
            )
        else:
            await self.record_report(report)

    async def _reject_entry(
        self, entry: Intent, attached: Sequence[Intent], code: str, reason: str
    ) -> None:
        """Journal that an entry and its attached orders are rejected; release the permit."""
        now = self.clock.now_ms()
        ended: list[Event] = [
            OrderRejected(
                at_ms=now,
                cause_id=i.cause_id,
                client_order_id=i.client_order_id,
                code=code,
                reason=reason,
            )
            for i in (entry, *attached)
        ]
        ended.append(
            PermitReleased(
                at_ms=now, cause_id=entry.client_order_id, permit_id=entry.permit_id, reason=code
            )
        )
        await self.commit(*ended)

    # --- reducing orders ---------------------------------------------------------

    async def reduce(self, intent: Intent) -> OrderStatus | None:
        """Review, commit and send a stop loss, take profit or exit.

        If the governor does not answer, the exchange port checks that the order reduces before it
        sends the order.

        Returns:
            The order's state. REJECTED: the order did not reach the market; UNKNOWN: it may have;
            all others: it did. None: the governor denied it, and no intent was committed.

        Raises:
            DiskFullError, CallUnavailableError, CallTimeoutError: as ``commit``.
        """
        proved = True
        try:
            denial = await self._governor.call(
                ReviewReduction(cause_id=intent.cause_id, intent=intent),
                timeout_s=self.settings.review_timeout_s,
            )
        except (CallTimeoutError, CallUnavailableError):
            denial, proved = None, False
        assert denial is None or isinstance(denial, Denial), denial
        if denial is not None:
            self.deny(deny_intent(intent, denial, self.clock.now_ms()))
            return None
        now = self.clock.now_ms()
        await self.commit(IntentRecorded(at_ms=now, cause_id=intent.cause_id, intent=intent))
        try:
            report = await self.port.reduce(intent, proved=proved)
        except (InvalidPermitError, RejectedError) as error:
            await self._reject(intent, error.code, error.reason)
            return OrderStatus.REJECTED
        except RateLimitedError as limited:
            await self._reject(intent, "RATE_LIMITED", str(limited))
            return OrderStatus.REJECTED
        except (UnknownOutcomeError, UnreachableError) as unclear:
            await self.commit(
                OrderUnknown(
                    at_ms=self.clock.now_ms(),
                    cause_id=intent.client_order_id,
                    client_order_id=intent.client_order_id,
                    reason=str(unclear),
                )
            )
            return OrderStatus.UNKNOWN
        await self.record_report(report)
        return report.status

    async def _reject(self, intent: Intent, code: str, reason: str) -> None:
        await self.commit(
            OrderRejected(
                at_ms=self.clock.now_ms(),
                cause_id=intent.cause_id,
                client_order_id=intent.client_order_id,
                code=code,
                reason=reason,
            )
        )

    async def cancel(self, client_order_id: str, symbol: str, reason: str) -> None:
        """Journal that a cancel is requested, and send the cancel.

        Nothing is journalled for an order that has ended or that the book does not know. The order
        ends when the venue reports its end, or does not know the order. An error of the venue is
        suppressed, because the cancel is requested again later.

        Raises:
            DiskFullError, CallUnavailableError, CallTimeoutError: as ``commit``.
        """
        order = self.book.orders.find(client_order_id)
        if order is not None and not order.status.terminal:
            await self.commit(
                CancelRequested(
                    at_ms=self.clock.now_ms(),
                    cause_id=client_order_id,
                    client_order_id=client_order_id,
                    reason=reason,
                )
            )
        try:
            await self.port.cancel(client_order_id, symbol)
        except (RejectedError, RateLimitedError, UnknownOutcomeError, UnreachableError):
            return  # a due action or the reconciler requests the cancel again

    # --- reports of the venue ----------------------------------------------------

    async def record_report(self, report: OrderReport) -> None:
        """Journal that an order was accepted or has ended, as the venue reports.

        A report of an order that the book does not know, or that is settled, is ignored.

        Raises:
            DiskFullError, CallUnavailableError, CallTimeoutError: as ``commit``.
        """
        known = self.book.orders.find(report.client_order_id)
        if known is None or known.settled:
            return
        now = self.clock.now_ms()
        events: list[Event] = []
        if known.status in IN_FLIGHT and report.status is not OrderStatus.REJECTED:
            events.append(
                OrderAccepted(
                    at_ms=now,
                    cause_id=report.client_order_id,
                    client_order_id=report.client_order_id,
                    venue_order_id=report.venue_order_id,
                )
            )
        if report.status.terminal and not known.status.terminal:
            events.append(
                OrderClosed(
                    at_ms=self._ended_ms(report, now),
                    cause_id=report.client_order_id,
                    client_order_id=report.client_order_id,
                    status=report.status,
                    filled=report.filled,
                    reason="venue",
                )
            )
        await self.commit(*events)

    def _ended_ms(self, report: OrderReport, now_ms: int) -> int:
        """Return the time of an order's end, in ms.

        It is the venue's time if the order ended before this executor was made, else ``now_ms``.
        """
        return report.updated_at_ms if 0 < report.updated_at_ms < self._began_ms else now_ms

    async def resolve(self, known: OrderState) -> None:
        """Query an order by client order id and journal the answer.

        An order that the venue does not know counts as expired ``not_found_after_ms`` after its
        last change. If the read fails, the order stays unresolved. If the order has ended, only its
        fills are read: they may have opened an unprotected position, and a query would delay them
        by one read (seed 94007).

        Raises:
            DiskFullError, CallUnavailableError, CallTimeoutError: as ``commit``.
        """
        ended = known.status.terminal
        intent = known.intent
        try:
            found = None if ended else await self.port.order(intent.client_order_id)
            fills: tuple[FillReport, ...] = ()
            if ended or (found is not None and found.filled > known.filled):
                fills = await self.port.fills(intent.intended_at_ms - CLOCKS_APART_MS)
        except (RateLimitedError, UnreachableError):
            return
        now = self.clock.now_ms()
        if ended or found is not None:
            own = [f for f in fills if f.client_order_id == intent.client_order_id]
            await self.commit(
                *(
                    FillRecorded(
                        at_ms=now,
                        cause_id=intent.client_order_id,
                        fill=fill,
                        source=FillSource.RECONCILE,
                    )
                    for fill in own
                    if fill.key not in self.book.reconciliation.fills_seen
                )
            )
            if found is not None:
                await self.record_report(found)
        elif now - known.changed_at_ms >= self.settings.not_found_after_ms:
            await self.commit(
                OrderClosed(
                    at_ms=now,
                    cause_id=intent.client_order_id,
                    client_order_id=intent.client_order_id,
                    status=OrderStatus.EXPIRED,
                    filled=ZERO,
                    reason="not found at the venue",
                )
            )
