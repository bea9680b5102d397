"""The exchange port: all requests of Kamou to a venue, and the checks before them.

Actors use ``ExchangePort``: the reads of ``reads.py``, orders, and two streams.
``GuardedPort`` is the base class of every adapter. Its ``submit`` and ``reduce`` are final, because
they make the checks that no adapter may skip: a genuine, committed, unused and matching permit; no
halt; an attached stop with every entry, if the venue takes one; proof that a reduce-only order
reduces, unless the governor has checked it. Adapters implement ``_place``, ``_cancel``, ``events``
and the reads. Errors are those of ``kamou.errors`` (``RejectedError``, ``UnknownOutcomeError``,
...).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol, final

import attrs
import trio

from kamou.clock import Clock
from kamou.core.book.events import ReductionProved
from kamou.core.book.updates import VenueEvent
from kamou.core.codes import Deny
from kamou.core.day import show_utc
from kamou.core.market.bars import Bars as Bars
from kamou.core.market.bars import Series as Series
from kamou.core.market.flow_stream import FlowUpdates
from kamou.core.model import (
    ZERO,
    Intent,
    OrderReport,
    OrderRole,
    OrderType,
    PositionReport,
)
from kamou.core.risk.verdict import Approved, is_genuine
from kamou.errors import InvalidPermitError
from kamou.exchange.reads import VenueReads


class PermitStore(Protocol):
    """The journal's permits, as the port uses them."""

    async def consume(self, approved: Approved, client_order_id: str) -> None:
        """Commit that this order uses this permit.

        Raises:
            InvalidPermitError: the permit is not committed, differs, was released or used before,
                or has expired.
            DiskFullError, CallTimeoutError, CallUnavailableError: the use was not committed in
                time, so the order must not be sent.
        """
        ...


@attrs.frozen(kw_only=True)
class Capabilities:
    """The functions that a venue supports, and the age limit of its history."""

    attached_stop: bool  # an entry may have its stop loss and take profit attached
    open_interest: bool
    funding_rates: bool
    long_short_ratio: bool
    premium_index: bool
    flow_windows: bool  # order flow of windows that have ended
    reduce_only: bool
    withdraw_check: bool
    mark_history: bool  # ``marks_at`` can read past mark prices
    history_ms: int | None = None  # age limit of listed fills and income; None: no limit
    flow_stream: bool = False  # ``flow_updates``: a stream of quotes and market trades


class VenueOrders(Protocol):
    """The orders and cancels of one account at one venue, after the port's checks.

    All methods are cancellation points. A request whose task is cancelled has an unknown outcome.
    """

    async def submit(
        self, approved: Approved, intent: Intent, attached: tuple[Intent, ...] = ()
    ) -> OrderReport:
        """Send an entry with its ``attached`` orders, once, under its permit.

        Raises:
            InvalidPermitError: the permit is not genuine, committed, unused, valid and matching; a
                halt stops entries; or the attached orders are wrong. Nothing was sent.
            DiskFullError, CallTimeoutError, CallUnavailableError: the use of the permit was not
                committed in time. Nothing was sent.
            RejectedError, RateLimitedError: the venue rejects the order.
            UnknownOutcomeError: no answer; query by client order id.
        """
        ...

    async def reduce(self, intent: Intent, *, proved: bool = False) -> OrderReport:
        """Send a reduce-only order: stop loss, take profit or exit.

        If ``proved`` is True, the governor has checked that the order reduces. Otherwise the port
        checks it against the venue's position and journals the proof.

        Raises:
            InvalidPermitError: the order is an entry or not reduce-only; or ``proved`` is False and
                it would not reduce the position.
            UnreachableError: the position for the proof could not be read; nothing was sent.
            DiskFullError, CallTimeoutError, CallUnavailableError: the proof was not committed in
                time. Nothing was sent.
            RejectedError, RateLimitedError: the venue rejects the order, or the read before it.
            UnknownOutcomeError: no answer; query by client order id.
        """
        ...

    async def cancel(self, client_order_id: str, symbol: str) -> None:
        """Cancel an order. Canceling a terminal order succeeds and does nothing.

        Raises:
            RejectedError: ``ORDER_UNKNOWN``, the venue has no order of this id.
            RateLimitedError: nothing has changed.
            UnknownOutcomeError: no answer; query by client order id.
        """
        ...


class ExchangePort(VenueReads, VenueOrders, Protocol):
    """One account at one venue: its reads, its orders and its streams."""

    capabilities: Capabilities

    def flow_updates(self, symbols: tuple[str, ...]) -> trio.MemoryReceiveChannel[FlowUpdates]:
        """Return a new stream of the quotes and market trades of these symbols.

        Callers use it only if ``capabilities.flow_stream`` is True. The stream ends if it breaks or
        if its reader is too slow. It may also stop without an end, as a half-open connection does.
        """
        ...

    def events(self) -> trio.MemoryReceiveChannel[VenueEvent]:
        """Return the private stream of the venue's updates.

        Updates may be lost, for example while the exchange actor restarts. Reconciliation then
        reads their orders and fills.
        """
        ...


IsHalted = Callable[[], bool]
"""A function that returns True if the halt latch or the trading state stops entries."""

JournalProof = Callable[[ReductionProved], Awaitable[None]]
"""A function that commits the port's own proof that an order reduces."""


HALTED = (
    "the halt latch is set or the trading state stops entries (`kamou status` shows which); the"
    " entry is not sent"
)


@attrs.frozen(kw_only=True)
class PortChecks:
    """Clock, permits, halt and journal that a port's checks of an order need."""

    clock: Clock  # Kamou's own clock, not the venue's
    permits: PermitStore
    halted: IsHalted
    journal_proof: JournalProof


class GuardedPort(ABC):
    """The base class of all adapters, with the checks before every order.

    An adapter implements ``_place``, ``_cancel``, ``events`` and the reads. A subclass that
    overrides ``submit`` or ``reduce`` raises ``TypeError`` when it is defined.
    """

    capabilities: Capabilities

    def __init__(self, checks: PortChecks) -> None:
        self._checks = checks
        self._clock = checks.clock

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("submit", "reduce"):
            if name in cls.__dict__:
                raise TypeError(
                    f"{cls.__name__} overrides {name}, which makes the port's checks; "
                    "override _place instead"
                )

    @abstractmethod
    async def positions(self) -> tuple[PositionReport, ...]: ...

    @abstractmethod
    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        """Send the order, whose checks have all passed.

        Raises:
            RejectedError, RateLimitedError: the venue rejects the order.
            UnknownOutcomeError: no answer.
        """

    @abstractmethod
    async def _cancel(self, client_order_id: str, symbol: str) -> None: ...

    @final
    async def submit(
        self, approved: Approved, intent: Intent, attached: tuple[Intent, ...] = ()
    ) -> OrderReport:
        """Send an entry, once, under its permit. See ``ExchangePort.submit``.

        The use of the permit is committed *before* the order is sent. After a cancellation or a
        crash between the two, the permit is used and no order was sent.
        """
        self._check_permit(approved, intent)
        if self.capabilities.attached_stop:
            _check_attached_stop(approved, intent, attached)
        elif attached:
            raise InvalidPermitError(
                "ATTACHED_UNSUPPORTED",
                f"{intent.client_order_id} for {intent.symbol} has {len(attached)} attached "
                "orders, but the venue takes none; the entry is not sent; send the entry without "
                "attached orders, and the stop after the first fill",
            )
        await self._checks.permits.consume(approved, intent.client_order_id)
        if self._checks.halted():  # it may have been set while the permit was being committed
            raise InvalidPermitError("HALT_LATCHED", HALTED)
        return await self._place(intent, attached)

    @final
    async def reduce(self, intent: Intent, *, proved: bool = False) -> OrderReport:
        """Send a reduce-only order. See ``ExchangePort.reduce``."""
        if intent.role is OrderRole.ENTRY or not intent.reduce_only:
            raise InvalidPermitError(
                "NOT_REDUCING",
                f"{intent.client_order_id} for {intent.symbol} has the role {intent.role} "
                f"and reduce_only={intent.reduce_only}; reduce takes reduce-only orders of other "
                "roles than entry, submit takes entries; the order is not sent",
            )
        if not proved:
            await self._prove(intent)
        return await self._place(intent, ())

    async def cancel(self, client_order_id: str, symbol: str) -> None:
        """Cancel an order. See ``ExchangePort.cancel``."""
        await self._cancel(client_order_id, symbol)

    def _check_permit(self, approved: Approved, intent: Intent) -> None:
        if not is_genuine(approved):
            raise InvalidPermitError(
                "PERMIT_NOT_GENUINE",
                f"the permit of {intent.client_order_id} for {intent.symbol} was not made by the "
                "governor of this process; the entry is not sent",
            )
        if self._checks.halted():
            raise InvalidPermitError("HALT_LATCHED", HALTED)
        now_ms = self._clock.now_ms()
        if now_ms >= approved.expires_at_ms:
            raise InvalidPermitError(
                "PERMIT_EXPIRED",
                f"permit {approved.permit_id} was valid until {show_utc(approved.expires_at_ms)}, "
                f"now it is {show_utc(now_ms)}; the entry is not sent; a later signal needs a new"
                " permit",
            )
        matches = {
            "role": intent.role is OrderRole.ENTRY and not intent.reduce_only,
            "symbol": intent.symbol == approved.symbol,
            "side": intent.side is approved.side.opening,
            "quantity": ZERO < intent.quantity <= approved.quantity_max,
            "permit_id": intent.permit_id == approved.permit_id,
        }
        wrong = [name for name, same in matches.items() if not same]
        if wrong:
            raise InvalidPermitError(
                "PERMIT_MISMATCH",
                f"{intent.client_order_id} for {intent.symbol} differs from permit "
                f"{approved.permit_id} in {', '.join(wrong)}; the order is not sent",
            )

    async def _prove(self, intent: Intent) -> None:
        """Check that ``intent`` reduces the venue's position, and journal the proof.

        Raises:
            InvalidPermitError: it does not.
            UnreachableError, RateLimitedError: as ``positions``.
            DiskFullError, CallTimeoutError, CallUnavailableError: the proof was not committed in
                time.
        """
        quantities = {p.symbol: p.quantity for p in await self.positions()}
        position = quantities.get(intent.symbol, ZERO)
        left = position + intent.side.sign * intent.quantity
        if position == ZERO or abs(left) > abs(position) or left * position < ZERO:
            raise InvalidPermitError(
                Deny.EXIT_INCREASES_EXPOSURE,
                f"{intent.client_order_id} for {intent.symbol} ({intent.side} "
                f"{intent.quantity} contracts) does not reduce the venue's position of {position} "
                "contracts; the order is not sent",
            )
        await self._checks.journal_proof(
            ReductionProved(
                at_ms=self._clock.now_ms(),
                cause_id=intent.cause_id,
                client_order_id=intent.client_order_id,
                symbol=intent.symbol,
                position=position,
                quantity=intent.quantity,
            )
        )


def _check_attached_stop(approved: Approved, intent: Intent, attached: tuple[Intent, ...]) -> None:
    """Check that all attached orders can only close, and one is the approved stop.

    Raises:
        InvalidPermitError: an order may do more, or no stop at the approved price covers the entry.
    """
    closing = approved.side.closing
    for order in attached:
        reducing = order.role in (OrderRole.STOP_LOSS, OrderRole.TAKE_PROFIT) and order.reduce_only
        if not reducing or order.symbol != intent.symbol or order.side is not closing:
            raise InvalidPermitError(
                "ATTACHED_NOT_REDUCING",
                f"{order.client_order_id} ({order.role}, {order.side} {order.symbol}, "
                f"reduce_only={order.reduce_only}) does not close {intent.client_order_id} "
                f"({approved.side} {intent.symbol}); the entry is not sent",
            )
    covered = any(
        order.role is OrderRole.STOP_LOSS
        and order.type is OrderType.STOP_MARKET
        and order.trigger_price == approved.stop_price
        and order.quantity >= intent.quantity
        for order in attached
    )
    if not covered:
        raise InvalidPermitError(
            "STOP_NOT_ATTACHED",
            f"no attached stop at {approved.stop_price} covers the {intent.quantity} contracts of "
            f"{intent.client_order_id} for {intent.symbol}; the entry is not sent",
        )
