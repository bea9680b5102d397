"""The report of `kamou backtest` in the terminal: readable at 80 columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from kamou.commands.backtest import write_report
from kamou.commands.backtest_text import report_lines
from kamou.commands.text_layout import count_cells
from kamou.core.record.backtest_document import BacktestReport
from kamou.web.figure_texts import FIGURE_TEXTS
from tests.commands.made_reports import make_report
from tests.runs.traded_days import trade_days


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> BacktestReport:
    return trade_days(tmp_path_factory.mktemp("traded") / "journal.sqlite3").report


@pytest.fixture(scope="module")
def without_trades() -> BacktestReport:
    return cast(BacktestReport, make_report())


@pytest.mark.parametrize("width", [80, 100])
def test_no_line_of_the_report_but_its_digest_is_wider_than_the_terminal(
    report: BacktestReport, without_trades: BacktestReport, width: int
) -> None:
    for each in (report, without_trades):
        wide = [
            line
            for line in report_lines(each, width)
            if count_cells(line) > width and not line.startswith("facts digest")
        ]
        assert not wide


def test_the_report_in_the_terminal_has_every_figure_table_and_date(
    report: BacktestReport,
) -> None:
    text = "\n".join(report_lines(report, 80))
    for figure in FIGURE_TEXTS.values():
        assert f"  {figure.title}  " in text, figure.title
    for words in (
        "2025-01-01 00:00 to 2025-01-05 00:00 UTC",
        "1 position still open",
        "from gross to net",
        "maximum drawdown: -3.79%, peak 2025-01-01 07:00",
        "Jan 2025 (part)",
        "best trades",
        "worst trades",
        "by exit reason",
        "by weekday of the entry (UTC)",
        "denials of entries",
        "RATE_REENTRIES_EXCEEDED",
        report["facts_digest"],
    ):
        assert words in text, words


def test_a_backtest_without_trades_shows_a_dash_and_the_reason_for_each_figure_of_trades(
    without_trades: BacktestReport,
) -> None:
    lines = report_lines(without_trades, 80)
    for name in ("win_rate", "profit_factor", "expectancy_r", "average_hold"):
        (line,) = [each for each in lines if each.startswith(f"  {FIGURE_TEXTS[name].title}  ")]
        assert line.split()[-4:] == ["-", "no", "trade", "closed"]
    (line,) = [each for each in lines if each.startswith("  Sharpe ratio  ")]
    assert line.split()[-4:] == ["-", "under", "two", "days"]


def test_each_strategy_has_its_signals_and_abstentions_with_what_it_wants(
    without_trades: BacktestReport,
) -> None:
    quiet: BacktestReport = {
        **without_trades,
        "by_strategy": {
            "ratio_fade": {
                "candidates": 0,
                "abstained": {"SOURCE_MISSING": 1_234, "DATA_STALE": 1},
                "wanted": {"SOURCE_MISSING": "ratios of long to short accounts"},
                "trades": 0,
                "wins": 0,
                "pnl_net": "0",
                "mean_r": None,
                "without_r": 0,
            }
        },
    }
    lines = report_lines(quiet, 80)
    first = lines.index("  ratio fade: 0 signals, 1,235 abstentions")
    assert [line.split() for line in lines[first + 1 : first + 3]] == [
        ["1,234", "SOURCE_MISSING", "wants", "ratios", "of", "long", "to", "short", "accounts"],
        ["1", "DATA_STALE"],
    ]


def test_violations_errors_of_strategies_and_notes_on_the_data_come_before_the_figures(
    report: BacktestReport,
) -> None:
    marked: BacktestReport = {
        **report,
        "violations": 1,
        "violation_list": [{"rule": "STOP", "at_ms": 0, "symbol": "AAA", "detail": "no stop"}],
        "strategy_failures": [
            {
                "strategy": "mine",
                "kind": "raised",
                "place": "mine.py:7",
                "count": 3,
                "error": "KeyError('volume')",
                "symbol": "",
                "first_at_ms": 0,
                "last_at_ms": 0,
            }
        ],
        "data_notes": ["BBB ended early"],
    }
    lines = report_lines(marked, 80)
    places = [
        lines.index(line)
        for line in (
            "! 1 violation of the hard rules",
            "! 1970-01-01 00:00:00 AAA STOP: no stop",
            "  mine.py:7 raised, 3 times, first at 1970-01-01 00:00:00: KeyError('volume')",
            "  BBB ended early",
            "figures",
        )
    ]
    assert places == sorted(places)


def test_the_written_report_is_the_report_with_a_line_for_each_trade_and_snapshot(
    report: BacktestReport, tmp_path: Path
) -> None:
    text = write_report(report)
    assert json.loads(text) == report
    lines = text.splitlines()
    assert len(lines) < len(report["equity_curve"]) + len(report["trade_list"]) + 120
    assert f"  {json.dumps(report['trade_list'][0])}," in lines
