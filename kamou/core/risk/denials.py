"""Functions that make denials: of any code, a bad quote or a missing review."""

from __future__ import annotations

from kamou.core.codes import Deny
from kamou.core.model import Denial, Figure, Quote


def make_denial(code: Deny, **figures: object) -> Denial:
    """Return a denial with its figures as text."""
    shown = tuple(Figure(name=name, value=str(value)) for name, value in figures.items())
    return Denial(code=code.value, figures=shown)


def deny_unusable_quote(quote: Quote | None) -> Denial:
    """Return the denial of a candidate whose quote is missing or unsound."""
    if quote is None:
        return make_denial(Deny.PRICE_MARK_MISSING, mark="no quote")
    return make_denial(
        Deny.DATA_INVALID, what="quote", bid=quote.bid, ask=quote.ask, mark=quote.mark
    )


def deny_unreviewed(timeout_s: float, why: str) -> Denial:
    """Return the denial of an entry that the governor did not review.

    The governor was not running, ended during the review, had a full mailbox or did not answer
    within ``timeout_s`` seconds. ``why`` says which.
    """
    return make_denial(Deny.GOVERNOR_TIMEOUT, timeout_s=f"{timeout_s:g}", why=why)
