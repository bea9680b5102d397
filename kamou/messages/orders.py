"""Between order manager, governor and reconciler."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.model import Account, Intent, Plan, Quote, VenuePosition
from kamou.core.risk.midnights import MidnightMarks
from kamou.messages.envelope import Message


@attrs.frozen(kw_only=True)
class ReviewEntry(Message):
    """May this plan become an order? Answered by ``Approved`` or ``Denied``."""

    plan: Plan
    quote: Quote
    marks: tuple[Quote, ...] = ()  # of everything that is held, read for this review
    funding_rate: Decimal | None = None  # settled last, per interval; None: not known


@attrs.frozen(kw_only=True)
class ReviewReduction(Message):
    """May this reducing order go? Denied only for increasing or reversing exposure."""

    intent: Intent


@attrs.frozen(kw_only=True)
class VenueObserved(Message):
    """What the venue said in one reconciliation: the governor's inputs, with their age."""

    account: Account
    positions: tuple[VenuePosition, ...]
    reconciled: bool
    explained: bool = True  # fills and income say why the wallet balance changed
    marks_at_ms: int | None = None  # of the oldest mark of what is held; None: nothing is
    clock_offset_ms: int = 0  # the venue's clock less ours, as far as it is certain
    midnights: tuple[MidnightMarks, ...] = ()  # until the day has opened: each one missed


@attrs.frozen(kw_only=True)
class ProtectPosition(Message):
    """The reconciler found this symbol's position without a proper stop."""

    symbol: str
    reason: str


@attrs.frozen(kw_only=True)
class CancelOrphanOrder(Message):
    """The reconciler found an order of ours that should not rest."""

    symbol: str
    client_order_id: str
    reason: str


@attrs.frozen(kw_only=True)
class ResolveOrder(Message):
    """The reconciler does not see this order at the venue: ask after it by client order id."""

    client_order_id: str


@attrs.frozen(kw_only=True)
class ReconcileNow(Message):
    """Something happened at the venue that the stream did not tell: do not wait for the cycle."""
