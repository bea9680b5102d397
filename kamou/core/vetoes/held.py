"""Veto of a symbol with a position or an open entry.

At most one trade per symbol is open.
"""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose symbol has a position or an open entry."""
    if candidate.symbol not in context.held:
        return None
    return make_veto(Veto.SYMBOL_HELD, held=context.held[candidate.symbol])
