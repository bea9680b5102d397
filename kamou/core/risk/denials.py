"""Functions that make denials, and what the journal records of them."""

from __future__ import annotations

from kamou.core.book.candidate_events import DeniedEntry
from kamou.core.book.events import PermitDenied
from kamou.core.codes import Deny
from kamou.core.model import Candidate, Denial, Figure, Intent, OrderRole, Plan, Quote
from kamou.ids import make_permit_id


def make_denial(code: Deny, **figures: object) -> Denial:
    """Return a denial with its figures as text."""
    shown = tuple(Figure(name=name, value=str(value)) for name, value in figures.items())
    return Denial(code=code, figures=shown)


def deny_unusable_quote(quote: Quote | None) -> Denial:
    """Return the denial of a candidate whose quote is missing or unsound."""
    if quote is None:
        return make_denial(Deny.PRICE_MARK_MISSING, mark="no quote")
    return make_denial(
        Deny.DATA_INVALID, what="quote", bid=quote.bid, ask=quote.ask, mark=quote.mark
    )


def deny_without_grant(strategy: str, granted: str) -> Denial:
    """Return the denial of a strategy to which the gate has not granted trading.

    ``granted`` is the strategy of the grant at hand, or "none".
    """
    return make_denial(Deny.STRATEGY_NOT_LIVE, strategy=strategy, granted=granted)


def deny_unreviewed(timeout_s: float, why: str) -> Denial:
    """Return the denial of an entry that the governor did not review.

    The governor was not running, ended during the review, had a full mailbox or did not answer
    within ``timeout_s`` seconds. ``why`` says in words which.
    """
    return make_denial(Deny.GOVERNOR_TIMEOUT, timeout_s=f"{timeout_s:g}", why=why)


def deny_candidate(candidate: Candidate, attempt: int, denial: Denial, at_ms: int) -> DeniedEntry:
    """Return the denial of a candidate before the governor has reviewed a plan of it."""
    return DeniedEntry(
        at_ms=at_ms,
        permit_id=make_permit_id(candidate.signal_id, attempt),
        signal_id=candidate.signal_id,
        strategy=candidate.strategy,
        symbol=candidate.symbol,
        denials=(denial,),
    )


def deny_plan(plan: Plan, denials: tuple[Denial, ...], at_ms: int) -> PermitDenied:
    """Return the event of a plan that rules deny, or that the governor did not review."""
    return PermitDenied(
        at_ms=at_ms,
        cause_id=plan.signal_id,
        permit_id=plan.permit_id,
        signal_id=plan.signal_id,
        strategy=plan.strategy,
        symbol=plan.symbol,
        role=OrderRole.ENTRY,
        denials=denials,
    )


def deny_intent(intent: Intent, denial: Denial, at_ms: int) -> PermitDenied:
    """Return the event of a reducing order that is denied.

    Such an order has no permit, and its trade id replaces the signal id.
    """
    return PermitDenied(
        at_ms=at_ms,
        cause_id=intent.trade_id,
        permit_id="",
        signal_id=intent.trade_id,
        strategy="",
        symbol=intent.symbol,
        role=intent.role,
        denials=(denial,),
    )
