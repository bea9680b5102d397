"""Exposure of the book: open trades and the reservations of granted permits together."""

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
"""Base currencies outside the altcoin cluster."""


@attrs.frozen(kw_only=True)
class Exposure:
    """Risk and exposure in money, reservations included."""

    open_risk: Decimal  # loss from mark to stop of all trades, with exit costs and gap buffer
    notional: Mapping[str, Decimal]  # by symbol
    notional_total: Decimal
    margin_reserved: Decimal  # of permits whose orders have not filled
    reserved_costs: Decimal  # of those permits: entry and exit costs, spread and funding included
    cluster: Mapping[Side, Decimal]  # open risk of altcoins, by side
    # Signed notional that a market move hits, by the side of the trade to be added: positions and
    # reserved entries of that side. An entry that may not fill is no hedge (seed 910259).
    net_notional: Mapping[Side, Decimal]


def trade_risk(trade: OpenTrade, mark: Decimal, leaving: Decimal, gap: Decimal) -> Decimal:
    """Return the money lost from ``mark`` to the trade's stop, with exit costs and gap buffer.

    ``leaving`` are the exit costs, a fraction of the stop price (``exit_rate``).
    """
    distance = max(ZERO, (mark - trade.stop_price) * trade.side.sign)
    per_unit = distance + gap * _gapped(trade, distance) + leaving * trade.stop_price
    return per_unit * abs(trade.quantity) * trade.contract_size


def _gapped(trade: OpenTrade, distance: Decimal) -> Decimal:
    """Return the price distance that the gap buffer multiplies.

    It is the planned distance. Without a plan it is the larger distance of entry and mark from
    the stop.
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
    """Return the book's exposure at ``marks``, by symbol; the entry price replaces a missing mark.

    A symbol without an instrument counts as an altcoin, which is the stricter limit.
    """
    gap = book.recent_activity.gap_buffer(limits, now_ms).value
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
    """Return True if the instrument is outside the altcoin cluster."""
    return instrument is not None and instrument.base in MAJORS


def shock_loss(net_notional: Decimal, move: Decimal) -> Decimal:
    """Return the money lost if all prices move by ``move`` against the net notional.

    Assumes that every symbol moves as BTC does (beta 1) and that prices jump over all stops.
    """
    return abs(net_notional) * move


def day_budget(book: PositionBook, now: CurrentEquity, limits: RiskLimits) -> Decimal:
    """Return the money that the day may still lose: limit less loss so far; may be negative."""
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
    """Return the headroom of the portfolio's limits for one more trade, in money; >= 0.

    The order manager sizes a plan by it, so that the governor need not deny the plan. The governor
    computes its rules without it.
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
