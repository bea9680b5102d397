"""The figures of a backtest, from its equity curve, days, trades and market.

Each figure has its unit and count, or the reason why it has no value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from kamou.core.day import DAY_MS
from kamou.core.model import ZERO
from kamou.core.record.backtest_document import BacktestFigure
from kamou.core.record.drawdown import Drawdown, EquityAt
from kamou.core.record.performance import DAYS_PER_YEAR, UNITS, sharpe, sortino, wilson_interval
from kamou.core.record.trade_figures import measure_exposure
from kamou.core.record.trade_sums import ClosedTrade, Holding, sum_trades
from kamou.core.record.underwater import deepest_drawdown as deepest
from kamou.core.record.underwater import drawdown_ms, find_drawdowns
from kamou.core.record.underwater import longest_drawdown as longest

FULL_DAYS_MIN = 2  # fewer daily returns have no deviation, and their yearly growth means nothing

NO_TRADE = "no trade closed"
NO_LOSS = "no losing trade to divide by"
NO_FALL = "the equity never fell"
FEW_DAYS = "under two days"


@attrs.frozen(kw_only=True)
class MarketChange:
    """Changes of prices over the tested time, of symbols with a price at both ends.

    ``bitcoin`` is the symbol of Bitcoin; None if Bitcoin is not among the tested symbols.
    """

    changes: Mapping[str, float]  # fraction, by symbol
    bitcoin: str | None


@attrs.frozen(kw_only=True)
class BacktestRecord:
    """Input of the figures of a backtest, as of the last point of the curve."""

    curve: Sequence[EquityAt]  # all equity snapshots, oldest first; at least one
    daily: Sequence[float]  # returns of complete days, idle days included
    trades: Sequence[ClosedTrade]
    open_holdings: Sequence[Holding]
    market: MarketChange

    @property
    def span_ms(self) -> int:
        """The time in ms between the first and the last equity snapshot."""
        return self.curve[-1][0] - self.curve[0][0]


def backtest_figures(tested: BacktestRecord) -> dict[str, BacktestFigure]:
    """Return all figures by name, in the order in which a report shows them."""
    return _money_figures(tested) | _trade_figures(tested) | _time_figures(tested)


def annual_growth(first: float, last: float, span_ms: int) -> float | None:
    """Return the yearly growth (CAGR) as a fraction.

    It is ``(last / first) ** (365 days / span) - 1``. It is None for less than two days, if an
    equity is not positive, or if the growth is too large for a float.
    """
    if span_ms < FULL_DAYS_MIN * DAY_MS or first <= 0 or last <= 0:
        return None
    exponent = math.log(last / first) * (DAYS_PER_YEAR * DAY_MS / span_ms)
    return math.expm1(exponent) if exponent < 700 else None  # e**700 is near the largest float


def _money_figures(tested: BacktestRecord) -> dict[str, BacktestFigure]:
    (_, first), (_, last) = tested.curve[0], tested.curve[-1]
    snapshots, days = len(tested.curve), len(tested.daily)
    growth = annual_growth(first, last, tested.span_ms)
    max_drawdown = deepest(find_drawdowns(tested.curve))
    short = tested.span_ms < FULL_DAYS_MIN * DAY_MS
    no_growth = FEW_DAYS if short else "an equity is not positive, or the growth is too large"
    calmar = None if growth is None or max_drawdown is None else growth / -max_drawdown.value
    of_days = FEW_DAYS if days < FULL_DAYS_MIN else ""
    return {
        "return": _figure(last / first - 1.0, "fraction of the equity at the start", snapshots),
        "market_equal_weight": _equal_weight(tested.market),
        "market_bitcoin": _bitcoin(tested.market),
        "cagr": _figure(growth, "fraction a year of 365 days", snapshots, no_growth),
        "sharpe": _figure(
            sharpe(tested.daily),
            UNITS["sharpe"],
            days,
            of_days or "the daily returns do not vary",
        ),
        "sortino": _figure(
            sortino(tested.daily), UNITS["sortino"], days, of_days or "no losing day to divide by"
        ),
        "calmar": _figure(
            calmar,
            "CAGR over the maximum drawdown of all equity snapshots",
            snapshots,
            no_growth if growth is None else NO_FALL,
        ),
        "max_drawdown": _figure(
            max_drawdown.value if max_drawdown else 0.0,
            "fraction of the earlier peak, all snapshots",
            snapshots,
        ),
    }


def _trade_figures(tested: BacktestRecord) -> dict[str, BacktestFigure]:
    sums = sum_trades(tested.trades)
    n = sums.trades
    net = sum((trade.pnl_net for trade in tested.trades), ZERO)
    win_rate = _figure(sums.win_rate, UNITS["win_rate"], n, NO_TRADE)
    if n:
        win_rate["low"], win_rate["high"] = wilson_interval(sums.wins, n)
    no_r = NO_TRADE if not n else "no trade with a planned risk"
    return {
        "trades": _figure(float(n), UNITS["trades"], n),
        "win_rate": win_rate,
        "profit_factor": _figure(
            sums.profit_factor, UNITS["profit_factor"], n, NO_LOSS if n else NO_TRADE
        ),
        "expectancy_r": _figure(sums.expectancy_r, UNITS["expectancy_r"], sums.with_r, no_r),
        "expectancy_money": _figure(
            float(net / n) if n else None, "mean net PnL per closed trade, money", n, NO_TRADE
        ),
    }


def _time_figures(tested: BacktestRecord) -> dict[str, BacktestFigure]:
    (from_ms, first), (end_ms, _) = tested.curve[0], tested.curve[-1]
    held = [trade.holding.until_ms - trade.holding.from_ms for trade in tested.trades]
    holdings = [*(trade.holding for trade in tested.trades), *tested.open_holdings]
    exposure = measure_exposure(
        holdings, from_ms=from_ms, until_ms=end_ms, equity_start=Decimal(first)
    )
    span = longest(find_drawdowns(tested.curve), end_ms)
    no_time = "no time was tested, or the first equity is not positive"
    return {
        "longest_drawdown": _figure(
            None if span is None else drawdown_ms(span, end_ms), "ms", len(tested.curve), NO_FALL
        ),
        "average_hold": _figure(
            sum(held) / len(held) if held else None, "ms, of closed trades", len(held), NO_TRADE
        ),
        "longest_hold": _figure(
            max(held, default=None), "ms, of closed trades", len(held), NO_TRADE
        ),
        "positions_most": _figure(exposure.positions_most, "positions open at once", len(holdings)),
        "exposure_time": _figure(
            exposure.time_share, "share of the time with a position", len(holdings), no_time
        ),
        "exposure_value": _figure(
            exposure.value_share,
            "mean entry value of all positions over the first equity",
            len(holdings),
            no_time,
        ),
    }


def _equal_weight(market: MarketChange) -> BacktestFigure:
    changes = market.changes.values()
    return _figure(
        sum(changes) / len(changes) if changes else None,
        "fraction, mean over symbols",
        len(changes),
        "no symbol has a price at the start and the end",
    )


def _bitcoin(market: MarketChange) -> BacktestFigure:
    value = None if market.bitcoin is None else market.changes.get(market.bitcoin)
    return _figure(
        value,
        "fraction",
        int(value is not None),
        "Bitcoin is not among the tested symbols"
        if market.bitcoin is None
        else f"{market.bitcoin} has no price at the start and the end",
    )


def _figure(value: float | None, unit: str, n: int, reason: str = "") -> BacktestFigure:
    """Return a figure; ``reason`` is used if ``value`` is None or not finite."""
    known = value is not None and math.isfinite(value)
    return {
        "value": value if known else None,
        "reason": None if known else reason,
        "n": n,
        "unit": unit,
    }


def pair_of_drawdowns(curve: Sequence[EquityAt]) -> tuple[Drawdown | None, Drawdown | None]:
    """Return the maximum and the longest drawdown; None if the equity never fell.

    ``curve`` is in the order of time and not empty.
    """
    found = find_drawdowns(curve)
    return deepest(found), longest(found, curve[-1][0])
