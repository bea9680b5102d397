"""Veto of all candidates of a symbol, or of all symbols, after a fast move.

A move within 60 s pauses its symbol for ``veto.velocity_pause_s``, and a move of Bitcoin pauses
all symbols. It is fast if it is above both ``veto.velocity_move_min`` and ``veto.velocity_sigmas``
standard deviations of a move of 60 s.
"""

from __future__ import annotations

import math

from kamou.core.codes import Veto
from kamou.core.day import DAY_MS, MINUTE_MS
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate if its symbol or Bitcoin moved too fast.

    Moves that are not known stop every candidate. A symbol without a price in the pause has no
    move.
    """
    if context.moves is None:
        return make_veto(Veto.VELOCITY_PAUSE, move="unknown")
    for symbol in (candidate.symbol, context.bitcoin):
        move, limit = context.moves.get(symbol, 0.0), _find_limit(symbol, context)
        if move > limit:
            pause_ms = context.limits.velocity_pause_s * 1000
            return make_veto(
                Veto.VELOCITY_PAUSE, symbol=symbol, move=move, limit=limit, pause_ms=pause_ms
            )
    return None


def _find_limit(symbol: str, context: VetoContext) -> float:
    """Return the largest allowed move within 60 s, a fraction.

    The deviation is that of the newest day of bars, by the square root of time. While it is not
    known the minimum alone counts, which is the stricter limit.
    """
    limits, regime = context.limits, context.regimes.get(symbol)
    if regime is None or regime.day_volatility is None:
        return limits.velocity_move_min
    sigma = regime.day_volatility * math.sqrt(MINUTE_MS / DAY_MS)
    return max(limits.velocity_sigmas * sigma, limits.velocity_move_min)
