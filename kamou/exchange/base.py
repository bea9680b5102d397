"""The exchange port: everything Kamou may ask of a venue, in Kamou's own types.

``ExchangePort`` is the interface that actors hold. ``GuardedPort`` is the base of every adapter:
its ``submit`` and ``reduce`` are final, for they hold the checks that no adapter may skip (a
genuine, committed, unused, matching permit; the halt latch; a stop with every entry; proof that
a reducing order reduces). Adapters write ``_place`` and ``_cancel``.
Errors are those of ``kamou.errors`` (``RejectedError``, ``UnknownOutcomeError``, ...).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Protocol, final

import attrs
import trio

from kamou.clock import Clock
from kamou.core.book.events import ReductionProved
from kamou.core.book.updates import VenueEvent
from kamou.core.codes import Deny
from kamou.core.market.bars import Bars as Bars
from kamou.core.market.bars import Series as Series
from kamou.core.model import (
    ZERO,
    Account,
    Fill,
    Income,
    Instrument,
    Intent,
    OrderRole,
    OrderType,
    Permissions,
    Quote,
    VenueOrder,
    VenuePosition,
    closing_side,
    opening_side,
)
from kamou.core.risk.verdict import Approved, is_genuine
from kamou.errors import InvalidPermitError


class PermitStore(Protocol):
    """What the port needs of the journal: the committed permit row, and to use it up."""

    async def consume(self, approved: Approved, client_order_id: str) -> None:
        """Commit that this permit is used by this order.

        Raises:
            InvalidPermitError: no committed row, it does not match, or it was used before.
        """
        ...


@attrs.frozen(kw_only=True)
class Capabilities:
    attached_stop: bool  # the entry may carry its stop and target
    open_interest: bool
    long_short_ratio: bool
    reduce_only: bool
    withdraw_check: bool
    mark_history: bool  # it lists past mark prices: ``marks_at``
    history_ms: int | None = None  # how far back it lists fills and income; None: all of them


class ExchangePort(Protocol):
    """Reads raise ``UnreachableError`` or ``RateLimitedError``; see each for the rest.

    All methods are cancellation points. A cancelled ``submit`` has an unknown outcome.
    """

    capabilities: Capabilities

    async def instruments(self) -> tuple[Instrument, ...]: ...

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        """Bars with ``since_ms <= open_ms`` and ``open_ms + period_ms <= until_ms``."""
        ...

    async def open_interest(self, since_ms: int, until_ms: int) -> Series: ...

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series: ...

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        """Best quotes now; a symbol without one is absent."""
        ...

    async def marks_at(self, symbols: tuple[str, ...], at_ms: int) -> dict[str, Decimal]:
        """Return the mark prices at an instant of the past; a symbol without one is absent.

        Called only where ``capabilities.mark_history`` is True. The future has no marks.
        """
        ...

    async def account(self) -> Account: ...

    async def positions(self) -> tuple[VenuePosition, ...]:
        """Open positions only."""
        ...

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        """Resting and untriggered conditional orders."""
        ...

    async def order(self, client_order_id: str) -> VenueOrder | None:
        """The order by client order id, terminal ones included; None when the venue knows none."""
        ...

    async def fills(self, since_ms: int) -> tuple[Fill, ...]:
        """Our trades with ``at_ms >= since_ms``, oldest first."""
        ...

    async def income(self, since_ms: int) -> tuple[Income, ...]: ...

    async def submit(
        self, approved: Approved, intent: Intent, attached: tuple[Intent, ...] = ()
    ) -> VenueOrder:
        """Send an entry, once, under its permit; ``attached`` stop and target go with it.

        Raises:
            InvalidPermitError: the permit is not genuine, committed, unused and matching.
            RejectedError: the venue said no.
            UnknownOutcomeError: query by client order id.
        """
        ...

    async def reduce(self, intent: Intent, *, proved: bool = False) -> VenueOrder:
        """Send a reduce-only order: stop, target or close. Never adds exposure.

        ``proved``: the governor already agreed that it reduces. Otherwise the port proves it
        against the venue's position and journals the proof.

        Raises:
            InvalidPermitError: it is not a reducing order, or it would add or reverse exposure.
            RejectedError: the venue said no.
            UnknownOutcomeError: query by client order id.
        """
        ...

    async def cancel(self, client_order_id: str, symbol: str) -> None:
        """Ask for cancellation. Cancelling what is already terminal is no error.

        Raises:
            RejectedError: ``ORDER_UNKNOWN``.
        """
        ...

    async def permissions(self) -> Permissions: ...

    async def server_time_ms(self) -> int: ...

    def events(self) -> trio.MemoryReceiveChannel[VenueEvent]:
        """The private stream. Lossy across restarts: reconciliation recovers what it missed."""
        ...


IsHalted = Callable[[], bool]
"""Whether the halt-latch file is set, or the governor halted. Read before every entry."""

JournalProof = Callable[[ReductionProved], Awaitable[None]]
"""Commits the port's own proof that an order only reduces."""


class GuardedPort(ABC):
    """What stands before every venue. An adapter inherits it and writes the hooks.

    ``submit`` and ``reduce`` may not be overridden: a subclass that tries does not load.
    """

    capabilities: Capabilities

    def __init__(
        self,
        *,
        clock: Clock,
        permits: PermitStore,
        halted: IsHalted,
        journal_proof: JournalProof,
    ) -> None:
        self._clock = clock
        self._permits = permits
        self._halted = halted
        self._journal_proof = journal_proof

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("submit", "reduce"):
            if name in cls.__dict__:
                raise TypeError(f"{cls.__name__} may not override {name}: it guards the venue")

    @abstractmethod
    async def positions(self) -> tuple[VenuePosition, ...]: ...

    @abstractmethod
    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> VenueOrder:
        """Send the order. Called only after every check passed."""

    @abstractmethod
    async def _cancel(self, client_order_id: str, symbol: str) -> None: ...

    @final
    async def submit(
        self, approved: Approved, intent: Intent, attached: tuple[Intent, ...] = ()
    ) -> VenueOrder:
        """Send an entry, once, under its permit. See ``ExchangePort.submit``.

        The permit is consumed, committed, *before* the order is sent: cancelled or crashed in
        between, it is used up and nothing was sent, which is the safe side.
        """
        self._refuse_unpermitted(approved, intent)
        if self.capabilities.attached_stop:
            _refuse_unprotected(approved, intent, attached)
        elif attached:
            raise InvalidPermitError("ATTACHED_UNSUPPORTED", "this venue takes no attached orders")
        await self._permits.consume(approved, intent.client_order_id)
        if self._halted():  # it may have been set while the permit was being committed
            raise InvalidPermitError(
                "HALT_LATCHED", "the halt latch or the governor's state: no new risk"
            )
        return await self._place(intent, attached)

    @final
    async def reduce(self, intent: Intent, *, proved: bool = False) -> VenueOrder:
        """Send a reduce-only order. See ``ExchangePort.reduce``."""
        if intent.role is OrderRole.ENTRY or not intent.reduce_only:
            raise InvalidPermitError("NOT_REDUCING", f"{intent.role.value} is not a reducing order")
        if not proved:
            await self._prove(intent)
        return await self._place(intent, ())

    async def cancel(self, client_order_id: str, symbol: str) -> None:
        """Ask for cancellation. Cancelling what is already terminal is no error."""
        await self._cancel(client_order_id, symbol)

    def _refuse_unpermitted(self, approved: Approved, intent: Intent) -> None:
        if not is_genuine(approved):
            raise InvalidPermitError("PERMIT_NOT_GENUINE", "not made by this process's governor")
        if self._halted():
            raise InvalidPermitError(
                "HALT_LATCHED", "the halt latch or the governor's state: no new risk"
            )
        if self._clock.now_ms() >= approved.expires_at_ms:
            raise InvalidPermitError("PERMIT_EXPIRED", f"expired at {approved.expires_at_ms}")
        matches = {
            "role": intent.role is OrderRole.ENTRY and not intent.reduce_only,
            "symbol": intent.symbol == approved.symbol,
            "side": intent.side is opening_side(approved.side),
            "quantity": ZERO < intent.quantity <= approved.quantity_max,
            "permit_id": intent.permit_id == approved.permit_id,
        }
        wrong = [name for name, same in matches.items() if not same]
        if wrong:
            raise InvalidPermitError("PERMIT_MISMATCH", f"order differs in {', '.join(wrong)}")

    async def _prove(self, intent: Intent) -> None:
        """Prove against the venue's own position that ``intent`` only reduces; journal it."""
        held = {p.symbol: p.quantity for p in await self.positions()}
        position = held.get(intent.symbol, ZERO)
        left = position + intent.side.sign * intent.quantity
        if position == ZERO or abs(left) > abs(position) or left * position < ZERO:
            raise InvalidPermitError(
                Deny.EXIT_INCREASES_EXPOSURE.value,
                f"position={position} order={intent.side.value} {intent.quantity}",
            )
        await self._journal_proof(
            ReductionProved(
                at_ms=self._clock.now_ms(),
                cause_id=intent.cause_id,
                client_order_id=intent.client_order_id,
                symbol=intent.symbol,
                position=position,
                quantity=intent.quantity,
            )
        )


def _refuse_unprotected(approved: Approved, intent: Intent, attached: tuple[Intent, ...]) -> None:
    """Refuse an entry whose attached orders are not its approved stop and reducing companions."""
    closing = closing_side(approved.side)
    for order in attached:
        reducing = order.role in (OrderRole.STOP_LOSS, OrderRole.TAKE_PROFIT) and order.reduce_only
        if not reducing or order.symbol != intent.symbol or order.side is not closing:
            raise InvalidPermitError(
                "ATTACHED_NOT_REDUCING", f"{order.client_order_id} could add risk"
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
            "STOP_NOT_ATTACHED", f"no attached stop at {approved.stop_price} covers the entry"
        )
