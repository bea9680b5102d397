"""The table of `kamou backtest`: figures are rounded and named."""

from __future__ import annotations

from typing import cast

import pytest

from kamou.commands import backtest
from kamou.runs.backtest_report import BacktestReport


def test_the_figures_of_the_backtest_table_are_rounded_and_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = {
        "first_ms": 1_753_488_000_000,
        "equity_end": "10123.4567891234567891234567",
        "max_drawdown": -0.0123456,
        "worst_overshoot_r": "0.0857142857142857142857142857",
        "violations": 0,
        "violation_list": [],
        "by_strategy": {"oi_momentum": {"pnl_net": "17.123456789123", "trades": 3}},
    }
    backtest._print_report(cast(BacktestReport, result))
    shown = capsys.readouterr().out
    for words in (
        "worst overshoot",
        "0.086 of the stop distance",
        "10,123.46",
        "-1.23%",
        "17.12",
        "first bar (UTC)",
        "2025-07-26 00:00:00",
    ):
        assert words in shown, words
    assert "worst_overshoot_r" not in shown
    assert "violation_list" not in shown
