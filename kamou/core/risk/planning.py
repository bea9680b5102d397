"""Plans of entries: prices on the tick, and a size that every limit allows.

Here the strategies' float distances become Decimal prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import attrs

from kamou import ids
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import Deny
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
    Side,
)
from kamou.core.record.gate import LiveGrant
from kamou.core.risk.context import size_factor
from kamou.core.risk.equity import CurrentEquity
from kamou.core.risk.exposure import Exposure, headroom_for
from kamou.core.risk.limits import CostModel, RiskLimits
from kamou.core.risk.sizing import Headroom, Sized, make_denial, size, trade_costs

ROOM_USED = Decimal("0.99")
"""Share of the headroom that a plan may use: marks move between planning and review, and the
governor would deny a plan that needs the last per cent."""


@attrs.frozen(kw_only=True)
class Prices:
    """Limit, stop and target prices of an entry."""

    limit: Decimal
    stop: Decimal
    target: Decimal


def prices_for(
    candidate: Candidate, quote: Quote, instrument: Instrument, costs: CostModel
) -> Prices:
    """Return the candidate's prices on the tick, from the ask for a long and the bid for a short.

    The limit is ``entry_limit_offset_bps`` beyond that price. Limit, stop and target are rounded
    away from it.
    """
    long = candidate.side is Side.LONG
    touch = quote.ask if long else quote.bid
    sign = candidate.side.sign
    reach = touch * costs.entry_limit_offset_bps / BPS_PER_UNIT
    stop = touch - sign * Decimal(repr(candidate.stop_distance))
    target = touch + sign * Decimal(repr(candidate.target_distance))
    tick, away = instrument.tick, ROUND_CEILING if long else ROUND_FLOOR
    return Prices(
        limit=round_to_tick(touch + sign * reach, tick, away),
        stop=round_to_tick(stop, tick, ROUND_FLOOR if long else ROUND_CEILING),
        target=round_to_tick(target, tick, away),
    )


def deny_without_headroom(
    candidate: Candidate,
    *,
    fraction: Decimal,
    stake: Exposure,
    now: CurrentEquity,
    instruments: Mapping[str, Instrument],
    book: PositionBook,
    limits: RiskLimits,
) -> Denial | None:
    """Return the denial of a candidate that has no headroom at any quote; None: plan it.

    It saves reading quotes: a full portfolio gets 20 candidates at every bar. ``size`` would deny
    every candidate that this denies.
    """
    instrument = instruments[candidate.symbol]
    headroom = _headroom_of(candidate, stake, now, instruments, book, limits)
    held = stake.notional.get(candidate.symbol, ZERO)
    left = {
        "exposure": limits.exposure_per_symbol * fraction * now.sizing_equity - held,
        **headroom.notionals,
    }
    if headroom.risk > 0 and min(left.values()) >= instrument.notional_min:
        return None
    bound = headroom.risks if headroom.risk <= 0 else left
    bound_by = min(bound, key=lambda name: bound[name])
    # The risk of the smallest order is unknown without a quote, but above 0.
    needed = "more than 0" if headroom.risk <= 0 else instrument.notional_min
    return make_denial(
        Deny.RISK_HEADROOM_EXHAUSTED,
        bound_by=bound_by,
        left=f"{bound[bound_by]:.2f}",
        needed=needed,
    )


def unusable_quote(quote: Quote | None) -> Denial:
    """Return the denial of a candidate whose quote is missing or unsound."""
    if quote is None:
        return make_denial(Deny.PRICE_MARK_MISSING, mark="no quote")
    return make_denial(
        Deny.DATA_INVALID, what="quote", bid=quote.bid, ask=quote.ask, mark=quote.mark
    )


def silent_governor(timeout_s: float, why: str) -> Denial:
    """Return the denial of an entry that the governor did not review."""
    return make_denial(Deny.GOVERNOR_TIMEOUT, timeout_s=f"{timeout_s:g}", why=why)


def size_fraction(
    book: PositionBook, grant: LiveGrant | None, multiplier: Decimal, limits: RiskLimits
) -> Decimal:
    """Return the share of the full size that refiner, gate and trading state leave an entry.

    A strategy without a grant is planned at full size; the governor denies it.
    """
    granted = grant.size_fraction if grant is not None else 1
    return multiplier * granted * size_factor(book.state, limits)


def plan_entry(
    candidate: Candidate,
    *,
    fraction: Decimal,
    attempt: int,
    quote: Quote,
    stake: Exposure,
    now: CurrentEquity,
    instruments: Mapping[str, Instrument],
    book: PositionBook,
    costs: CostModel,
    limits: RiskLimits,
    now_ms: int,
    funding_rate: Decimal | None = None,
) -> Plan | Denial:
    """Return the plan of an entry, sized at its limit price, or the denial if there is none.

    ``stake`` and ``now`` are the book's exposure and equity at present marks.
    """
    instrument = instruments[candidate.symbol]
    gap = book.recent_activity.gap_buffer(limits, now_ms)
    prices = prices_for(candidate, quote, instrument, costs)
    sized = size(
        sizing_equity=now.sizing_equity,
        entry=prices.limit,
        stop=prices.stop,
        side=candidate.side,
        instrument=instrument,
        costs=trade_costs(
            instrument=instrument,
            costs=costs,
            quote=quote,
            side=candidate.side,
            hold_ms=candidate.hold_ms,
            funding_rate=funding_rate,
        ),
        gap=gap.value,
        limits=limits,
        fraction=fraction,
        existing_notional=stake.notional.get(candidate.symbol, ZERO),
        worth=max(quote.mark, quote.ask if candidate.side is Side.LONG else quote.bid),
        headroom=_headroom_of(candidate, stake, now, instruments, book, limits),
    )
    if isinstance(sized, Denial):
        arithmetic = Figure(name="gap_buffer", value=str(gap))
        return attrs.evolve(sized, figures=(*sized.figures, arithmetic))
    return _plan(candidate, prices, sized, instrument, attempt, limits, now_ms)


def _headroom_of(
    candidate: Candidate,
    stake: Exposure,
    now: CurrentEquity,
    instruments: Mapping[str, Instrument],
    book: PositionBook,
    limits: RiskLimits,
) -> Headroom:
    return headroom_for(
        book,
        stake,
        now,
        symbol=candidate.symbol,
        side=candidate.side,
        instruments=instruments,
        limits=limits,
    ).scaled(ROOM_USED)


def _plan(
    candidate: Candidate,
    prices: Prices,
    sized: Sized,
    instrument: Instrument,
    attempt: int,
    limits: RiskLimits,
    now_ms: int,
) -> Plan:
    return Plan(
        permit_id=ids.permit_id(candidate.signal_id, attempt),
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
    )
