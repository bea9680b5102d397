"""Veto of a symbol with both a long and a short candidate in the cycle."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose symbol also has a candidate of the other side."""
    if candidate.symbol not in context.conflicting:
        return None
    return make_veto(
        Veto.CONFLICTING_SIGNALS,
        side=candidate.side,
        score=candidate.score,
        another_wants=candidate.side.opposite,
    )
