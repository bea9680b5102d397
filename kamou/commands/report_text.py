"""Text of the figures of ``kamou report``: names, rounding and counts.

The verb imports this module only when it runs, because the rounding comes from the web pages, and
``kamou run`` imports every verb but needs no web page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kamou.commands.figures import money_text, number_text, percent_text
from kamou.core.words import strategy_name
from kamou.web.format import rests_on

TRADES = "closed trades"  # unit of counts

Cell = Callable[[Any], str]


def r_text(value: float) -> str:
    """Return a multiple of R, such as ``+0.340 R``."""
    return f"{number_text(value, signed=True, places=3)} R"


REPORT_FIGURES: dict[
    str, tuple[str, Cell, str]
] = {  # name, function that formats the value, unit of the count
    "return_twr": ("Return", partial(percent_text, signed=True), "complete days"),
    "max_drawdown": ("Maximum drawdown at day closes", percent_text, "complete days"),
    "sharpe": ("Sharpe ratio", number_text, "complete days"),
    "sortino": ("Sortino ratio", number_text, "complete days"),
    "max_drawdown_snapshots": ("Maximum drawdown", percent_text, "equity snapshots"),
    "win_rate": ("Win rate", partial(percent_text, places=1), TRADES),
    "expectancy_r": ("Expectancy", r_text, TRADES),
    "profit_factor": ("Profit factor", number_text, TRADES),
}
DAY_COLUMNS: dict[str, tuple[str, Cell]] = {
    "day": ("Day", str),
    "return": ("Return", partial(percent_text, signed=True)),
    "pnl": ("Result", money_text),
    "trades": ("Trades", str),
    "fees": ("Fees", money_text),
    "funding": ("Funding", money_text),
    "equity_end": ("Equity", money_text),
}
STRATEGY_COLUMNS: dict[str, tuple[str, Cell]] = {
    "name": ("Strategy", strategy_name),
    "trades": ("Trades", str),
    "pnl_net": ("Net", money_text),
    "fees": ("Fees", money_text),
    "funding": ("Funding", money_text),
    "slippage": ("Slippage", money_text),
}


def figure_cells(name: str, figure: Mapping[str, Any]) -> tuple[str, ...]:
    """Return name, value, interval, count and reason for no value of one figure.

    ``name`` is a key of ``REPORT_FIGURES``.
    """
    title, show, counted = REPORT_FIGURES[name]
    value, low, high = (figure.get(key) for key in ("value", "low", "high"))
    interval = ""
    if low is not None:
        interval = f"{show(low)} to {show(high) if high is not None else 'no upper bound'}"
        interval = ", ".join(filter(None, (interval, _rests_on(figure, counted))))
    count = f"{figure['n']:,} {counted if figure['n'] != 1 else counted.removesuffix('s')}"
    return (
        title,
        "" if value is None else show(value),
        interval,
        count,
        figure.get("reason") or "",
    )


def _rests_on(figure: Mapping[str, Any], counted: str) -> str:
    """Return the count behind the interval; empty if it is the figure's or unknown."""
    found = figure.get("interval", {}).get("n")
    return rests_on(figure["n"], found, counted.removesuffix("s"))


def row_cells(
    rows: Sequence[Mapping[str, object]], columns: dict[str, tuple[str, Cell]]
) -> list[list[str | None]]:
    """Return the cells of a table's rows; None for an unknown figure."""
    return [
        [None if row.get(key) is None else show(row[key]) for key, (_, show) in columns.items()]
        for row in rows
    ]
