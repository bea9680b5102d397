"""From a refined candidate to a plan: prices on the tick, and a size that every cap allows.

Here floats end: distances become prices, once, and from then on Decimals transact.
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
"""Of the headroom that is left: marks move between planning and review, and a plan that is denied
for the last per cent is a plan lost."""


@attrs.frozen(kw_only=True)
class Prices:
    """Where an entry may trade at worst, where it is wrong, and where it is done."""

    limit: Decimal
    stop: Decimal
    target: Decimal


def prices_for(
    candidate: Candidate, quote: Quote, instrument: Instrument, costs: CostModel
) -> Prices:
    """The candidate's distances from the quote it would trade at, on the tick.

    The limit reaches ``entry_limit_offset_bps`` beyond the touch; stop and target are rounded away
    from the entry, so that rounding never makes a trade look better than it is sized.
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
    """The denial of a candidate that no quote could make affordable; None: plan it.

    Cheap, for a full portfolio meets twenty candidates at every bar. What it denies ``size``
    would deny too.
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
    # What risk the smallest order needs is not known without a quote: any is more than none.
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
    """What of the full size an entry may have: by the refiner, the gate and the state.

    A strategy without a grant is planned at full size: the governor is the one to deny it.
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
    """The plan of an entry, or why there is none. Sized on the worst price its limit allows.

    ``stake`` and ``now`` are the book's exposure and equity at present marks, so that the plan
    fits what they leave.
    """
    instrument = instruments[candidate.symbol]
    gap = book.conduct.gap_buffer(limits, now_ms)
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
