"""Veto of symbols that the operator excludes by ``veto.excluded``."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose symbol the settings exclude."""
    if candidate.symbol not in context.limits.excluded:
        return None
    return make_veto(Veto.SYMBOL_EXCLUDED, symbol=candidate.symbol, setting="veto.excluded")
