"""Veto of candidates whose regime is none of their strategy's.

The table is ``veto.regimes``. A shock of the symbol or of Bitcoin stops every candidate, and so
does a regime that is not known, because nobody can say that it is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator

from kamou.core.codes import Veto
from kamou.core.indicators.regime_terms import SymbolRegime, Volatility, parse_label
from kamou.core.model import Candidate, Denial
from kamou.core.vetoes.base import VetoContext, make_veto


def veto(candidate: Candidate, context: VetoContext) -> Denial | None:
    """Veto a candidate whose regime is not allowed, is a shock, or is not known."""
    labels = context.limits.regimes.labels(candidate.strategy)
    if all(_are_allowed(labels, regime, of_bitcoin=of) for of, regime in _find(candidate, context)):
        return None
    unknown = SymbolRegime()
    own = context.regimes.get(candidate.symbol, unknown)
    bitcoin = context.regimes.get(context.bitcoin, unknown)
    return make_veto(
        Veto.REGIME_EXCLUDED,
        regime=own.label,
        bitcoin=bitcoin.label,
        allowed=" ".join(labels) or "all but shock",
        adx=_show(own.adx),
        efficiency=_show(own.efficiency),
        percentile=_show(own.percentile),
        days=own.days,
    )


def _find(candidate: Candidate, context: VetoContext) -> Iterator[tuple[bool, SymbolRegime | None]]:
    """Yield the regimes that count: the symbol's, and Bitcoin's if it is listed.

    Without a listed Bitcoin, labels of Bitcoin allow nothing.
    """
    yield False, context.regimes.get(candidate.symbol)
    labels = map(parse_label, context.limits.regimes.labels(candidate.strategy))
    if context.bitcoin or any(label is not None and label.of_bitcoin for label in labels):
        yield True, context.regimes.get(context.bitcoin)


def _are_allowed(labels: tuple[str, ...], regime: SymbolRegime | None, *, of_bitcoin: bool) -> bool:
    """Return True if the labels allow the regime.

    It must be known and no shock, and one of the labels, if there are any of its kind. A text that
    is no label allows nothing.
    """
    if regime is None or regime.trend is None or regime.volatility in (None, Volatility.SHOCK):
        return False
    parsed = [parse_label(text) for text in labels]
    own = [each for each in parsed if each is None or each.of_bitcoin is of_bitcoin]
    return not own or any(each is not None and each.allows(regime) for each in own)


def _show(figure: float | None) -> object:
    return "unknown" if figure is None else figure
