"""Messages between the order manager, the risk governor and the reconciler."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.decision_events import GovernorRead
from kamou.core.book.updates import VenueEvent
from kamou.core.model import Account, Intent, Plan, PositionReport, Quote
from kamou.core.risk.midnight_equity import MidnightMarks
from kamou.core.risk.verdict import Verdict
from kamou.messages.envelope import Message
from kamou.messages.governor import (
    ChangeGate,
    DiskFull,
    Flatten,
    Halt,
    ProtectionFailed,
    Resume,
    StateNotice,
)
from kamou.messages.signals import SignalsRefined


@attrs.frozen(kw_only=True)
class ReviewEntry(Message):
    """A call to review an entry's plan; the answer is ``Reviewed``."""

    plan: Plan
    quote: Quote
    marks: tuple[Quote, ...] = ()  # of the open positions that the venue quoted for this review
    funding_rate: Decimal | None = None  # settled last, per interval; None: not known


@attrs.frozen(kw_only=True)
class Reviewed:
    """The answer to ``ReviewEntry``: the verdict, and the governor's figures for it."""

    verdict: Verdict
    read: GovernorRead


@attrs.frozen(kw_only=True)
class ReviewReduction(Message):
    """A call to review this reducing order.

    The answer is a ``Denial`` if the order, with exits in flight, would do more than reduce the
    position; else None.
    """

    intent: Intent


@attrs.frozen(kw_only=True)
class VenueObserved(Message):
    """The venue's reports of one reconciliation, as inputs of the governor."""

    account: Account
    positions: tuple[PositionReport, ...]
    reconciled: bool  # book and venue agreed, and the listed instruments are valid
    explained: bool = True  # fills and income explain the change of the wallet balance
    marks_at_ms: int | None = None  # of the oldest mark of a position; None: no position
    clock_offset_ms: int = 0  # the venue's clock less Kamou's, as far as it is certain
    midnights: tuple[MidnightMarks, ...] = ()  # missed ones, until the day has opened


@attrs.frozen(kw_only=True)
class ProtectPosition(Message):
    """A command to protect this symbol's position, whose stop is missing or wrong."""

    symbol: str
    reason: str


@attrs.frozen(kw_only=True)
class CancelOrphanOrder(Message):
    """A command to cancel this orphan order, which the reconciler found."""

    symbol: str
    client_order_id: str
    reason: str


@attrs.frozen(kw_only=True)
class ResolveOrder(Message):
    """A command to query this order, which the venue does not list."""

    client_order_id: str


@attrs.frozen(kw_only=True)
class ReconcileNow(Message):
    """A command to reconcile before the next cycle.

    It is sent if the private stream may have lost updates, or if a decision needs new figures.
    """


ReconcilerCommand = ProtectPosition | CancelOrphanOrder | ResolveOrder
"""Commands that the reconciler sends to the order manager."""

OrderMessage = VenueEvent | ReconcilerCommand | SignalsRefined | StateNotice
"""Messages that the order manager handles."""

GovernorMessage = VenueObserved | Halt | Flatten | Resume | DiskFull | ProtectionFailed | ChangeGate
"""Messages that the risk governor handles; it also answers the calls ``ReviewEntry`` and
``ReviewReduction``."""
