"""Veto of candidates with too little to take at the best price.

The limit is ``veto.depth_min``.
"""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial, Side
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate if the value offered at the best price is below its minimum.

    A long takes the ask, a short the bid. Without a quote the veto ``staleness`` stops the
    candidate, and without an instrument the order manager denies it.
    """
    quote = context.quotes.get(candidate.symbol)
    instrument = context.instruments.get(candidate.symbol)
    if quote is None or instrument is None:
        return None
    buys = candidate.side is Side.LONG
    price, contracts = (quote.ask, quote.ask_qty) if buys else (quote.bid, quote.bid_qty)
    value = contracts * instrument.contract_size * price
    minimum = context.limits.depth_min
    if value >= minimum:
        return None
    return make_veto(Veto.DEPTH_LOW, value=float(value), minimum=minimum, contracts=contracts)
