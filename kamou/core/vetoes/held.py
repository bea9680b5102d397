"""Veto of a symbol with a position or an open entry: one trade per symbol is allowed."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    if candidate.symbol not in context.held:
        return None
    return make_veto(Veto.SYMBOL_HELD, held=context.held[candidate.symbol])
