"""Exits of shadow trades from closed bars, and their results.

A bar's stop comes before its target. The target is a limit order: a bar that only touches it fills
nothing. Funding settles at the end of a bar, and the time limit comes after it. In the bar in which
a trade opened, extremes may be older than the trade: a stop counts there, at its own price, and a
target does not. A time limit inside a bar acts at the bar's close. There is no liquidation: a stop
that fills beyond the liquidation price costs its distance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.book.shadow_events import ClosedShadowTrade, ShadowTrade
from kamou.core.book.trades import r_multiple
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import ExitReason
from kamou.core.market.bars import ATR_PERIOD, Bars, trailing_atr
from kamou.core.market.fill_prices import PriceModels, as_money, is_traded_through, nearest_tick
from kamou.core.model import BPS_PER_UNIT, ZERO, Instrument

HISTORY_BARS = ATR_PERIOD + 1  # before a bar, which its trailing ATR needs
MARKET_ENDED_MS = DAY_MS  # without a price for so long, a symbol counts as delisted


@attrs.frozen(kw_only=True)
class ShadowBar:
    """A closed bar of one symbol; prices are NaN if it has none."""

    opened_at_ms: int
    closed_at_ms: int
    open: float
    high: float
    low: float
    close: float
    range_atr: float  # high - low in units of the trailing ATR; NaN: unknown


@attrs.frozen(kw_only=True)
class ShadowExit:
    """The fill that closes a shadow trade."""

    reason: ExitReason
    price: Decimal
    reference: Decimal  # slippage is the distance from it
    at_ms: int


def bar_of(bars: Bars, row: int, column: int) -> ShadowBar:
    """Return one bar of one symbol, with its range by the bars before it in ``bars``."""
    rows = slice(max(0, row - HISTORY_BARS), row + 1)
    high, low, close = (part[rows, column] for part in (bars.high, bars.low, bars.close))
    atr = float(trailing_atr(high, low, close)[-1])
    opened_at_ms = int(bars.open_ms[row])
    return ShadowBar(
        opened_at_ms=opened_at_ms,
        closed_at_ms=opened_at_ms + bars.period_ms,
        open=float(bars.open[row, column]),
        high=float(high[-1]),
        low=float(low[-1]),
        close=float(close[-1]),
        range_atr=float(high[-1] - low[-1]) / atr if atr > 0.0 else math.nan,
    )


def find_reached(
    trade: ShadowTrade, bar: ShadowBar, models: PriceModels, tick: Decimal
) -> ShadowExit | None:
    """Return the exit at the stop or the target that the bar reaches, or None."""
    side, whole = trade.side.closing, bar.opened_at_ms >= trade.opened_at_ms
    stop, target = float(trade.stop_price), trade.target_price
    if side.is_stop_hit(stop, bar.low, bar.high):  # False for NaN
        extreme = side.worse(bar.low, bar.high)
        first = bar.open if whole else stop
        price = models.stop.price(side, stop, first, extreme, bar.range_atr)
        return _fill_exit(trade, ExitReason.STOP_LOSS, price, (bar, models, tick))
    if whole and is_traded_through(side, float(target), bar.low, bar.high):
        reason = ExitReason.TAKE_PROFIT
        return ShadowExit(reason=reason, price=target, reference=target, at_ms=bar.closed_at_ms)
    return None


def find_expired(
    trade: ShadowTrade, bar: ShadowBar, models: PriceModels, tick: Decimal
) -> ShadowExit | None:
    """Return the exit at the bar's close if the time limit is over, or None.

    A bar without a price closes no trade.
    """
    if not trade.closes_by_ms or bar.closed_at_ms < trade.closes_by_ms or math.isnan(bar.close):
        return None
    return _fill_exit(trade, ExitReason.TIME_LIMIT, bar.close, (bar, models, tick))


def _fill_exit(
    trade: ShadowTrade,
    reason: ExitReason,
    price: float,
    market: tuple[ShadowBar, PriceModels, Decimal],
) -> ShadowExit:
    """Return the exit as a taker at ``price`` with half the spread and slippage.

    Its reference is the stop's own price, else ``price`` on the tick. ``market`` has the bar, the
    models and the tick.
    """
    bar, models, tick = market
    stopped = reason is ExitReason.STOP_LOSS
    reference = trade.stop_price if stopped else nearest_tick(price, tick)
    half_spread_bps = float(trade.half_spread * BPS_PER_UNIT)
    return ShadowExit(
        reason=reason,
        price=models.slippage.fill_price(price, half_spread_bps, trade.side.closing, tick),
        reference=reference,
        at_ms=bar.closed_at_ms,
    )


@attrs.define(kw_only=True)
class ShadowWatch:
    """An open shadow trade and what its bars have shown so far.

    It follows from the trade and the bars since its opening, so it is in no journal.
    """

    trade: ShadowTrade
    seen_ms: int = attrs.field(init=False)  # bars that closed until then are applied
    priced_ms: int = attrs.field(init=False)  # time of ``last``
    last: float = attrs.field(init=False)  # the newest price
    marks: dict[int, float] = attrs.field(init=False, factory=dict)  # at full hours, by hour in ms
    exit: ShadowExit | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.seen_ms = self.priced_ms = self.trade.opened_at_ms
        self.last = float(self.trade.entry_price)

    def apply(self, bar: ShadowBar, models: PriceModels, tick: Decimal) -> None:
        """Apply the next bar, unless it was applied or the trade has ended."""
        if self.exit is not None or bar.closed_at_ms <= self.seen_ms:
            return
        since_ms, self.seen_ms = self.seen_ms, bar.closed_at_ms
        self.exit = find_reached(self.trade, bar, models, tick)
        if self.exit is not None:
            return
        if not math.isnan(bar.close):
            self.last, self.priced_ms = bar.close, bar.closed_at_ms
        first_hour_ms = (since_ms // HOUR_MS + 1) * HOUR_MS
        for hour_ms in range(first_hour_ms, bar.closed_at_ms + 1, HOUR_MS):
            self.marks[hour_ms] = self.last
        self.exit = find_expired(self.trade, bar, models, tick)
        if self.exit is None and bar.closed_at_ms - self.priced_ms >= MARKET_ENDED_MS:
            market = (bar, models, tick)
            self.exit = _fill_exit(self.trade, ExitReason.DELISTING, self.last, market)


def sum_funding(
    watch: ShadowWatch, rates: Mapping[int, float], instrument: Instrument, models: PriceModels
) -> Decimal:
    """Return the funding that the trade received (> 0) or paid (< 0), money.

    Args:
        watch: the marks at full hours while the trade was open.
        rates: settled rates by full hour in ms, fractions of notional per interval.
        instrument: the interval by which settlements without a known rate are assumed.
        models: the rate of an unknown settlement.
    """
    trade, interval_h = watch.trade, instrument.funding_interval_h
    total = ZERO
    for hour_ms, price in watch.marks.items():
        rate = rates.get(hour_ms, math.nan)
        if math.isnan(rate) and hour_ms % (interval_h * HOUR_MS):
            continue
        notional = trade.units * nearest_tick(price, instrument.tick)
        signed = trade.side.sign * trade.quantity
        total += models.funding.amount(signed, notional, rate, interval_h)
    return total


def close_shadow_trade(
    trade: ShadowTrade, exit_: ShadowExit, funding: Decimal
) -> ClosedShadowTrade:
    """Return the result of a trade, net of fees and funding."""
    gross = trade.side.gain(trade.entry_price, exit_.price) * trade.units
    maker = exit_.reason is ExitReason.TAKE_PROFIT
    fee_rate = trade.target_fee_rate if maker else trade.fee_rate
    fees = trade.fee + as_money(exit_.price * trade.units * fee_rate)
    worse = trade.side.closing.extra_cost(exit_.reference, exit_.price)
    pnl = gross - fees + funding
    r = r_multiple(pnl, trade.planned_risk)
    assert r is not None, f"the shadow trade {trade.shadow_id} risks nothing"
    return ClosedShadowTrade(
        shadow_id=trade.shadow_id,
        strategy=trade.strategy,
        symbol=trade.symbol,
        opened_at_ms=trade.opened_at_ms,
        closed_at_ms=exit_.at_ms,
        reason=exit_.reason,
        exit_price=exit_.price,
        gross=gross,
        fees=fees,
        funding=funding,
        slippage=trade.slippage + as_money(worse * trade.units),
        pnl=pnl,
        r=r,
    )
