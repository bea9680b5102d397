"""Names and formats of the figures of a backtest, for page and terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import attrs

from kamou.core.record.backtest_document import BacktestFigure
from kamou.web import format as fmt


@attrs.frozen
class FigureText:
    """A figure's name, its format, and its meaning in words."""

    title: str
    show: Callable[[float], str]
    meaning: str


def _multiple(value: float) -> str:
    return f"{fmt.number(value, signed=True, places=3)} R"


def _span(value: float) -> str:
    return ("" if value >= 0 else fmt.MINUS) + fmt.duration(abs(round(value)))


def _whole(value: float) -> str:
    return fmt.count(round(value))


_signed = partial(fmt.percent, signed=True)
_share = partial(fmt.percent, places=1)

FIGURE_TEXTS: Mapping[str, FigureText] = MappingProxyType(
    {
        "return": FigureText("Return", _signed, "change of equity over the equity at the start"),
        "market_equal_weight": FigureText(
            "Market, equal weight", _signed, "mean change of the prices of all tested symbols"
        ),
        "market_bitcoin": FigureText("Market, Bitcoin", _signed, "change of its price"),
        "cagr": FigureText("CAGR", _signed, "the return as growth a year of 365 days"),
        "sharpe": FigureText(
            "Sharpe ratio", fmt.number, "of daily returns, x sqrt(365), idle days included"
        ),
        "sortino": FigureText(
            "Sortino ratio", fmt.number, "of daily returns, x sqrt(365), target 0"
        ),
        "calmar": FigureText("Calmar ratio", fmt.number, "CAGR over the maximum drawdown"),
        "max_drawdown": FigureText(
            "Maximum drawdown", fmt.percent, "largest fall from a peak, of all equity snapshots"
        ),
        "longest_drawdown": FigureText(
            "Longest drawdown", _span, "from the peak until the peak is reached again"
        ),
        "trades": FigureText("Closed trades", _whole, "round trips"),
        "win_rate": FigureText("Win rate", _share, "share of trades with a net profit"),
        "profit_factor": FigureText("Profit factor", fmt.number, "net profits over net losses"),
        "expectancy_r": FigureText(
            "Expectancy in R", _multiple, "mean net PnL over the planned risk"
        ),
        "expectancy_money": FigureText(
            "Expectancy in money", partial(fmt.money, signed=True), "mean net PnL of a trade"
        ),
        "average_hold": FigureText("Average hold", _span, "of closed trades"),
        "longest_hold": FigureText("Longest hold", _span, "of closed trades"),
        "positions_most": FigureText("Most positions at once", _whole, "open at one time"),
        "exposure_time": FigureText("Time in the market", _share, "with at least one position"),
        "exposure_value": FigureText(
            "Average exposure", _share, "entry value of all positions over the first equity"
        ),
    }
)
"""The text of each figure of ``core/record/backtest_figures.py``, in the order of a report."""

GROUP_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "strategy": "By strategy",
        "symbol": "By symbol",
        "side": "By side",
        "exit_reason": "By exit reason",
        "weekday": "By weekday of the entry (UTC)",
        "hour": "By hour of the entry (UTC)",
    }
)
"""The title of each table of trades, in the order of a report."""

WATERFALL_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "gross": "gross",
        "slippage": "slippage",
        "fees": "fees",
        "funding": "funding",
        "net": "net",
        "closed": "of closed trades",
        "open": "still open",
    }
)
"""The name of each step from gross to net."""

COSTS = ("slippage", "fees")  # steps whose amount is subtracted


def show_value(name: str, figure: BacktestFigure) -> str:
    """Return the figure's value with its interval, if any; a dash without a value."""
    text = FIGURE_TEXTS[name]
    if figure["value"] is None:
        return fmt.DASH
    shown = text.show(figure["value"])
    if "low" in figure and "high" in figure:
        shown += f" ({text.show(figure['low'])} to {text.show(figure['high'])})"
    return shown


def group_key(by: str, key: str) -> str:
    """Return the key of a row in a table of trades, in words."""
    if by == "hour":
        return f"{key}:00"
    return fmt.words(key) if by in ("strategy", "exit_reason") else key
