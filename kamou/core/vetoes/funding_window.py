"""Veto of candidates that would soon pay much funding.

The limits are ``veto.funding_window_s`` and ``veto.funding_cost_max_bps``.
"""

from __future__ import annotations

from decimal import Decimal

from kamou.core.codes import Veto
from kamou.core.day import HOUR_MS
from kamou.core.model import BPS_PER_UNIT, Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose next settlement is near and costs more than the maximum.

    The cost is that of the rate that settled last. Without one both sides pay the assumed rate at
    multiples of the interval since 00:00 UTC. Without an instrument the order manager denies the
    candidate.
    """
    instrument = context.instruments.get(candidate.symbol)
    if instrument is None:
        return None
    interval_ms = instrument.funding_interval_h * HOUR_MS
    known_ms = context.settled_ms.get(candidate.symbol, 0)  # the epoch is 00:00 UTC
    left_ms = interval_ms - (context.now_ms - known_ms) % interval_ms
    rate = context.funding_rates.get(candidate.symbol)
    if rate is None:
        per_8h = context.parameters.costs.funding_bps_per_8h
        cost_bps = per_8h * instrument.funding_interval_h / Decimal(8)
    else:
        cost_bps = rate * candidate.side.sign * BPS_PER_UNIT
    window_ms = context.limits.funding_window_s * 1000
    maximum = context.limits.funding_cost_max_bps
    if left_ms > window_ms or cost_bps <= maximum:
        return None
    return make_veto(
        Veto.FUNDING_NEAR,
        left_ms=left_ms,
        window_ms=window_ms,
        cost_bps=float(cost_bps),
        maximum_bps=maximum,
    )
