"""What reconciliation looks at, and what it answers. Values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from kamou.core.book.events import DriftFound, Event, InstrumentChanged
from kamou.core.model import (
    Account,
    Figure,
    Fill,
    Income,
    Instrument,
    VenueOrder,
    VenuePosition,
)
from kamou.core.reconciliation.protection import CancelOrder
from kamou.core.risk.limits import CostModel, RiskLimits


@attrs.frozen(kw_only=True)
class ReconcileSettings:
    """How long a difference may be mere lateness."""

    in_flight_ms: int = 5_000  # an order or fill younger than this may not show everywhere yet
    pending_mismatch_ms: int = 20_000  # fills that the venue does not list: then they are inferred
    unassigned_ms: int = 60_000  # the position of a fill of no trade is looked for again so long
    # Of the wallet balance. A change of it that nothing explains is below what any limit feels.
    balance_tolerance: Decimal = Decimal("0.001")


def marks_of(positions: Iterable[VenuePosition]) -> tuple[Figure, ...]:
    """Return the marks of what is held, in order of their symbols."""
    held = {p.symbol: p.mark_price for p in positions if p.quantity}
    return tuple(Figure(name=symbol, value=f"{held[symbol]:f}") for symbol in sorted(held))


def certain_offset_ms(asked_ms: int, venue_ms: int, heard_ms: int) -> int:
    """The venue's clock less ours, less what the round trip leaves in doubt (Cristian, 1989).

    The venue read its clock at some time between our asking and our hearing.
    """
    if venue_ms > heard_ms:
        return venue_ms - heard_ms
    return min(0, venue_ms - asked_ms)


Doubt = tuple[str, Decimal]
"""What one look reported and is not believed yet: a symbol, and the smaller quantity that is said
to be held though nothing explains it, or the one that fills of no trade opened and no list shows; a
stop that the book does not know and that seems to protect nothing, by its client order id and
quantity; or ``NO_SYMBOL``, and the change of the wallet balance that nothing explains."""

NO_SYMBOL = ""  # no symbol and no client order id


@attrs.frozen(kw_only=True)
class VenueView:
    """One look at the venue. ``fills`` must be read after ``positions``.

    Fills and income from ``book.fills_since_ms()`` on. A query that failed makes no view.
    """

    account: Account
    positions: tuple[VenuePosition, ...]
    open_orders: tuple[VenueOrder, ...]
    fills: tuple[Fill, ...]
    income: tuple[Income, ...]
    at_ms: int  # when the first read began
    clock_offset_ms: int = 0  # the venue's clock less ours, as far as it is certain
    queried: tuple[VenueOrder, ...] = ()  # orders asked for by client order id


@attrs.frozen(kw_only=True)
class Reconciliation:
    """What one look leads to. Commit ``events`` in order, then do the rest."""

    repairs: tuple[Event, ...]
    marks: tuple[Event, ...]  # equity, the cycle's end; empty when this cycle was closed before
    protect: tuple[str, ...]  # symbols that need their stop seen to
    orphan_orders: tuple[CancelOrder, ...]  # orders of ours that should not rest
    resolve: tuple[str, ...]  # client order ids to query
    mismatches: tuple[DriftFound, ...]
    deferred: tuple[str, ...]  # symbols in motion, or in doubt: judged next time
    doubts: Mapping[Doubt, int] = attrs.field(factory=dict)  # and since when: ask again with them

    @property
    def money_explained(self) -> bool:
        """The wallet balance changed by what fills and income say, or has done so for a while."""
        return all(name != NO_SYMBOL for name, _ in self.doubts)

    @property
    def events(self) -> tuple[Event, ...]:
        return self.repairs + self.marks

    @property
    def drift(self) -> bool:
        """The venue's quantities were not ours, and no fill explains it."""
        return bool(self.mismatches)

    @property
    def agreed(self) -> bool:
        """Book and venue agree: new risk may be taken."""
        return not self.mismatches and not self.deferred and not self.doubts


@attrs.frozen(kw_only=True)
class Terms:
    """What reconciliation needs to know besides book and venue."""

    instruments: Mapping[str, Instrument]
    limits: RiskLimits
    costs: CostModel
    settings: ReconcileSettings = ReconcileSettings()
    marks: Mapping[str, Decimal] = attrs.field(factory=dict)  # for symbols without a position
    atrs: Mapping[str, Decimal] = attrs.field(factory=dict)
    doubts: Mapping[Doubt, int] = attrs.field(factory=dict)  # of the look before, since when
    mark_due: bool = False  # equity is to be journalled, whether a cycle ends or not


def changes(
    known: Mapping[str, Instrument], listed: Iterable[Instrument], at_ms: int
) -> tuple[InstrumentChanged, ...]:
    """What the venue tells of its instruments that is news, field by field."""
    return tuple(
        InstrumentChanged(
            at_ms=at_ms, cause_id=each.symbol, symbol=each.symbol, figures=_news(before, each)
        )
        for each in listed
        if (before := known.get(each.symbol)) is not None and before != each
    )


def _news(before: Instrument, after: Instrument) -> tuple[Figure, ...]:
    old, new = attrs.asdict(before), attrs.asdict(after)
    return tuple(
        Figure(name=name, value=f"{old[name]} -> {new[name]}")
        for name in old
        if old[name] != new[name]
    )
