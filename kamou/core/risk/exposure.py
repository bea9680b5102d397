"""What the book has at stake: open trades, resting entries and granted permits together."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.book.position_book import PositionBook
from kamou.core.book.trades import OpenTrade
from kamou.core.model import ZERO, Instrument, Side
from kamou.core.risk.equity import CurrentEquity, day_lost, exit_rate
from kamou.core.risk.limits import CostModel, RiskLimits
from kamou.core.risk.sizing import Headroom

MAJORS = frozenset({"BTC", "XBT", "ETH"})
"""Everything else falls together: the alt cluster."""


@attrs.frozen(kw_only=True)
class Exposure:
    """Money at stake, reservations included."""

    open_risk: Decimal  # mark -> stop of everything, with exit costs and gap
    notional: Mapping[str, Decimal]  # by symbol
    notional_total: Decimal
    margin_reserved: Decimal  # of permits whose orders have not filled
    reserved_costs: Decimal  # of them: what going in and out costs, spread and funding in
    cluster: Mapping[Side, Decimal]  # open risk of alts, by direction
    # Signed, what a move of the whole market hits, by the side of a trade that is added: what is
    # held, and reserved entries of that side. One that may not fill is no hedge (seed 910259).
    net_notional: Mapping[Side, Decimal]


def trade_risk(trade: OpenTrade, mark: Decimal, leaving: Decimal, gap: Decimal) -> Decimal:
    """Money lost from ``mark`` to the trade's stop, with exit costs and the gap buffer.

    ``leaving`` is what that costs, as a fraction of the stop price (``exit_rate``).
    """
    distance = max(ZERO, (mark - trade.stop_price) * trade.side.sign)
    per_unit = distance + gap * _gapped(trade, distance) + leaving * trade.stop_price
    return per_unit * abs(trade.quantity) * trade.contract_size


def _gapped(trade: OpenTrade, distance: Decimal) -> Decimal:
    """Return the price distance that the gap buffer multiplies.

    The planned one; where none was planned, the farther of entry and mark from the stop.
    """
    if trade.planned_distance is not None:
        return trade.planned_distance
    return max(abs(trade.planned_entry - trade.stop_price), distance)


def exposure_of(
    book: PositionBook,
    *,
    marks: Mapping[str, Decimal],
    instruments: Mapping[str, Instrument],
    costs: CostModel,
    limits: RiskLimits,
    now_ms: int,
) -> Exposure:
    """The book's exposure at ``marks`` (by symbol; the entry price where one is missing).

    A symbol without an instrument counts as an alt: the stricter reading.
    """
    gap = book.conduct.gap_buffer(limits, now_ms).value
    stakes: list[tuple[str, Side, Decimal, Decimal]] = []  # symbol, side, money, risk
    held = ZERO  # signed notional
    reserved = {Side.LONG: ZERO, Side.SHORT: ZERO}  # signed notional
    for symbol, trade in book.trades.items():
        mark = marks.get(symbol) or trade.entry_price
        risk = trade_risk(trade, mark, exit_rate(instruments.get(symbol), costs), gap)
        stakes.append((symbol, trade.side, trade.notional(mark), risk))
        held += trade.notional(mark) * trade.side.sign
    margin = reserved_costs = ZERO
    for reservation in book.reservations.values():
        if reservation.remaining > 0:
            plan, money = reservation.plan, reservation.notional
            stakes.append((plan.symbol, plan.side, money, reservation.risk))
            reserved[plan.side] += money * plan.side.sign
            margin += money / plan.leverage
            units = reservation.remaining * plan.contract_size
            moves = (1 + gap) * plan.stop_distance * units  # the rest of the risk is costs
            reserved_costs += max(ZERO, reservation.risk - moves)
    open_risk = total = ZERO
    notional: dict[str, Decimal] = {}
    cluster = {Side.LONG: ZERO, Side.SHORT: ZERO}
    for symbol, side, money, risk in stakes:
        open_risk += risk
        total += money
        notional[symbol] = notional.get(symbol, ZERO) + money
        if not is_major(instruments.get(symbol)):
            cluster[side] += risk
    return Exposure(
        open_risk=open_risk,
        notional=notional,
        notional_total=total,
        margin_reserved=margin,
        reserved_costs=reserved_costs,
        cluster=cluster,
        net_notional={side: held + signed for side, signed in reserved.items()},
    )


def is_major(instrument: Instrument | None) -> bool:
    return instrument is not None and instrument.base in MAJORS


def shock_loss(net_notional: Decimal, move: Decimal) -> Decimal:
    """Money lost when the whole market moves by ``move`` against the book's net direction.

    Every symbol is taken to move as BTC does (beta 1) and no stop is believed to hold: a shock
    jumps over stops.
    """
    return abs(net_notional) * move


def day_budget(book: PositionBook, now: CurrentEquity, limits: RiskLimits) -> Decimal:
    """Money that the day may still lose: the limit less what is lost already. May be negative."""
    return limits.daily_loss_max * book.day_equity - day_lost(book, now)


def headroom_for(
    book: PositionBook,
    stake: Exposure,
    now: CurrentEquity,
    *,
    symbol: str,
    side: Side,
    instruments: Mapping[str, Instrument],
    limits: RiskLimits,
) -> Headroom:
    """What the portfolio's limits leave for one more trade, in money; never negative.

    The order manager sizes into this headroom, so that a plan is shrunk rather than denied. The
    governor does not use it: its rules are computed apart.
    """
    sizing_equity, budget = now.sizing_equity, day_budget(book, now, limits)
    opened = [t for t in book.trades.values() if t.opened_at_ms >= book.marked_ms]
    margin = book.margin_used + sum((t.margin for t in opened), ZERO) + stake.margin_reserved
    risks = {
        "day_budget": budget - stake.open_risk,
        "open_risk": min(limits.open_risk_max, limits.daily_loss_max) * sizing_equity
        - stake.open_risk,
    }
    if not is_major(instruments.get(symbol)):
        risks["cluster"] = limits.cluster_risk_max * sizing_equity - stake.cluster[side]
    left = budget - stake.reserved_costs
    notionals = {
        "shock": left / limits.shock_move - stake.net_notional[side] * side.sign,
        "notional_total": limits.notional_total_max * sizing_equity - stake.notional_total,
        "margin_total": limits.margin_total_max * sizing_equity - margin,
    }
    return Headroom(
        risks={name: max(ZERO, money) for name, money in risks.items()},
        notionals={name: max(ZERO, money) for name, money in notionals.items()},
    )
