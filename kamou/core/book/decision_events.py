"""Event ``EntriesDecided``: inputs of entry decisions that no earlier event has.

With it, each plan and each verdict can be computed again from the journal alone. The inputs are
named tuples, which the codec writes as arrays, because field names would be most of the bytes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import attrs

from kamou.core.book.events import Event


class QuoteRead(NamedTuple):
    """The quote of a plan's own symbol."""

    bid: Decimal
    ask: Decimal
    mark: Decimal
    age_ms: int  # at the plan's time, by the venue's clock


class AccountRead(NamedTuple):
    """Figures of an account read. Money is text, because a venue may report NaN."""

    equity: str
    wallet_balance: str
    unrealized_pnl: str
    margin_used: str


class GovernorRead(NamedTuple):
    """Inputs of the governor's review that are neither in its book nor in the plan."""

    seq: int  # of the newest event in the governor's book
    at_ms: int
    tokens: float  # messages to the venue that might be sent at ``at_ms``
    reconciled: bool  # the newest reconciliation of the process agreed
    clock_offset_ms: int  # venue's clock less this machine's, the part that is certain
    account_age_ms: int | None  # age of the newest account read; None: no read
    account: AccountRead | None  # None: as in the book's newest equity snapshot, or no read
    held: tuple[str, ...] | None  # symbols with a position at the venue; None: the book's trades


class EntryDecision(NamedTuple):
    """Inputs of one plan, and of its review if the governor answered one."""

    signal_id: str  # of its candidate, which is in ``CandidatesRefined``
    seq: int  # of the newest event in the order manager's book
    at_ms: int
    quote: QuoteRead
    # Marks of the book's trades, sorted by symbol. None: no sound quote. If ``marks`` and
    # ``ages_ms`` are empty and the book has trades, the previous decision's marks hold.
    marks: tuple[Decimal | None, ...]
    ages_ms: tuple[int, ...]  # of the marks at ``at_ms``; one number: of all marks
    funding_rate: Decimal | None  # fraction of notional per funding interval; None: not known
    grant: Decimal | None  # share of the full size that the gate grants; None: no grant
    review: GovernorRead | None  # None: no review was answered


@attrs.frozen(kw_only=True)
class EntriesDecided(Event):
    """Inputs of a cycle's entry decisions, in order.

    If a permit is granted, the event is committed with the intents of its entry. The later
    decisions of the cycle are in another event.
    """

    decisions: tuple[EntryDecision, ...]
