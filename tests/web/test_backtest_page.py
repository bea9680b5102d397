"""The HTML report of a backtest: one file, complete without its script, without a request."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from decimal import Decimal as D
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.record.backtest_document import BacktestReport, MonthReport, Waterfall
from kamou.core.record.trade_figures import bin_r
from kamou.core.words import strategy_name
from kamou.web import backtest_charts as charts
from kamou.web import format as fmt
from kamou.web.backtest_page import render_backtest
from kamou.web.figure_texts import FIGURE_TEXTS, GROUP_TITLES, show_value
from tests.runs.traded_days import trade_days

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> BacktestReport:
    return trade_days(tmp_path_factory.mktemp("traded") / "journal.sqlite3").report


@pytest.fixture(scope="module")
def page(report: BacktestReport) -> str:
    return render_backtest(report)


def text_of(page: str) -> str:
    """Return the text of a page without markup, style and script."""
    visible = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", visible)).split())


class Addresses(HTMLParser):
    """Parser that collects addresses that a browser could fetch, and unclosed elements."""

    VOID = frozenset({"meta", "link", "img", "br", "path", "line", "rect", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "poster", "action"):
                self.addresses.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, (tag, self.getpos())


def test_the_page_needs_no_other_file_and_its_policy_allows_no_request(page: str) -> None:
    found = Addresses()
    found.feed(page)
    assert found.open == []
    assert found.addresses
    assert all(each.startswith("data:image/svg+xml;base64,") for each in found.addresses)
    assert "default-src 'none'" in page
    style = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    script = "".join(re.findall(r"<script>(.*?)</script>", page, re.DOTALL))
    assert not re.search(r"fetch|XMLHttp|import|WebSocket|eval|innerHTML", script)


def test_the_page_shows_every_figure_table_and_trade_without_its_script(
    page: str, report: BacktestReport
) -> None:
    shown = text_of(page)
    for name, text in FIGURE_TEXTS.items():
        value = show_value(name, report["figures"][name])
        assert f"{text.title} {text.meaning} {value}" in shown, name
    for by, title in GROUP_TITLES.items():
        assert title in shown
        for row in report["tables"][by]:
            assert fmt.money(D(row["pnl_net"]), signed=True) in shown
    assert page.count('<tr><th scope="row">') >= len(report["trade_list"])
    for trade in report["trade_list"]:
        assert fmt.moment(trade["opened_at_ms"]) in shown
    for name, each in report["by_strategy"].items():
        assert f"{strategy_name(name)} signals {each['candidates']:,}" in shown
        for code, count in each["abstained"].items():
            wanted = f" wants {each['wanted'][code]}" if code in each["wanted"] else ""
            assert f"{strategy_name(name)} {code}{wanted} {count:,}" in shown
    for refusal in report["refusals"]:
        assert f"{refusal['code']} {refusal['meaning']} {refusal['count']:,}" in shown
    for amount in (report["waterfall"]["gross"], report["waterfall"]["net"]):
        assert fmt.money(D(amount), signed=True) in shown


def test_text_from_outside_is_escaped_on_the_page(report: BacktestReport) -> None:
    (first, *others) = report["trade_list"]
    hostile: BacktestReport = {
        **report,
        "data": {**report["data"], "name": HOSTILE},
        "data_notes": [HOSTILE],
        "strategy_failures": [
            {
                "strategy": "mine",
                "kind": "raised",
                "place": HOSTILE,
                "count": 3,
                "error": HOSTILE,
                "symbol": "",
                "first_at_ms": 0,
                "last_at_ms": 0,
            }
        ],
        "violations": 1,
        "violation_list": [{"rule": HOSTILE, "at_ms": 0, "symbol": HOSTILE, "detail": HOSTILE}],
        "trade_list": [{**first, "symbol": HOSTILE}, *others],
    }
    page = render_backtest(hostile)
    assert HOSTILE not in page
    assert page.count(html.escape(HOSTILE)) >= 7


def test_the_page_of_an_interrupted_backtest_without_trades_says_both(
    report: BacktestReport,
) -> None:
    empty: BacktestReport = {
        **report,
        "trade_list": [],
        "open_positions": [],
        "equity_curve": [],
        "months": [],
        "tables": {},
        "refusals": [],
        "drawdowns": {"deepest": None, "longest": None},
        "r_distribution": {"bins": [], "trades": 0, "without_r": 0, "best": [], "worst": []},
        "tested": {**report["tested"], "interrupted": True},
    }
    shown = text_of(render_backtest(empty))
    assert "No trade closed." in shown
    assert "This backtest was interrupted." in shown


def cents() -> st.SearchStrategy[D]:
    return st.integers(-50_000, 50_000).map(lambda n: D(n) / 100)


@given(cents(), cents(), cents(), cents(), cents())
def test_each_bar_from_gross_to_net_begins_where_the_last_one_ended(
    gross: D, slippage: D, fees: D, funding: D, closed: D
) -> None:
    net = gross - slippage - fees + funding
    waterfall: Waterfall = {
        "gross": str(gross),
        "slippage": str(slippage),
        "fees": str(fees),
        "funding": str(funding),
        "net": str(net),
        "closed": str(closed),
        "open": str(net - closed),
    }
    steps = {step.title: step for step in charts.waterfall_steps(waterfall)}
    amounts = [step.amount for step in steps.values()]
    assert amounts == [gross, -slippage, -fees, funding, net, closed, net - closed]
    levels = [D(0), gross, gross - slippage, gross - slippage - fees, net, closed]
    span = max(levels) - min(levels)
    for title, begin, end in (
        ("slippage", gross, gross - slippage),
        ("fees", gross - slippage, gross - slippage - fees),
        ("funding", gross - slippage - fees, net),
        ("still open", closed, net),
    ):
        if span:
            left, right = (float((x - min(levels)) / span * 100) for x in sorted((begin, end)))
            assert steps[title].left == pytest.approx(left, abs=0.02)
            assert steps[title].left + steps[title].width == pytest.approx(right, abs=0.03)


def months() -> Iterator[MonthReport]:
    for number, value in enumerate((0.02, -0.05, None, 0.2), start=10):
        year, month = divmod(number - 1, 12)
        yield {
            "month": f"{2025 + year}-{month + 1:02d}",
            "complete": True,
            "return_twr": value,
            "trades": 1,
        }


def test_the_heat_map_has_a_row_for_each_year_with_the_compounded_return_of_its_months() -> None:
    first, second = charts.year_rows(list(months()))
    assert (first.year, second.year) == ("2025", "2026")
    assert first.return_twr is None  # a month without a return
    assert second.return_twr == pytest.approx(0.2)
    assert [cell is not None for cell in first.months] == [False] * 9 + [True] * 3
    shades = [cell.shade for cell in first.months if cell is not None]
    assert shades == [22, 40, 0]
    assert second.months[0] is not None
    assert second.months[0].shade == 70


def test_the_drawn_drawdown_keeps_the_maximum_drawdown_in_a_limited_number_of_points() -> None:
    points = [
        {"at_ms": i * 60_000, "equity": "1", "drawdown": -0.5 if i == 4321 else -0.01 * (i % 3)}
        for i in range(9_000)
    ]
    for chart in charts.drawdown_charts(points):  # type: ignore[arg-type]  # points are typed dicts
        pairs = re.findall(r"([\d.]+),([\d.]+)", chart.area)
        depth = max(float(y) for _, y in pairs)
        scale = chart.frame.inner_bottom - chart.frame.top
        assert (depth - chart.frame.top) / scale == pytest.approx(0.5 / 0.53, abs=0.01)
        assert len(pairs) <= chart.frame.width + 3


@given(st.lists(st.integers(-900, 1_200).map(lambda n: n / 100), min_size=1))
def test_the_heights_of_the_bars_of_the_distribution_of_r_are_proportional_to_their_counts(
    values: list[float],
) -> None:
    bins = [{"low": b.low, "high": b.high, "trades": b.trades} for b in bin_r(values)]
    for chart in charts.r_charts(bins):  # type: ignore[arg-type]  # bins are typed dicts
        assert len(chart.bars) == len(bins)
        unit = (chart.frame.inner_bottom - chart.frame.top) / (
            max(b.trades for b in bin_r(values)) * 1.08
        )
        for bar, found in zip(chart.bars, bin_r(values), strict=True):
            assert bar.height == pytest.approx(found.trades * unit, abs=0.11)
            assert math.isfinite(bar.x)
