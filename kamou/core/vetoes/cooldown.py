"""Veto of a symbol for ``risk.cooldown_after_stop_s`` after a stop-out."""

from __future__ import annotations

from kamou.core.codes import Veto
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose symbol had a stop-out less than the cooldown ago."""
    stopped_at_ms = context.last_stop_ms.get(candidate.symbol)
    if stopped_at_ms is None:
        return None
    since_ms = context.now_ms - stopped_at_ms
    cooldown_ms = context.parameters.limits.cooldown_after_stop_s * 1000
    if since_ms >= cooldown_ms:
        return None
    return make_veto(Veto.COOLDOWN_AFTER_STOP, since_ms=since_ms, cooldown_ms=cooldown_ms)
