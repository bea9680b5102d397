"""The page of a backtest: one HTML file, complete without its script.

It has the site's style sheet and charts inside. Its content security policy allows no request.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal

import attrs

from kamou.core.kinds import RunMode, Tier
from kamou.core.record.backtest_document import BacktestReport, GroupReport, TradeReport
from kamou.web import backtest_charts as charts
from kamou.web import figure_texts as texts
from kamou.web import format as fmt
from kamou.web.render import load_static, load_templates
from kamou.web.site import GATE_NOTICE, Site

TRADE_ROWS_MAX = 2_000  # rows of the table of trades; the JSON document has all
HEADLINE = (
    "return",
    "market_equal_weight",
    "market_bitcoin",
    "max_drawdown",
    "sharpe",
    "profit_factor",
    "win_rate",
    "trades",
)
TIERS: Mapping[str, str] = {
    Tier.STRATEGY: "Strategy (T1)",
    Tier.VETO: "Veto (T2)",
    Tier.REFINER: "Refiner (T3)",
    Tier.GOVERNOR: "Denial",
    Tier.VENUE: "Exchange",
}


@attrs.frozen(kw_only=True)
class ShownFigure:
    """A figure as text; ``reason``: why it has no value; ``n``: its observations."""

    title: str
    meaning: str
    value: str
    reason: str
    n: int


@attrs.frozen(kw_only=True)
class GroupTable:
    """A table of trades by group; each row has its group's name in words."""

    by: str
    title: str
    rows: tuple[tuple[str, GroupReport], ...]


def render_backtest(report: BacktestReport) -> str:
    """Return the page of a complete or interrupted backtest as HTML."""
    static = {file.name.partition(".")[0]: file.body for file in load_static()}
    trades = {trade["trade_id"]: trade for trade in report["trade_list"]}
    points = report["equity_curve"]
    page = load_templates(Site(mode=RunMode.BACKTEST, currency=report["currency"])).page(
        "backtest.html",
        r=report,
        style=static["site"].decode(),
        mark=base64.b64encode(static["mark"]).decode(),
        gate_notice=GATE_NOTICE,
        headline=tuple(_figure_row(report, name) for name in HEADLINE),
        figures=tuple(_figure_row(report, name) for name in texts.FIGURE_TEXTS),
        curves=charts.equity_charts(points, report["halt_list"]),
        falls=charts.drawdown_charts(points),
        steps=charts.waterfall_steps(report["waterfall"]),
        years=charts.year_rows(report["months"]),
        r_bars=charts.r_charts(report["r_distribution"]["bins"]),
        best=_pick(trades, report["r_distribution"]["best"]),
        worst=_pick(trades, report["r_distribution"]["worst"]),
        tables=tuple(_table(report, by) for by in texts.GROUP_TITLES if report["tables"].get(by)),
        tiers=TIERS,
        newest=report["trade_list"][: -TRADE_ROWS_MAX - 1 : -1],
        as_decimal=Decimal,
        month_names=tuple(fmt.month_name(f"2000-{n:02d}")[:3] for n in range(1, 13)),
    )
    return page.decode()


def _figure_row(report: BacktestReport, name: str) -> ShownFigure:
    figure, text = report["figures"][name], texts.FIGURE_TEXTS[name]
    return ShownFigure(
        title=text.title,
        meaning=text.meaning,
        value=texts.show_value(name, figure),
        reason=figure["reason"] or "",
        n=figure["n"],
    )


def _pick(trades: Mapping[str, TradeReport], ids: list[str]) -> tuple[TradeReport, ...]:
    return tuple(trades[each] for each in ids)


def _table(report: BacktestReport, by: str) -> GroupTable:
    return GroupTable(
        by=by,
        title=texts.GROUP_TITLES[by],
        rows=tuple((texts.group_key(by, row["key"]), row) for row in report["tables"][by]),
    )
