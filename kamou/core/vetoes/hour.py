"""Veto of real entries in an hour in which the strategy's record loses."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.day import HOUR_MS
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate in an hour that the shadow record of its strategy finds losing."""
    findings = context.findings.get(candidate.strategy)
    hour = context.now_ms // HOUR_MS % 24
    found = None if findings is None else findings.losing_hours.get(hour)
    if found is None:
        return None
    return make_veto(Veto.HOUR_LOSING, hour=hour, mean_r=found.mean_r, n=found.trades)
