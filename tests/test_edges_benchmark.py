"""The table of planted edges: its fills by hand, and what the gate finds in a short market."""

from __future__ import annotations

import sys
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.model import Candidate, Side
from kamou.core.record.e_values import ResultOfTrade
from kamou.core.risk.limits import CostModel
from kamou.venue.market.edges import Edge

FOLDER = Path(__file__).parents[1] / "benchmarks"
BAR_MS = 900_000


@pytest.fixture(scope="module")
def edges() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module("edges")
    finally:
        sys.path.remove(str(FOLDER))


def make_prices(bars: list[tuple[float, float, float]], funding: float = 0.0) -> Any:
    """Return a stand-in of ``Prices`` with bars of open, high and low, and one symbol."""
    columns = np.array(bars).T[..., np.newaxis]
    return SimpleNamespace(
        open=columns[0],
        high=columns[1],
        low=columns[2],
        since_ms=0,
        step_ms=BAR_MS,
        half_spread=np.array([0.0001]),
        column={"A": 0},
        funding=np.full((100, 1), funding),
        row=lambda at_ms: at_ms // BAR_MS,
    )


def candidate(side: Side, *, stop: float = 2.0, target: float = 4.0, hold: int = 4) -> Candidate:
    return Candidate(
        signal_id="s",
        strategy="x",
        symbol="A",
        side=side,
        score=1.0,
        close=100.0,
        stop_distance=stop,
        target_distance=target,
        hold_ms=hold * BAR_MS,
        bar_opened_at_ms=0,
        bar_closed_at_ms=BAR_MS,
        features=(),
        proxy="",
    )


FLAT = (100.0, 100.5, 99.5)
# Touch 100.01, entry 100.03 with slippage; the planned risk has 10 bps of the entry limit.
RISK = 2.0 + 100.01 * 0.001
FEE_IN = 0.0006 * 100.03


@pytest.mark.parametrize(
    ("bars", "row", "exit_price", "fee"),
    [
        # the stop, 98.01, less half the spread and slippage
        ([FLAT, (100.0, 100.2, 97.0), FLAT, FLAT], 1, 98.01 * (1 - 0.0003), 0.0006),
        # stop and target in one bar: the stop first
        ([FLAT, (100.0, 105.0, 97.0), FLAT, FLAT], 1, 98.01 * (1 - 0.0003), 0.0006),
        # a bar that opens beyond the stop fills at its open
        ([FLAT, (96.0, 96.5, 95.0), FLAT, FLAT], 1, 96.0 * (1 - 0.0003), 0.0006),
        # the target is a limit order, as a maker
        ([FLAT, FLAT, (100.0, 104.5, 99.5), FLAT], 2, 104.01, 0.0002),
        # a limit that is only touched does not fill, so the age ends the trade
        ([FLAT, (100.0, 104.01, 99.5), FLAT, FLAT, (101.0, 101.5, 99.0)], 4, 100.9697, 0.0006),
    ],
)
def test_a_long_shadow_trade_ends_as_calculated_by_hand(
    edges: ModuleType,
    bars: list[tuple[float, float, float]],
    row: int,
    exit_price: float,
    fee: float,
) -> None:
    closed = edges.trade(candidate(Side.LONG), 0, make_prices(bars), CostModel(), 1.2)
    assert closed.result.closed_at_ms == (row + 1) * BAR_MS
    pnl = exit_price - 100.03 - FEE_IN - fee * exit_price
    assert float(closed.result.r) == pytest.approx(pnl / RISK, abs=1e-7)
    assert closed.result.pnl == closed.result.r * 100


def test_a_short_shadow_trade_mirrors_a_long_one(edges: ModuleType) -> None:
    bars = [FLAT, (100.0, 103.0, 99.5), FLAT, FLAT]
    closed = edges.trade(candidate(Side.SHORT), 0, make_prices(bars), CostModel(), 1.2)
    stop = 99.99 + 2.0
    pnl = 99.97 - stop * 1.0003 - 0.0006 * 99.97 - 0.0006 * stop * 1.0003
    assert float(closed.result.r) == pytest.approx(pnl / (2.0 + 99.99 * 0.001), abs=1e-7)


@pytest.mark.parametrize("side", Side)
def test_longs_pay_and_shorts_receive_positive_funding(edges: ModuleType, side: Side) -> None:
    bars = [FLAT] * 41
    found = [
        edges.trade(
            candidate(side, hold=40), 0, make_prices(bars, funding=rate), CostModel(), 0.0
        ).result.r
        for rate in (0.0, 0.0005)
    ]
    # 40 bars of 15 minutes have one settlement, at 8 h.
    risk = 2.0 + (100.01 if side is Side.LONG else 99.99) * 0.001
    assert float(found[0] - found[1]) == pytest.approx(side.sign * 0.05 / risk, abs=1e-7)


def test_a_low_reward_to_risk_after_costs_opens_no_shadow_trade(edges: ModuleType) -> None:
    bars = [FLAT, FLAT, FLAT, FLAT, FLAT]
    # cost = 2 x (6 + 3) bps of 100, and 1 bp of assumed funding per 8 h over 1 h
    cost = 100 * (2 * 0.0009 + 0.0001 * 1 / 8)
    least = 1.2 * (2.0 + cost) + cost
    for target, opens in ((least - 0.001, False), (least + 0.001, True)):
        found = edges.trade(
            candidate(Side.LONG, target=target), 0, make_prices(bars), CostModel(), 1.2
        )
        assert (found is not None) is opens


def test_a_trade_that_is_open_at_the_end_is_no_closed_trade(edges: ModuleType) -> None:
    found = edges.trade(candidate(Side.LONG), 0, make_prices([FLAT] * 4), CostModel(), 1.2)
    assert found is None


def test_an_open_trade_holds_back_its_block_and_every_later_one(edges: ModuleType) -> None:
    def result(day: int, days_open: float) -> ResultOfTrade:
        opened = edges.GENESIS_MS + day * DAY_MS + HOUR_MS
        return ResultOfTrade(
            strategy="x",
            symbol="A",
            opened_at_ms=opened,
            closed_at_ms=opened + int(days_open * DAY_MS),
            r=Decimal(1),
            pnl=Decimal(100),
        )

    results = [result(0, 0.1), result(1, 3.0), result(2, 0.1), result(5, 0.1)]
    looks = {day: each.n for day, each in edges.looks_of("x", results, 7)}
    assert looks == {1: 1, 5: 3, 6: 4, 7: 4}


@pytest.mark.parametrize("edge", [Edge.MEAN_REVERSION, Edge.OI_MOMENTUM])
def test_the_gate_finds_a_planted_edge_and_no_other_one(edges: ModuleType, edge: Edge) -> None:
    plan = edges.Plan(
        symbols=24, days=46, step_ms=BAR_MS, strategies=tuple(Edge), top=20, regimes=False
    )
    rows = edges.run_seed(11, plan, edge.value)
    assert {row.strategy for row in rows} == set(Edge)
    for row in rows:
        assert row.planted is (row.strategy == edge)
        assert row.decision == ("CANARY" if row.planted else "SHADOW")
        assert row.n > 0
        if row.planted:
            assert row.block_r > 0.8
        else:
            assert row.promoted_on_day is None
