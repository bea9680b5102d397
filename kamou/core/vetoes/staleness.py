"""Veto of candidates whose bar or quote is too old, or that have no quote."""

from __future__ import annotations

import math

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose bar or quote is too old, or that has no quote."""
    bar_age_ms = context.now_ms - candidate.bar_closed_at_ms
    bar_age_max_ms = context.limits.bar_periods_max * context.period_ms
    quote = context.quotes.get(candidate.symbol)
    quote_age_ms = math.inf if quote is None else context.now_ms - quote.at_ms
    quote_age_max_ms = 1000 * context.parameters.limits.quote_age_max_s
    if bar_age_ms <= bar_age_max_ms and quote_age_ms <= quote_age_max_ms:
        return None
    return make_veto(
        Veto.DATA_STALE,
        bar_age_ms=bar_age_ms,
        bar_age_max_ms=bar_age_max_ms,
        quote_age_ms=quote_age_ms,  # inf: there is no quote
        quote_age_max_ms=quote_age_max_ms,
    )
