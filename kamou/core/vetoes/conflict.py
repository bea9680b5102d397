"""Veto of candidates in a symbol that strategies want both long and short."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    if candidate.symbol not in context.conflicting:
        return None
    return make_veto(
        Veto.CONFLICTING_SIGNALS,
        side=candidate.side.value,
        score=candidate.score,
        another_wants=candidate.side.opposite.value,
    )
