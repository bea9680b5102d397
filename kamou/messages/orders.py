"""Messages between the order manager, the risk governor and the reconciler."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.model import Account, Intent, Plan, PositionReport, Quote
from kamou.core.risk.midnight_equity import MidnightMarks
from kamou.messages.envelope import Message


@attrs.frozen(kw_only=True)
class ReviewEntry(Message):
    """A call: review this plan of an entry. The answer is ``Approved`` or ``Denied``."""

    plan: Plan
    quote: Quote
    marks: tuple[Quote, ...] = ()  # of all open positions, read for this review
    funding_rate: Decimal | None = None  # settled last, per interval; None: not known


@attrs.frozen(kw_only=True)
class ReviewReduction(Message):
    """A call: review this reducing order. The answer is a Denial if it would not only reduce."""

    intent: Intent


@attrs.frozen(kw_only=True)
class VenueObserved(Message):
    """The venue's reports in one reconciliation: inputs of the governor, with their times."""

    account: Account
    positions: tuple[PositionReport, ...]
    reconciled: bool
    explained: bool = True  # fills and income say why the wallet balance changed
    marks_at_ms: int | None = None  # of the oldest mark of a position; None: no position
    clock_offset_ms: int = 0  # the venue's clock less ours, as far as it is certain
    midnights: tuple[MidnightMarks, ...] = ()  # missed ones, until the day has opened


@attrs.frozen(kw_only=True)
class ProtectPosition(Message):
    """A command: protect this symbol's position, which has no proper stop."""

    symbol: str
    reason: str


@attrs.frozen(kw_only=True)
class CancelOrphanOrder(Message):
    """A command: cancel this orphan order, which the reconciler found at the venue."""

    symbol: str
    client_order_id: str
    reason: str


@attrs.frozen(kw_only=True)
class ResolveOrder(Message):
    """A command: query this order, which the venue does not list, by client order id."""

    client_order_id: str


@attrs.frozen(kw_only=True)
class ReconcileNow(Message):
    """A command: reconcile before the next cycle, because the stream may have missed something."""
