"""The figures of a backtest agree with their definitions over many random inputs."""

from __future__ import annotations

import json
import math
from collections import Counter
from decimal import Decimal as D
from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.kinds import ExitReason
from kamou.core.model import Side
from kamou.core.record.backtest_document import BacktestFigure
from kamou.core.record.backtest_figures import BacktestRecord, MarketChange, backtest_figures
from kamou.core.record.trade_figures import GROUPINGS, bin_r, group_trades, rank_by_r
from kamou.core.record.trade_sums import ClosedTrade, Holding
from kamou.core.record.underwater import depths_below_peak, find_drawdowns
from tests.core.record import figures_by_definition as definition

START_MS = 1_759_881_600_000  # 2025-10-08T00:00Z, a Wednesday
HOUR_MS = 3_600_000
EQUITY = st.integers(1, 400).map(lambda n: n * 25)


@st.composite
def curves(draw: st.DrawFn) -> list[tuple[int, float]]:
    steps = draw(st.lists(st.integers(1, 40), max_size=14))
    times = [START_MS]
    for step in steps:
        times.append(times[-1] + step * HOUR_MS)
    return [(at_ms, float(draw(EQUITY))) for at_ms in times]


@st.composite
def closed_trades(draw: st.DrawFn, end_ms: int = START_MS + 90 * HOUR_MS) -> ClosedTrade:
    from_ms = draw(st.integers(START_MS, end_ms))
    cents = st.integers(-20_000, 20_000).map(lambda n: D(n) / 100)
    return ClosedTrade(
        trade_id=f"t{draw(st.integers(0, 10**9))}",
        symbol=draw(st.sampled_from(["AAA", "BBB", "CCC"])),
        strategy=draw(st.sampled_from(["a", "b"])),
        side=draw(st.sampled_from(Side)),
        holding=Holding(
            from_ms=from_ms,
            until_ms=draw(st.integers(from_ms, end_ms)),
            entry_value=abs(draw(cents)),
        ),
        fees=draw(cents),
        funding=draw(cents),
        slippage=draw(cents),
        pnl_net=draw(cents),
        r=draw(st.none() | st.integers(-500, 900).map(lambda n: n / 100)),
        exit_reason=draw(st.sampled_from(ExitReason)),
    )


@st.composite
def backtests(draw: st.DrawFn) -> BacktestRecord:
    curve = draw(curves())
    end_ms = curve[-1][0]
    held = draw(st.lists(closed_trades(end_ms), max_size=3))
    shares = st.integers(-99, 300).map(lambda n: n / 100)
    return BacktestRecord(
        curve=curve,
        daily=draw(st.lists(st.integers(-400, 400).map(lambda n: n / 10_000), max_size=9)),
        trades=draw(st.lists(closed_trades(end_ms), max_size=12)),
        open_holdings=[attrs.evolve(each.holding, until_ms=end_ms) for each in held],
        market=MarketChange(
            changes=draw(st.dictionaries(st.sampled_from(["BTCUSDT", "AAA", "BBB"]), shares)),
            bitcoin=draw(st.sampled_from([None, "BTCUSDT"])),
        ),
    )


def plain(holding: Holding, trade: ClosedTrade | None = None) -> definition.PlainTrade:
    return definition.PlainTrade(
        from_ms=holding.from_ms,
        until_ms=holding.until_ms,
        value=Fraction(holding.entry_value),
        net=Fraction(trade.pnl_net if trade else 0),
        r=None if trade is None or trade.r is None else Fraction(trade.r),
    )


def judge(tested: BacktestRecord) -> dict[str, float | None]:
    return definition.all_figures(
        definition.Inputs(
            curve=[(at, Fraction(equity)) for at, equity in tested.curve],
            daily=tested.daily,
            trades=[plain(trade.holding, trade) for trade in tested.trades],
            held=[plain(held) for held in tested.open_holdings],
            changes=tested.market.changes,
            bitcoin=tested.market.bitcoin,
        )
    )


@given(backtests())
def test_every_figure_of_a_backtest_agrees_with_its_definition(
    tested: BacktestRecord,
) -> None:
    found = backtest_figures(tested)
    wanted = judge(tested)
    assert set(found) == set(wanted)
    for name, figure in found.items():
        value, right = figure["value"], wanted[name]
        if value is None or right is None:
            assert value is right, name
        else:
            assert value == pytest.approx(right, rel=1e-9, abs=1e-12), name


@given(backtests())
def test_a_figure_without_a_value_has_a_reason_and_no_figure_is_infinite(
    tested: BacktestRecord,
) -> None:
    found = backtest_figures(tested)
    json.dumps(found, allow_nan=False)
    for name, figure in found.items():
        assert (figure["value"] is None) == bool(figure["reason"]), name


@given(st.lists(closed_trades(), min_size=1, max_size=12))
def test_the_interval_of_the_win_rate_solves_wilsons_equation(trades: list[ClosedTrade]) -> None:
    tested = BacktestRecord(
        curve=[(START_MS, 100.0)],
        daily=[],
        trades=trades,
        open_holdings=[],
        market=MarketChange(changes={}, bitcoin=None),
    )
    figure: BacktestFigure = backtest_figures(tested)["win_rate"]
    wins = sum(trade.pnl_net > 0 for trade in trades)
    low, high = definition.wilson(wins, len(trades))
    assert (figure["low"], figure["high"]) == pytest.approx((low, high), abs=1e-7)


@given(curves())
def test_each_drawdown_lies_between_a_peak_and_the_first_return_to_it(
    curve: list[tuple[int, float]],
) -> None:
    equity = dict(curve)
    falls = dict(depths_below_peak(curve))
    under = {at for at, fall in falls.items() if fall < 0}
    covered: set[int] = set()
    for each in find_drawdowns(curve):
        assert each.peak_ms is not None
        assert each.trough_ms is not None
        end = each.recovery_ms or curve[-1][0] + 1
        inside = {at for at in equity if each.peak_ms < at < end}
        assert each.snapshots == len(inside)
        assert all(equity[at] < equity[each.peak_ms] for at in inside)
        assert each.value == min(falls[at] for at in inside) == falls[each.trough_ms]
        if each.recovery_ms is not None:
            assert equity[each.recovery_ms] >= equity[each.peak_ms]
        covered |= inside
    assert covered == under


@given(st.lists(st.integers(-900, 1_200).map(lambda n: n / 100)))
def test_the_distribution_of_r_counts_each_trade_in_the_bin_that_holds_it(
    values: list[float],
) -> None:
    found = bin_r(values)
    for each in found:
        low = -math.inf if each.low is None else each.low
        high = math.inf if each.high is None else each.high
        assert each.trades == sum(low <= value < high for value in values)
    assert sum(each.trades for each in found) == len(values)
    edges = [each.high for each in found[:-1]]
    assert edges == [each.low for each in found[1:]]


@given(st.lists(closed_trades(), max_size=20))
def test_the_best_and_the_worst_trades_are_those_with_the_highest_and_the_lowest_r(
    trades: list[ClosedTrade],
) -> None:
    known = {trade.trade_id: trade.r for trade in trades if trade.r is not None}
    best, worst = rank_by_r(trades)
    values = sorted(trade.r for trade in trades if trade.r is not None)
    if len(known) == len(values):  # no id was drawn twice
        assert [known[each] for each in best] == values[::-1][:5]
        assert [known[each] for each in worst] == values[:5]


@given(st.lists(closed_trades(), max_size=20), st.sampled_from(sorted(GROUPINGS)))
def test_the_rows_of_each_table_add_up_to_all_trades(trades: list[ClosedTrade], by: str) -> None:
    rows = group_trades(trades, by)
    assert len({row.key for row in rows}) == len(rows)
    assert sum(row.sums.trades for row in rows) == len(trades)
    for amount in ("pnl_net", "fees", "funding", "slippage"):
        assert sum(getattr(row, amount) for row in rows) == sum(getattr(t, amount) for t in trades)
    if by in ("symbol", "strategy", "side", "exit_reason"):
        counts = Counter(str(getattr(trade, by)) for trade in trades)
        assert {row.key: row.sums.trades for row in rows} == counts
        assert [row.pnl_net for row in rows] == sorted((r.pnl_net for r in rows), reverse=True)


def test_weekday_and_hour_of_a_table_are_those_of_the_entry_in_utc() -> None:
    entry = START_MS + 21 * HOUR_MS + 59 * 60_000
    holding = Holding(from_ms=entry, until_ms=entry + 5 * HOUR_MS, entry_value=D(1))
    trade = ClosedTrade(
        trade_id="t",
        symbol="AAA",
        strategy="a",
        side=Side.LONG,
        holding=holding,
        fees=D(0),
        funding=D(0),
        slippage=D(0),
        pnl_net=D(1),
        r=None,
        exit_reason=ExitReason.EXIT,
    )
    assert [row.key for row in group_trades([trade], "weekday")] == ["Wednesday"]
    assert [row.key for row in group_trades([trade], "hour")] == ["21"]
