"""Veto of real entries into a symbol in which the strategy's record loses."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate of a symbol in which its strategy's shadow record loses."""
    findings = context.findings.get(candidate.strategy)
    found = None if findings is None else findings.losing_symbols.get(candidate.symbol)
    if found is None:
        return None
    return make_veto(
        Veto.SYMBOL_LOSING, symbol=candidate.symbol, mean_r=found.mean_r, n=found.trades
    )
