"""Openings of shadow trades: a real entry's plan at full size, filled at once.

A shadow trade records a signal, so the limits of the real account do not apply: headroom, daily
loss, cooldowns and halts. Its size is a share of a constant equity.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import attrs

from kamou.core.book.candidate_events import RefinedCandidate
from kamou.core.book.shadow_events import ShadowTrade
from kamou.core.codes import Deny
from kamou.core.market.fill_prices import PriceModels, as_money, nearest_tick
from kamou.core.model import BPS_PER_UNIT, Candidate, Denial, Instrument, Quote
from kamou.core.risk.costs import maker_rate, taker_rate
from kamou.core.risk.denials import deny_unusable_quote, make_denial
from kamou.core.risk.limits import TradingParameters
from kamou.core.risk.planning import EntryMarket, Prices, entry_prices, make_unsized
from kamou.core.risk.sizing import Allowance, Sized, size_trade

_SPREAD_STEP = Decimal("0.000000000001")  # of a fraction; far below a tick of any symbol
_SCORE_DIGITS = 6


@attrs.frozen(kw_only=True)
class ShadowTerms:
    """What all shadow trades of a run share."""

    equity: Decimal  # money, of which each trade risks a share; it never changes
    parameters: TradingParameters
    models: PriceModels


@attrs.frozen(kw_only=True)
class JudgedCandidate:
    """A candidate with the refiner's verdict and a model's estimate."""

    refined: RefinedCandidate
    p_win_pct: int | None = None  # 0 to 100; None: no estimate

    @property
    def candidate(self) -> Candidate:
        """The candidate itself."""
        return self.refined.candidate


def deny_market(
    instrument: Instrument | None, quote: Quote | None, terms: ShadowTerms, now_ms: int
) -> Denial | None:
    """Return why no shadow trade can open at this quote, or None."""
    if instrument is None:
        return make_denial(Deny.DATA_INVALID, what="instrument")
    if quote is None or not quote.sound:
        return deny_unusable_quote(quote)
    age_ms = now_ms - quote.at_ms
    limit_ms = terms.parameters.limits.quote_age_max_s * 1000
    if age_ms > limit_ms:
        return make_denial(Deny.MARK_STALE, age_ms=age_ms, limit_ms=limit_ms)
    return None


def open_shadow_trade(
    judged: JudgedCandidate, market: EntryMarket, terms: ShadowTerms, now_ms: int
) -> ShadowTrade | Denial:
    """Return the shadow trade that opens now, or the denial of its plan."""
    costs = terms.parameters.costs
    prices = entry_prices(judged.candidate, market.quote, market.instrument, costs)
    unsized = make_unsized(judged.candidate, prices, market, costs)
    sized = size_trade(unsized, Allowance(sizing_equity=terms.equity), terms.parameters.limits)
    if isinstance(sized, Denial):
        return sized
    return _fill_entry(judged, (market, prices, sized), terms, now_ms)


def deny_unfilled(trade: ShadowTrade, mark: Decimal) -> Denial:
    """Return the denial of a trade whose resting entry did not fill by its deadline."""
    return make_denial(Deny.ENTRY_UNFILLED, limit=trade.entry_price, mark=mark)


def _fill_entry(
    judged: JudgedCandidate,
    planned: tuple[EntryMarket, Prices, Sized],
    terms: ShadowTerms,
    now_ms: int,
) -> ShadowTrade:
    """Return the trade with its entry filled as a taker, at worst at its limit.

    The trade of an entry that rests has it filled as a maker, at its limit.

    ``planned`` has the market, the prices and the size of the plan.
    """
    candidate, refined = judged.candidate, judged.refined
    market, prices, sized = planned
    instrument, quote = market.instrument, market.quote
    side, mid = candidate.side.opening, float(quote.mid)
    half_spread = (quote.spread / 2 / quote.mid).quantize(_SPREAD_STEP, rounding=ROUND_CEILING)
    paid = terms.models.slippage.fill_price(
        mid, float(half_spread * BPS_PER_UNIT), side, instrument.tick
    )
    rests = candidate.rest_ms > 0
    entry = prices.limit if rests else side.better(paid, prices.limit)
    costs = terms.parameters.costs
    fee_rate, fee_of_maker = taker_rate(instrument, costs), maker_rate(instrument, costs)
    reference = entry if rests else nearest_tick(mid, instrument.tick)
    worse = side.extra_cost(reference, entry)
    return ShadowTrade(
        shadow_id=candidate.signal_id,
        strategy=candidate.strategy,
        symbol=candidate.symbol,
        side=candidate.side,
        score=Decimal(f"{candidate.score:.{_SCORE_DIGITS}g}"),
        verdict=refined.verdict,
        size_multiplier=refined.size_multiplier,
        p_win_pct=judged.p_win_pct,
        quantity=sized.contracts,
        contract_size=instrument.contract_size,
        planned_entry=prices.limit,
        entry_price=entry,
        stop_price=prices.stop,
        target_price=prices.target,
        planned_risk=abs(prices.limit - prices.stop) * sized.quantity,
        half_spread=half_spread,
        fee_rate=fee_rate,
        target_fee_rate=fee_of_maker,
        fee=as_money(entry * sized.quantity * (fee_of_maker if rests else fee_rate)),
        slippage=as_money(worse * sized.quantity),
        opened_at_ms=now_ms,
        closes_by_ms=now_ms + candidate.hold_ms if candidate.hold_ms else 0,
    )
