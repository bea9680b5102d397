"""Inputs and result of one reconciliation; clock offset and contract changes.

The inputs are a view of the venue (``VenueView``), and parameters and settings
(``ReconcileInputs``). ``certain_offset_ms`` compares the clocks, ``instrument_changes`` compares
contract specifications, and ``marks_of`` lists mark prices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.core.book.events import DriftFound, Event
from kamou.core.book.instrument_events import InstrumentChanged
from kamou.core.model import (
    Account,
    Figure,
    FillReport,
    Income,
    Instrument,
    OrderReport,
    PositionReport,
)
from kamou.core.reconciliation.protection import CancelOrder
from kamou.core.risk.limits import RiskLimits, TradingParameters


@attrs.frozen(kw_only=True)
class ReconcileSettings:
    """Waiting times and tolerance for differences that a later list may explain."""

    in_flight_ms: int = 5_000  # the venue's lists may omit an order or fill that is newer
    pending_mismatch_ms: int = 20_000  # a mismatch that lasts longer is drift and is repaired
    unassigned_ms: int = 60_000  # waiting time for the position of a fill without a trade
    # Fraction of the wallet balance. A smaller unexplained change does not count.
    balance_tolerance: Decimal = Decimal("0.001")


def marks_of(positions: Iterable[PositionReport]) -> tuple[Figure, ...]:
    """Return the mark prices of open positions as figures, sorted by symbol."""
    held = {p.symbol: p.mark_price for p in positions if p.quantity}
    return tuple(Figure(name=symbol, value=f"{held[symbol]:f}") for symbol in sorted(held))


def certain_offset_ms(request_at_ms: int, venue_ms: int, response_at_ms: int) -> int:
    """Return the certain part of the venue's clock offset, in ms (Cristian, 1989).

    The offset is the venue's clock less this machine's. The venue read its clock between request
    and response, so the offset is known up to the round trip. The certain part is 0 if the round
    trip may explain the whole offset.

    Args:
        request_at_ms: time of the request, by this machine's clock.
        venue_ms: the venue's time in the response.
        response_at_ms: time of the response, by this machine's clock.
    """
    if venue_ms > response_at_ms:
        return venue_ms - response_at_ms
    return min(0, venue_ms - request_at_ms)


PendingMismatch = tuple[str, Decimal]
"""A pending mismatch. It is one of:

- a symbol, and the smaller quantity that the venue reports without an explaining fill;
- a symbol, and the quantity that fills without a trade opened and the venue does not list;
- the client order id and quantity of a reduce-only order that the book does not have and that may
  protect a position;
- ``NO_SYMBOL``, and the unexplained change of the wallet balance.
"""

NO_SYMBOL = ""  # in place of a symbol in the pending mismatch of the wallet balance


@attrs.frozen(kw_only=True)
class VenueView:
    """One read of the venue. ``fills`` must be read after ``positions``.

    Fills and income are those since ``BookState.fills_since_ms``. If a query fails, there is no
    view.
    """

    account: Account
    positions: tuple[PositionReport, ...]
    open_orders: tuple[OrderReport, ...]
    fills: tuple[FillReport, ...]
    income: tuple[Income, ...]
    at_ms: int  # start of the first read, by this machine's clock
    clock_offset_ms: int = 0  # venue's clock less this machine's, the part that is certain
    queried: tuple[OrderReport, ...] = ()  # orders queried by client order id


@attrs.frozen(kw_only=True)
class Reconciliation:
    """Result of one reconciliation. Commit ``events``, then act on the other fields."""

    repairs: tuple[Event, ...]
    marks: tuple[Event, ...]  # explained drift, equity snapshot and cycle's end, if due
    # Symbols whose stop is missing, wrong, doubled or awaited, or whose exit is awaited.
    protect: tuple[str, ...]
    orphan_orders: tuple[CancelOrder, ...]  # Kamou's resting orders to cancel
    resolve: tuple[str, ...]  # client order ids to query
    mismatches: tuple[DriftFound, ...]  # differences that are drift; repaired if possible
    deferred: tuple[str, ...]  # symbols with a difference that a later list may explain
    # Pending mismatches, with the time since which each is pending, for the next reconciliation.
    pending_mismatches: Mapping[PendingMismatch, int] = attrs.field(factory=dict)

    @property
    def money_explained(self) -> bool:
        """True unless an unexplained change of the wallet balance is pending."""
        return all(name != NO_SYMBOL for name, _ in self.pending_mismatches)

    @property
    def events(self) -> tuple[Event, ...]:
        """Events to commit, in order."""
        return self.repairs + self.marks

    @property
    def drift(self) -> bool:
        """True if a position differs from the venue's and the difference is not deferred."""
        return bool(self.mismatches)

    @property
    def agreed(self) -> bool:
        """True if book and venue agree, so that entries are allowed."""
        return not self.mismatches and not self.deferred and not self.pending_mismatches


@attrs.frozen(kw_only=True)
class ReconcileInputs:
    """Parameters, settings and earlier findings of one reconciliation."""

    parameters: TradingParameters
    settings: ReconcileSettings = ReconcileSettings()
    marks: Mapping[str, Decimal] = attrs.field(factory=dict)  # marks of unlisted positions
    atrs: Mapping[str, Decimal] = attrs.field(factory=dict)  # average true range, by symbol
    # Those of the previous reconciliation, with the time since which each is pending.
    pending_mismatches: Mapping[PendingMismatch, int] = attrs.field(factory=dict)
    mark_due: bool = False  # True: record an equity snapshot even if no cycle ends

    @property
    def limits(self) -> RiskLimits:
        """Risk limits of ``parameters``."""
        return self.parameters.limits


def instrument_changes(
    known: Mapping[str, Instrument], listed: Iterable[Instrument], at_ms: int
) -> tuple[InstrumentChanged, ...]:
    """Return an event for each listed instrument that is new or has changed."""
    return tuple(
        InstrumentChanged(
            at_ms=at_ms,
            cause_id=each.symbol,
            instrument=each,
            figures=_compare(known.get(each.symbol), each),
        )
        for each in listed
        if known.get(each.symbol) != each
    )


def _compare(before: Instrument | None, after: Instrument) -> tuple[Figure, ...]:
    if before is None:
        return ()
    old, new = attrs.asdict(before), attrs.asdict(after)
    return tuple(
        Figure(name=name, value=f"{old[name]} -> {new[name]}")
        for name in old
        if old[name] != new[name]
    )
