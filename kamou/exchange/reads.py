"""The reads of an exchange port, and a base class for wrappers of them.

A ``VenueQuery`` is one read as a value. A wrapper is a ``QueriedReads``: it has every read of
``VenueReads`` and passes each to its one method ``read``. So a class that adds a deadline or a
fault to every read needs one method only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Generic, Protocol, TypeVar

import attrs

from kamou.core.market.bars import Bars, Series
from kamou.core.market.flow import FlowWindows
from kamou.core.model import (
    Account,
    FillReport,
    Income,
    Instrument,
    OrderReport,
    Permissions,
    PositionReport,
    Quote,
)

T = TypeVar("T")


class VenueReads(Protocol):
    """The reads of one account at one venue.

    Every read is a cancellation point and may raise ``UnreachableError`` or ``RateLimitedError``.
    """

    async def instruments(self) -> tuple[Instrument, ...]: ...

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        """Return the closed bars that lie within ``[since_ms, until_ms]``, oldest first."""
        ...

    async def open_interest(self, since_ms: int, until_ms: int) -> Series: ...

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series: ...

    async def long_short_ratios(self, since_ms: int, until_ms: int) -> Series: ...

    async def premium_index(self, since_ms: int, until_ms: int) -> Series:
        """Return the premium indices that became available in ``(since_ms, until_ms]``.

        They are fractions of the index price.
        """
        ...

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        """Return the order flow of the windows that ended in ``(since_ms, until_ms]``."""
        ...

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        """Return the present best quotes; a symbol without a quote is absent."""
        ...

    async def marks_at(self, symbols: tuple[str, ...], at_ms: int) -> dict[str, Decimal]:
        """Return the mark prices at a past instant; a symbol without one is absent.

        Callers use it only if ``capabilities.mark_history`` is True. A future instant has no marks.
        """
        ...

    async def account(self) -> Account: ...

    async def positions(self) -> tuple[PositionReport, ...]:
        """Return the open positions."""
        ...

    async def open_orders(self) -> tuple[OrderReport, ...]:
        """Return resting orders and conditional orders that have not triggered."""
        ...

    async def order(self, client_order_id: str) -> OrderReport | None:
        """Return the order, terminal or not; None if the venue has no order of this id."""
        ...

    async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        """Return the account's fills with ``at_ms >= since_ms``, oldest first."""
        ...

    async def income(self, since_ms: int) -> tuple[Income, ...]: ...

    async def permissions(self) -> Permissions: ...

    async def server_time_ms(self) -> int: ...


class FlowSource(Protocol):
    """The read of the order flow of windows, a port's or that of gathered windows."""

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows: ...


@attrs.frozen
class VenueQuery(Generic[T]):
    """One read as a value. Queries with equal names and arguments are equal."""

    name: str  # name of the method of ``VenueReads``
    arguments: tuple[object, ...]
    ask: Callable[[VenueReads], Awaitable[T]] = attrs.field(eq=False, repr=False)


class QueriedReads(ABC):
    """All reads of ``VenueReads``, each through the one method ``read``."""

    @abstractmethod
    async def read(self, query: VenueQuery[T]) -> T:
        """Return the answer of one query, for example ``await query.ask(another_port)``."""

    async def instruments(self) -> tuple[Instrument, ...]:
        return await self.read(VenueQuery("instruments", (), lambda venue: venue.instruments()))

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Bars:
        return await self.read(
            VenueQuery(
                "bars",
                (period_ms, since_ms, until_ms),
                lambda venue: venue.bars(period_ms, since_ms, until_ms),
            )
        )

    async def open_interest(self, since_ms: int, until_ms: int) -> Series:
        return await self.read(
            VenueQuery(
                "open_interest",
                (since_ms, until_ms),
                lambda venue: venue.open_interest(since_ms, until_ms),
            )
        )

    async def funding_rates(self, since_ms: int, until_ms: int) -> Series:
        return await self.read(
            VenueQuery(
                "funding_rates",
                (since_ms, until_ms),
                lambda venue: venue.funding_rates(since_ms, until_ms),
            )
        )

    async def long_short_ratios(self, since_ms: int, until_ms: int) -> Series:
        return await self.read(
            VenueQuery(
                "long_short_ratios",
                (since_ms, until_ms),
                lambda venue: venue.long_short_ratios(since_ms, until_ms),
            )
        )

    async def premium_index(self, since_ms: int, until_ms: int) -> Series:
        return await self.read(
            VenueQuery(
                "premium_index",
                (since_ms, until_ms),
                lambda venue: venue.premium_index(since_ms, until_ms),
            )
        )

    async def flow_windows(self, since_ms: int, until_ms: int) -> FlowWindows:
        return await self.read(
            VenueQuery(
                "flow_windows",
                (since_ms, until_ms),
                lambda venue: venue.flow_windows(since_ms, until_ms),
            )
        )

    async def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        return await self.read(
            VenueQuery("quotes", (symbols,), lambda venue: venue.quotes(symbols))
        )

    async def marks_at(self, symbols: tuple[str, ...], at_ms: int) -> dict[str, Decimal]:
        return await self.read(
            VenueQuery("marks_at", (symbols, at_ms), lambda venue: venue.marks_at(symbols, at_ms))
        )

    async def account(self) -> Account:
        return await self.read(VenueQuery("account", (), lambda venue: venue.account()))

    async def positions(self) -> tuple[PositionReport, ...]:
        return await self.read(VenueQuery("positions", (), lambda venue: venue.positions()))

    async def open_orders(self) -> tuple[OrderReport, ...]:
        return await self.read(VenueQuery("open_orders", (), lambda venue: venue.open_orders()))

    async def order(self, client_order_id: str) -> OrderReport | None:
        return await self.read(
            VenueQuery("order", (client_order_id,), lambda venue: venue.order(client_order_id))
        )

    async def fills(self, since_ms: int) -> tuple[FillReport, ...]:
        return await self.read(
            VenueQuery("fills", (since_ms,), lambda venue: venue.fills(since_ms))
        )

    async def income(self, since_ms: int) -> tuple[Income, ...]:
        return await self.read(
            VenueQuery("income", (since_ms,), lambda venue: venue.income(since_ms))
        )

    async def permissions(self) -> Permissions:
        return await self.read(VenueQuery("permissions", (), lambda venue: venue.permissions()))

    async def server_time_ms(self) -> int:
        return await self.read(
            VenueQuery("server_time_ms", (), lambda venue: venue.server_time_ms())
        )
