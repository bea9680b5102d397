"""Veto of candidates whose reward-to-risk after costs is too low.

The limit is ``veto.reward_to_risk_min``.
"""

from __future__ import annotations

from decimal import Decimal

from kamou.core.codes import Veto
from kamou.core.model import ZERO, Candidate, Denial
from kamou.core.risk.costs import ExpectedHold, reward_to_risk, trade_costs
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose reward-to-risk after costs is below the limit.

    Without a quote the spread counts as 0, because the veto ``staleness`` then stops the candidate.
    Without an instrument the fees of the settings count, because the order manager then denies the
    candidate.
    """
    quote = context.quotes.get(candidate.symbol)
    price = Decimal(repr(candidate.close))
    costs = trade_costs(
        instrument=context.instruments.get(candidate.symbol),
        costs=context.parameters.costs,
        spread=ZERO if quote is None else quote.spread,
        price=price,
        hold=ExpectedHold(
            side=candidate.side,
            hold_ms=candidate.hold_ms,
            funding_rate=context.funding_rates.get(candidate.symbol),
        ),
    )
    cost = float(costs.round_trip(price, price))
    net = reward_to_risk(
        target_distance=candidate.target_distance,
        stop_distance=candidate.stop_distance,
        cost=cost,
    )
    if net >= context.limits.reward_to_risk_min:
        return None
    return make_veto(
        Veto.REWARD_TO_RISK_LOW,
        net=net,
        minimum=context.limits.reward_to_risk_min,
        target=candidate.target_distance,
        stop=candidate.stop_distance,
        cost=cost,
        funding=float(costs.funding * price),
    )
