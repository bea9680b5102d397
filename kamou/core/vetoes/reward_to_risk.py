"""Veto of candidates whose reward-to-risk after costs is too low.

The limit is ``veto.reward_to_risk_min``.
"""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, find_net_reward, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose reward-to-risk after costs is below the limit."""
    reward = find_net_reward(candidate, context)
    if reward.net >= context.limits.reward_to_risk_min:
        return None
    return make_veto(
        Veto.REWARD_TO_RISK_LOW,
        net=reward.net,
        minimum=context.limits.reward_to_risk_min,
        target=candidate.target_distance,
        stop=candidate.stop_distance,
        cost=reward.cost,
        funding=reward.funding,
    )
