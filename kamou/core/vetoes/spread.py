"""Veto of candidates whose spread is wider than ``veto.spread_max_bps``."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import BPS_PER_UNIT, Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose spread, as a share of mid, is above its maximum.

    Without a quote the veto ``staleness`` stops the candidate.
    """
    quote = context.quotes.get(candidate.symbol)
    maximum = context.limits.spread_max_bps
    if quote is None or quote.spread * BPS_PER_UNIT <= maximum * quote.mid:
        return None
    return make_veto(
        Veto.SPREAD_WIDE,
        spread_bps=float(quote.spread / quote.mid * BPS_PER_UNIT),
        maximum_bps=maximum,
    )
