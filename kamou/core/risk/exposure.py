"""Exposure and open risk of the portfolio, and the headroom of its limits.

Open trades and the reservations of granted permits count together. The module also computes the
risk of one trade, the loss in a market shock, and the rest of the daily budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.book.position_book import PositionBook
from kamou.core.book.recent_activity import GapBuffer
from kamou.core.book.trades import OpenTrade
from kamou.core.kinds import SizeLimit
from kamou.core.model import ZERO, Instrument, Side
from kamou.core.risk.equity import CurrentEquity, exit_rate
from kamou.core.risk.limits import RiskLimits, TradingParameters
from kamou.core.risk.sizing import Headroom

MAJORS = frozenset({"BTC", "XBT", "ETH"})
"""Base currencies outside the altcoin cluster."""


@attrs.frozen(kw_only=True)
class Exposure:
    """Risk and exposure in money, reservations included."""

    gap_buffer: GapBuffer  # part of the risks below
    # Of trades: the loss from mark to stop, with exit costs and gap buffer. Of reservations: their
    # risk.
    open_risk: Decimal
    notional: Mapping[str, Decimal]  # by symbol
    notional_total: Decimal
    margin_reserved: Decimal  # margin that reservations still need
    reserved_costs: Decimal  # costs in their risk: fees, slippage, spread and funding
    cluster: Mapping[Side, Decimal]  # open risk of altcoins, by side
    # Signed notional of all positions and of reserved entries on one side, by the side of the trade
    # to be added. Reserved entries of the other side may not fill (seed 910259).
    net_notional: Mapping[Side, Decimal]


def trade_risk(trade: OpenTrade, mark: Decimal, exit_cost: Decimal, gap: Decimal) -> Decimal:
    """Return the money that the trade loses from ``mark`` to its stop.

    Exit costs and gap buffer are included.

    Args:
        mark: mark price.
        exit_cost: cost of the exit, a fraction of the stop price (``exit_rate``).
        gap: gap buffer, a multiple of the stop distance.
    """
    distance = max(ZERO, trade.side.loss(mark, trade.stop_price))
    per_unit = distance + gap * _gap_distance(trade, distance) + exit_cost * trade.stop_price
    return per_unit * abs(trade.quantity) * trade.contract_size


def _gap_distance(trade: OpenTrade, distance: Decimal) -> Decimal:
    """Return the price distance that the gap buffer multiplies.

    It is the planned distance from entry to stop. Without a plan it is the distance from entry to
    stop or the one from mark to stop, whichever is larger.
    """
    if trade.planned_distance is not None:
        return trade.planned_distance
    return max(abs(trade.planned_entry - trade.stop_price), distance)


def compute_exposure(
    book: PositionBook,
    *,
    marks: Mapping[str, Decimal],
    parameters: TradingParameters,
    now_ms: int,
) -> Exposure:
    """Return the exposure of the book at ``marks``.

    A symbol without an instrument counts as an altcoin, because that adds a limit.

    Args:
        marks: mark prices by symbol. The average entry price replaces a missing mark.
        now_ms: time for which the gap buffer counts overshoots.
    """
    gap_buffer = book.recent_activity.gap_buffer(parameters.limits, now_ms)
    gap = gap_buffer.value
    shares: list[tuple[str, Side, Decimal, Decimal]] = []  # symbol, side, notional, risk
    held = ZERO  # signed notional
    reserved = dict.fromkeys(Side, ZERO)  # signed notional
    for symbol, trade in book.trades.open.items():
        mark = marks.get(symbol) or trade.entry_price
        exit_cost = exit_rate(book.instruments.get(symbol), parameters.costs)
        risk, notional = trade_risk(trade, mark, exit_cost, gap), trade.notional(mark)
        shares.append((symbol, trade.side, notional, risk))
        held += notional * trade.side.sign
    margin = reserved_costs = ZERO
    for reservation in book.permits.reservations.values():
        if reservation.remaining > 0:
            plan, money = reservation.plan, reservation.notional
            shares.append((plan.symbol, plan.side, money, reservation.risk))
            reserved[plan.side] += money * plan.side.sign
            margin += money / plan.leverage
            units = reservation.remaining * plan.contract_size
            moves = (1 + gap) * plan.stop_distance * units  # the rest of the risk is costs
            reserved_costs += max(ZERO, reservation.risk - moves)
    open_risk = total = ZERO
    by_symbol: dict[str, Decimal] = {}
    cluster = dict.fromkeys(Side, ZERO)
    for symbol, side, money, risk in shares:
        open_risk += risk
        total += money
        by_symbol[symbol] = by_symbol.get(symbol, ZERO) + money
        if not is_major(book.instruments.get(symbol)):
            cluster[side] += risk
    return Exposure(
        gap_buffer=gap_buffer,
        open_risk=open_risk,
        notional=by_symbol,
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

    Args:
        net_notional: money, signed.
        move: fraction of the prices.
    """
    return abs(net_notional) * move


def day_budget(book: PositionBook, now: CurrentEquity, limits: RiskLimits) -> Decimal:
    """Return the money that the day may still lose; negative beyond the limit."""
    return book.measure_day(now.equity, now.exit_costs).left(limits.daily_loss_max)


def compute_headroom(
    book: PositionBook,
    exposure: Exposure,
    now: CurrentEquity,
    *,
    symbol: str,
    side: Side,
    limits: RiskLimits,
) -> Headroom:
    """Return the headroom of the portfolio's limits for one more trade, money, >= 0.

    The order manager sizes a plan by this headroom, so that the governor rarely denies the plan.
    The governor's rules do not use it. The headroom of margin limits the trade's notional, as if
    its leverage were 1.

    Args:
        symbol: of the trade; only an altcoin has the headroom ``cluster``.
        side: of the trade.
    """
    sizing_equity, budget = now.sizing_equity, day_budget(book, now, limits)
    opened = [t for t in book.trades.open.values() if t.opened_at_ms >= book.account.marked_ms]
    margin = (
        book.account.margin_used + sum((t.margin for t in opened), ZERO) + exposure.margin_reserved
    )
    risks = {
        SizeLimit.DAY_BUDGET: budget - exposure.open_risk,
        SizeLimit.OPEN_RISK: min(limits.open_risk_max, limits.daily_loss_max) * sizing_equity
        - exposure.open_risk,
    }
    if not is_major(book.instruments.get(symbol)):
        risks[SizeLimit.CLUSTER] = limits.cluster_risk_max * sizing_equity - exposure.cluster[side]
    left = budget - exposure.reserved_costs
    notionals = {
        SizeLimit.SHOCK: left / limits.shock_move - exposure.net_notional[side] * side.sign,
        SizeLimit.NOTIONAL_TOTAL: limits.notional_total_max * sizing_equity
        - exposure.notional_total,
        SizeLimit.MARGIN_TOTAL: limits.margin_total_max * sizing_equity - margin,
    }
    return Headroom(
        risks={limit: max(ZERO, money) for limit, money in risks.items()},
        notionals={limit: max(ZERO, money) for limit, money in notionals.items()},
    )
