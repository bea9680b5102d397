"""Plans of entries: prices on the tick, and a size that every limit allows.

``deny_without_headroom`` denies a candidate before its quote is read. ``entry_prices`` makes
Decimal prices of the strategies' float distances.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou import ids
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import Deny
from kamou.core.kinds import SizeLimit
from kamou.core.market.instruments import round_to_tick
from kamou.core.model import (
    BPS_PER_UNIT,
    ZERO,
    Candidate,
    Denial,
    Figure,
    Instrument,
    Plan,
    Quote,
)
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.context import size_factor
from kamou.core.risk.costs import ExpectedHold, trade_costs
from kamou.core.risk.denials import make_denial
from kamou.core.risk.limits import CostModel, RiskLimits, TradingParameters
from kamou.core.risk.sizing import Allowance, Headroom, Sized, UnsizedTrade, size_trade
from kamou.core.risk.valuation import Valuation

HEADROOM_USED = Decimal("0.99")
"""Share of the headroom that a plan may use.

Marks change between planning and review, so the governor would deny plans that use the last per
cent.
"""


@attrs.frozen(kw_only=True)
class Prices:
    """Limit, stop and target prices of an entry."""

    limit: Decimal
    stop: Decimal
    target: Decimal


@attrs.frozen(kw_only=True)
class EntryMarket:
    """The market of a symbol, as an entry's plan reads it."""

    instrument: Instrument
    quote: Quote  # a sound one
    gap: Decimal  # gap buffer, a multiple of the stop distance
    funding_rate: Decimal | None = None  # fraction per interval; None: the cost model's assumption


def entry_prices(
    candidate: Candidate, quote: Quote, instrument: Instrument, costs: CostModel
) -> Prices:
    """Return limit, stop and target of a candidate, on the tick.

    They are measured from the ask for a long and from the bid for a short, and rounded away from
    that price. The limit is ``entry_limit_offset_bps`` worse than that price, before rounding.

    If the entry rests, they are measured from the other side of the quote, and the limit is there:
    at the bid for a long, at the ask for a short, rounded away from the market.
    """
    side, tick = candidate.side, instrument.tick
    rests = candidate.rest_ms > 0
    touch, sign = quote.touch(side.closing if rests else side.opening), side.sign
    reach = ZERO if rests else touch * costs.entry_limit_offset_bps / BPS_PER_UNIT
    away = side.rounding_to_loss if rests else side.rounding_to_gain
    stop = touch - sign * Decimal(repr(candidate.stop_distance))
    target = touch + sign * Decimal(repr(candidate.target_distance))
    return Prices(
        limit=round_to_tick(touch + sign * reach, tick, away),
        stop=round_to_tick(stop, tick, side.rounding_to_loss),
        target=round_to_tick(target, tick, side.rounding_to_gain),
    )


def make_unsized(
    candidate: Candidate, prices: Prices, market: EntryMarket, costs: CostModel
) -> UnsizedTrade:
    """Return the trade of a candidate at these prices, without a size."""
    quote, instrument = market.quote, market.instrument
    return UnsizedTrade(
        instrument=instrument,
        side=candidate.side,
        entry=prices.limit,
        stop=prices.stop,
        costs=trade_costs(
            instrument=instrument,
            costs=costs,
            spread=quote.spread,
            price=quote.mid,
            hold=ExpectedHold(
                side=candidate.side,
                hold_ms=candidate.hold_ms,
                funding_rate=market.funding_rate,
            ),
        ),
        gap=market.gap,
        value_price=max(quote.mark, quote.touch(candidate.side.opening)),
    )


def deny_without_headroom(
    candidate: Candidate, valuation: Valuation, *, fraction: Decimal, limits: RiskLimits
) -> Denial | None:
    """Return the denial of a candidate that has no headroom at any quote, or None.

    A full portfolio gets many candidates at every bar, whose quotes need no read. ``size_trade``
    would deny each candidate that this function denies. If the account is too small for any entry,
    this function returns None, and ``size_trade`` denies the candidate.

    Args:
        fraction: share of the full size, see ``size_fraction``.

    Raises:
        KeyError: the book has no instrument of the candidate's symbol.
    """
    instrument = valuation.book.instruments[candidate.symbol]
    headroom = _headroom_of(candidate, valuation)
    held = valuation.exposure.notional.get(candidate.symbol, ZERO)
    left = {
        SizeLimit.EXPOSURE: limits.exposure_per_symbol * fraction * valuation.now.sizing_equity
        - held,
        **headroom.notionals,
    }
    if headroom.risk > 0 and min(left.values()) >= instrument.notional_min:
        return None
    bound = headroom.risks if headroom.risk <= 0 else left
    bound_by = min(bound, key=lambda limit: bound[limit])
    if bound_by is SizeLimit.EXPOSURE and held == ZERO:
        return None  # no trade uses this limit: the account is too small
    # The risk of the smallest order is unknown without a quote, but above 0.
    needed = "more than 0" if headroom.risk <= 0 else instrument.notional_min
    return make_denial(
        Deny.RISK_HEADROOM_EXHAUSTED,
        bound_by=bound_by,
        left=f"{bound[bound_by]:.2f}",
        needed=needed,
    )


def size_fraction(
    book: PositionBook, grant: LiveGrant | None, multiplier: Decimal, limits: RiskLimits
) -> Decimal:
    """Return the share of the full size that an entry may have.

    It is the product of the refiner's multiplier, the grant's share and the factor of the trading
    state. Without a grant the share counts as 1, and the governor denies the plan.
    """
    granted = grant.size_fraction if grant is not None else 1
    return multiplier * granted * size_factor(book.trading.state, limits)


def plan_entry(
    candidate: Candidate,
    valuation: Valuation,
    *,
    fraction: Decimal,
    attempt: int,
    parameters: TradingParameters,
    funding_rate: Decimal | None = None,
) -> Plan | Denial:
    """Return the plan of an entry, sized at its limit price, or its denial.

    Args:
        valuation: the book's valuation now, with a sound quote of the candidate's symbol.
        fraction: share of the full size, in (0, 1], see ``size_fraction``.
        attempt: number of this plan of the signal; it is a part of the permit id.
        funding_rate: fraction of notional per funding interval; None: the cost model's assumption.

    Raises:
        KeyError: the valuation has no instrument or quote of the candidate's symbol.
    """
    limits, now_ms = parameters.limits, valuation.at_ms
    instrument = valuation.book.instruments[candidate.symbol]
    quote = valuation.quotes[candidate.symbol]
    prices = entry_prices(candidate, quote, instrument, parameters.costs)
    sized = _size(
        candidate,
        prices,
        valuation,
        fraction=fraction,
        parameters=parameters,
        funding_rate=funding_rate,
    )
    if isinstance(sized, Denial):
        return sized
    return Plan(
        permit_id=ids.make_permit_id(candidate.signal_id, attempt),
        signal_id=candidate.signal_id,
        attempt=attempt,
        strategy=candidate.strategy,
        symbol=candidate.symbol,
        side=candidate.side,
        quantity=sized.contracts,
        contract_size=instrument.contract_size,
        entry_price=prices.limit,
        limit_price=prices.limit,
        stop_price=prices.stop,
        target_price=prices.target,
        leverage=sized.leverage,
        risk=sized.risk,
        notional=sized.notional,
        bound_by=sized.bound_by,
        hold_ms=candidate.hold_ms,
        planned_at_ms=now_ms,
        expires_at_ms=now_ms + limits.permit_ttl_s * 1000,
        rest_ms=candidate.rest_ms,
    )


def _size(
    candidate: Candidate,
    prices: Prices,
    valuation: Valuation,
    *,
    fraction: Decimal,
    parameters: TradingParameters,
    funding_rate: Decimal | None,
) -> Sized | Denial:
    """Return the size of a trade at these prices, or its denial.

    A denial has a figure with the arithmetic of the gap buffer.
    """
    limits, gap = parameters.limits, valuation.exposure.gap_buffer
    market = EntryMarket(
        instrument=valuation.book.instruments[candidate.symbol],
        quote=valuation.quotes[candidate.symbol],
        gap=gap.value,
        funding_rate=funding_rate,
    )
    trade = make_unsized(candidate, prices, market, parameters.costs)
    allowance = Allowance(
        sizing_equity=valuation.now.sizing_equity,
        fraction=fraction,
        existing_notional=valuation.exposure.notional.get(candidate.symbol, ZERO),
        headroom=_headroom_of(candidate, valuation),
    )
    sized = size_trade(trade, allowance, limits)
    if isinstance(sized, Denial):
        arithmetic = Figure(name="gap_buffer", value=str(gap))
        return attrs.evolve(sized, figures=(*sized.figures, arithmetic))
    return sized


def _headroom_of(candidate: Candidate, valuation: Valuation) -> Headroom:
    return valuation.headroom(candidate.symbol, candidate.side).scaled(HEADROOM_USED)
