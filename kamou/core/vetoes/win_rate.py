"""Veto of real entries of a strategy that wins too rarely to break even."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, find_net_reward, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate if its strategy's win rate is below the candidate's break-even.

    Break-even is 1 / (1 + b) with the candidate's reward-to-risk b net of costs. If b is 0 or less,
    the veto ``reward_to_risk`` stops the candidate.
    """
    findings = context.findings.get(candidate.strategy)
    net = find_net_reward(candidate, context).net
    if findings is None or net <= 0 or not findings.wins.is_too_low(net):
        return None
    wins = findings.wins
    return make_veto(
        Veto.WIN_RATE_LOW,
        wins=wins.wins,
        n=wins.trades,
        break_even=1 / (1 + net),
        evidence=wins.e_value(1 / (1 + net)),
    )
