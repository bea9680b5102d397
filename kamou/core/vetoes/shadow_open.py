"""Veto of a candidate whose strategy has an open shadow trade in the symbol.

So each candidate that passes the vetoes opens one shadow trade, and a real trade has its own.
"""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose own strategy has an open shadow trade in its symbol."""
    if (candidate.strategy, candidate.symbol) not in context.shadows:
        return None
    return make_veto(Veto.SHADOW_OPEN, strategy=candidate.strategy)
