"""The comparison of two reports of backtests: it warns, and finds each difference once."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.record.backtest_document import BacktestReport
from kamou.core.record.comparison import compare_reports

REPORT: dict[str, Any] = {
    "version": "1",
    "currency": "USDT",
    "settings": {"a": 1, "b": 2},
    "data": {
        "name": "bars",
        "symbols": ["AAA", "BBB"],
        "period_ms": 60_000,
        "first_ms": 0,
        "digest": "d",
    },
    "tested": {
        "from_ms": 0,
        "until_ms": 9,
        "as_of_ms": 9,
        "days": 0.0,
        "interrupted": False,
    },
    "figures": {"return": {"value": 0.5, "reason": None, "n": 1, "unit": ""}},
    "trade_list": [],
}


def changed(place: str, **values: object) -> BacktestReport:
    """Return the report with other values in one of its parts; place "" is the whole."""
    part = {**REPORT[place], **values} if place else {**REPORT, **values}
    return cast(BacktestReport, {**REPORT, place: part} if place else part)


SAME = changed("")


def test_two_equal_reports_have_no_difference_and_no_warning() -> None:
    found = compare_reports(SAME, SAME)
    assert (found["warnings"], found["settings"]) == ([], [])
    assert found["figures"] == [{"name": "return", "before": 0.5, "after": 0.5, "change": 0.0}]


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        (changed("data", symbols=["AAA"]), "symbols of the first report only: BBB"),
        (changed("data", symbols=["AAA", "BBB", "C"]), "symbols of the second report only: C"),
        (changed("data", period_ms=1), "the bars have different periods"),
        (changed("data", digest="e"), "the data differs: the same symbols and times, other values"),
        (changed("tested", from_ms=1), "the tested times differ"),
        (changed("tested", as_of_ms=8), "the tested times differ"),
        (changed("tested", interrupted=True), "the second backtest was interrupted"),
        (changed("", version="2"), "the reports are of different versions of Kamou: 1 and 2"),
        (changed("", currency="USDC"), "the currencies differ"),
    ],
)
def test_reports_of_different_tests_have_a_warning(other: BacktestReport, warning: str) -> None:
    assert compare_reports(SAME, other)["warnings"] == [warning]


def test_the_first_five_symbols_of_one_report_only_are_named_and_the_others_counted() -> None:
    more = changed("data", symbols=["AAA", "BBB", *(f"N{i}" for i in range(9))])
    (warning,) = compare_reports(SAME, more)["warnings"]
    assert warning.endswith("N0, N1, N2, N3, N4 and 4 more")


def test_settings_that_differ_or_that_one_report_lacks_are_listed() -> None:
    found = compare_reports(SAME, cast(BacktestReport, {**REPORT, "settings": {"b": 3, "c": 4}}))
    assert found["settings"] == [
        {"name": "a", "before": 1, "after": None},
        {"name": "b", "before": 2, "after": 3},
        {"name": "c", "before": None, "after": 4},
    ]


def test_a_figure_without_a_value_in_one_report_has_no_change() -> None:
    none = {"value": None, "reason": "no trade closed", "n": 0, "unit": ""}
    found = compare_reports(SAME, cast(BacktestReport, {**REPORT, "figures": {"return": none}}))
    assert found["figures"] == [{"name": "return", "before": 0.5, "after": None, "change": None}]


TRADES = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.sampled_from(["long", "short"]), st.integers(0, 1))
)


@given(TRADES, TRADES)
def test_each_trade_is_equal_or_changed_or_of_one_report_only(
    first: dict[str, tuple[str, int]], second: dict[str, tuple[str, int]]
) -> None:
    lists = [
        [{"trade_id": name, "side": side, "pnl_net": net} for name, (side, net) in each.items()]
        for each in (first, second)
    ]
    found = compare_reports(
        *(cast(BacktestReport, {**REPORT, "trade_list": trades}) for trades in lists)
    )
    both = {name for name in first.keys() & second.keys() if first[name][0] == second[name][0]}
    same = {name for name in both if first[name] == second[name]}
    assert found["same_trades"] == len(same)
    names = [pair["before"]["trade_id"] for pair in found["changed_trades"]]
    assert sorted(names) == sorted(both - same)
    assert {t["trade_id"] for t in found["only_before"]} == first.keys() - both
    assert {t["trade_id"] for t in found["only_after"]} == second.keys() - both
