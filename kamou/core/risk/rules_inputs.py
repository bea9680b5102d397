"""Rules about a review's inputs: validity, age, reconciliation and clocks."""

from __future__ import annotations

from kamou.core.codes import Deny
from kamou.core.day import utc_day
from kamou.core.model import Denial
from kamou.core.risk.context import ReviewContext
from kamou.core.risk.denials import make_denial

CLOCK_SKEW_MS = 1_000  # if the clocks differ by more, the ages of quotes are wrong


def data_valid(c: ReviewContext) -> Denial | None:
    """Deny if an input is missing, not finite or not positive, or bid exceeds ask."""
    return make_denial(Deny.DATA_INVALID, what=",".join(c.bad_inputs)) if c.bad_inputs else None


def data_fresh(c: ReviewContext) -> Denial | None:
    """Deny if the quote is older than its age limit, or too far in the future.

    A quote may be up to ``CLOCK_SKEW_MS`` in the future. The rule ``data_valid`` denies a missing
    quote.
    """
    if c.quote is None:
        return None
    age_ms = c.now_ms - c.quote.at_ms
    limit_ms = c.limits.quote_age_max_s * 1000
    if -CLOCK_SKEW_MS <= age_ms <= limit_ms:
        return None
    return make_denial(Deny.DATA_STALE, age_ms=age_ms, limit_ms=limit_ms)


def clocks_agree(c: ReviewContext) -> Denial | None:
    """Deny if the clocks of venue and machine differ by more than ``CLOCK_SKEW_MS``."""
    if abs(c.clock_offset_ms) <= CLOCK_SKEW_MS:
        return None
    return make_denial(Deny.CLOCK_SKEWED, offset_ms=c.clock_offset_ms, limit_ms=CLOCK_SKEW_MS)


def account_fresh(c: ReviewContext) -> Denial | None:
    """Deny if the account read is missing or too old, or the equity may lack a change."""
    limit_ms = c.limits.account_age_max_s * 1000
    if c.account is None:
        return make_denial(Deny.ACCOUNT_STALE, age_ms="never", limit_ms=limit_ms)
    age_ms = c.now_ms - c.account.at_ms
    if age_ms > limit_ms:
        return make_denial(Deny.ACCOUNT_STALE, age_ms=age_ms, limit_ms=limit_ms)
    if c.account.wallet_balance.is_finite() and c.now.unknown is not None:
        return make_denial(Deny.ACCOUNT_STALE, age_ms=age_ms, unknown=c.now.unknown)
    return None


def marks_fresh(c: ReviewContext) -> Denial | None:
    """Deny if an open position has no sound mark within the age limit."""
    limit_ms = c.limits.quote_age_max_s * 1000
    for symbol in sorted(c.book.trades.open):
        quote = c.marks.get(symbol)
        if quote is None or not quote.sound:
            return make_denial(Deny.MARK_STALE, symbol=symbol, age_ms="none", limit_ms=limit_ms)
        age_ms = c.now_ms - quote.at_ms
        if age_ms > limit_ms:
            return make_denial(Deny.MARK_STALE, symbol=symbol, age_ms=age_ms, limit_ms=limit_ms)
    return None


def reconciled(c: ReviewContext) -> Denial | None:
    """Deny if book and venue have not agreed lately, or the UTC day is not open.

    Lately means within ``risk.account_age_max_s``.
    """
    if not c.reconciled:
        return make_denial(
            Deny.NOT_RECONCILED,
            reason="no reconciliation since the start, or the last one disagreed",
        )
    if c.book.reconciliation.drifting:
        return make_denial(Deny.NOT_RECONCILED, drift=",".join(sorted(c.book.reconciliation.drift)))
    age_ms = c.now_ms - c.book.reconciliation.clean_at_ms
    if age_ms > c.limits.account_age_max_s * 1000:
        return make_denial(Deny.NOT_RECONCILED, age_ms=age_ms)
    today = utc_day(c.now_ms)
    if c.book.day.utc_day != today:
        return make_denial(Deny.NOT_RECONCILED, day=c.book.day.utc_day or "none", today=today)
    return None
