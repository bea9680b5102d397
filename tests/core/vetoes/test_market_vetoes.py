"""The vetoes of regime, spread, depth, funding and fast moves, at their limits."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import attrs
import numpy as np
import pytest

from kamou.core.codes import Veto
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.indicators.regime_terms import SymbolRegime, Trend, Volatility, parse_label
from kamou.core.market.bars import Bars
from kamou.core.market.price_moves import RecentMoves, find_largest_ranges, merge_largest
from kamou.core.model import Side
from kamou.core.risk.limits import CostModel, RegimeTable, TradingParameters, VetoLimits
from kamou.core.vetoes import apply_vetoes
from kamou.core.vetoes.base import VetoContext
from tests.core.trading_cases import instrument
from tests.core.vetoes.test_vetoes import (
    CALM,
    NOW,
    VETOES,
    candidate,
    codes,
    context,
    figures,
    quote,
)

ALLOWED = {
    # strategy: the trends of its symbol, and of Bitcoin; by the design's table of strategies
    "order_flow": ({"range", "trend+", "trend-"}, {"range", "trend+", "trend-"}),
    "funding_fade": ({"range"}, {"range", "trend+", "trend-"}),
    "mean_reversion": ({"range"}, {"range", "trend+", "trend-"}),
    "macro": ({"range", "trend+", "trend-"}, {"trend+", "trend-"}),
    "oi_momentum": ({"trend+", "trend-"}, {"range", "trend+", "trend-"}),
    "somebody_elses": ({"range", "trend+", "trend-"}, {"range", "trend+", "trend-"}),
}


def of(trend: Trend | None, volatility: Volatility | None = Volatility.NORMAL) -> SymbolRegime:
    return attrs.evolve(CALM, trend=trend, volatility=volatility)


@pytest.mark.parametrize("strategy", ALLOWED)
def test_a_strategy_enters_in_the_regimes_of_the_designs_table_alone(strategy: str) -> None:
    own, bitcoins = ALLOWED[strategy]
    sizes = tuple(Volatility)
    for trend, size, other, others_size in product(Trend, sizes, Trend, sizes):
        about = context(regimes={"ABC": of(trend, size), "BTC": of(other, others_size)})
        shock = Volatility.SHOCK in (size, others_size)
        allowed = trend in own and other in bitcoins and not shock
        found = codes(candidate(strategy=strategy), about)
        assert found == ([] if allowed else [Veto.REGIME_EXCLUDED]), (trend, size, other)


def test_the_ratio_fade_enters_in_ranges_and_in_trends_with_large_moves() -> None:
    found = {
        regime.label
        for regime in (of(trend, size) for trend in Trend for size in Volatility)
        if not codes(
            candidate(strategy="ratio_fade"), context(regimes={"ABC": regime, "BTC": CALM})
        )
    }
    assert found == {"range/low", "range/normal", "range/high", "trend+/high", "trend-/high"}


@pytest.mark.parametrize(
    "regimes",
    [
        {"BTC": CALM},
        {"ABC": CALM},
        {"ABC": of(None), "BTC": CALM},
        {"ABC": of(Trend.RANGE, None), "BTC": CALM},
        {"ABC": CALM, "BTC": of(None)},
    ],
)
def test_an_unknown_regime_of_the_symbol_or_of_bitcoin_stops_every_strategy(
    regimes: dict[str, SymbolRegime],
) -> None:
    for strategy in ALLOWED:
        assert codes(candidate(strategy=strategy), context(regimes=regimes)) == [
            Veto.REGIME_EXCLUDED
        ]


def test_without_a_listed_bitcoin_only_strategies_with_its_labels_are_stopped() -> None:
    about = context(regimes={"ABC": CALM}, bitcoin="")
    assert codes(candidate(), about) == []
    assert codes(candidate(strategy="macro"), about) == [Veto.REGIME_EXCLUDED]


def test_the_figures_of_an_excluded_regime_say_what_is_and_what_is_wanted() -> None:
    trend = attrs.evolve(of(Trend.UP), adx=31.25, efficiency=0.5, percentile=55.0)
    (denied,) = apply_vetoes(candidate(), context(regimes={"ABC": trend, "BTC": CALM}), VETOES)
    assert figures(denied) == {
        "regime": "trend+/normal",
        "bitcoin": "range/normal",
        "allowed": "range",
        "adx": "31.25",
        "efficiency": "0.5",
        "percentile": "55",
        "days": "90",
    }


def test_a_label_with_a_volatility_allows_that_one_alone() -> None:
    table = RegimeTable(mean_reversion=("range/low", "btc:trend-/high"))
    limits = VetoLimits(regimes=table)
    for size, other in product(Volatility, Volatility):
        about = context(
            limits=limits, regimes={"ABC": of(Trend.RANGE, size), "BTC": of(Trend.DOWN, other)}
        )
        allowed = size is Volatility.LOW and other is Volatility.HIGH
        assert (codes(candidate(), about) == []) == allowed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "trend",
        "range/",
        "range/shock",
        "btc:range/shock",
        "eth:range",
        "range/low/low",
        "RANGE",
    ],
)
def test_a_text_that_is_no_label_is_none_and_allows_nothing(text: str) -> None:
    assert parse_label(text) is None
    limits = VetoLimits(regimes=RegimeTable(mean_reversion=(text,)))
    assert codes(candidate(), context(limits=limits)) == [Veto.REGIME_EXCLUDED]


# Bid 100, ask 100 + spread: 30 bps of mid is a spread of 0.3 / 0.9985.
@pytest.mark.parametrize(("spread", "denied"), [("0.3004", []), ("0.3005", [Veto.SPREAD_WIDE])])
def test_a_spread_above_30_bps_of_mid_is_vetoed(spread: str, denied: list[str]) -> None:
    found = codes(candidate(target_distance=9.0), context(quotes={"ABC": quote(spread=spread)}))
    assert found == denied


@pytest.mark.parametrize(
    ("side", "bid_qty", "ask_qty", "denied"),
    [
        (Side.LONG, 0, 50, []),  # 50 contracts of 0.1 at the ask of 100.02 are 500.10
        (Side.LONG, 10_000, 49, [Veto.DEPTH_LOW]),
        (Side.SHORT, 50, 0, []),  # 500 at the bid of 100
        (Side.SHORT, 49, 10_000, [Veto.DEPTH_LOW]),
    ],
)
def test_an_entry_needs_500_usdt_at_the_price_that_it_takes(
    side: Side, bid_qty: int, ask_qty: int, denied: list[str]
) -> None:
    offered = attrs.evolve(quote(), bid_qty=Decimal(bid_qty), ask_qty=Decimal(ask_qty))
    assert codes(candidate(side=side), context(quotes={"ABC": offered})) == denied


def settling(
    rate: str | None, *, ago_ms: int, interval_h: int = 8, assumed_bps: str = "1"
) -> VetoContext:
    """Return a context with a settlement so long ago, at this rate per interval."""
    return context(
        funding_rates={} if rate is None else {"ABC": Decimal(rate)},
        settled_ms={} if rate is None else {"ABC": NOW - ago_ms},
        instruments={"ABC": instrument("ABC", funding_interval_h=interval_h)},
        parameters=TradingParameters(costs=CostModel(funding_bps_per_8h=Decimal(assumed_bps))),
    )


@pytest.mark.parametrize(
    ("side", "rate", "left_ms", "denied"),
    [
        (Side.LONG, "0.00051", 900_000, [Veto.FUNDING_NEAR]),
        (Side.LONG, "0.00051", 900_001, []),
        (Side.LONG, "0.00051", 1, [Veto.FUNDING_NEAR]),
        (Side.LONG, "0.0005", 900_000, []),
        (Side.SHORT, "0.00051", 900_000, []),  # a short receives it
        (Side.SHORT, "-0.00051", 900_000, [Veto.FUNDING_NEAR]),
        (Side.LONG, "-0.00051", 900_000, []),
    ],
)
@pytest.mark.parametrize(("interval_h", "missed"), [(8, 0), (8, 2), (1, 0), (4, 3)])
def test_no_entry_pays_more_than_5_bps_of_funding_within_15_minutes(
    side: Side, rate: str, left_ms: int, denied: list[str], interval_h: int, missed: int
) -> None:
    """``missed`` settlements since the last known one are not known."""
    ago_ms = (missed + 1) * interval_h * HOUR_MS - left_ms
    about = settling(rate, ago_ms=ago_ms, interval_h=interval_h)
    assert codes(candidate(side=side, hold_ms=0), about) == denied


def test_at_a_settlement_the_next_one_counts() -> None:
    assert codes(candidate(hold_ms=0), settling("0.01", ago_ms=0)) == []
    assert codes(candidate(hold_ms=0), settling("0.01", ago_ms=8 * HOUR_MS)) == []


def test_without_a_rate_both_sides_are_assumed_to_pay_at_multiples_of_the_interval() -> None:
    midnight = NOW // (24 * HOUR_MS) * 24 * HOUR_MS + 24 * HOUR_MS
    for side, left_ms in product(Side, (900_000, 900_001)):
        about = attrs.evolve(
            settling(None, ago_ms=0, assumed_bps="6"),
            now_ms=midnight - left_ms,
            quotes={"ABC": quote(at_ms=midnight - left_ms)},
        )
        one = candidate(side=side, hold_ms=0, bar_closed_at_ms=midnight - left_ms)
        assert codes(one, about) == ([Veto.FUNDING_NEAR] if left_ms == 900_000 else [])


# A day of 3 % has a deviation of 0.03 / sqrt(1440) within a minute, of which four are 0.316 %; a
# day of 30 % has 3.16 %.
@pytest.mark.parametrize(
    ("day", "move", "denied"),
    [
        (0.03, 0.02, []),
        (0.03, 0.0201, [Veto.VELOCITY_PAUSE]),
        (0.30, 0.0316, []),
        (0.30, 0.0317, [Veto.VELOCITY_PAUSE]),
        (None, 0.02, []),
        (None, 0.0201, [Veto.VELOCITY_PAUSE]),
    ],
)
@pytest.mark.parametrize("mover", ["ABC", "BTC"])
def test_a_move_of_the_symbol_or_of_bitcoin_above_both_limits_pauses_entries(
    day: float | None, move: float, denied: list[str], mover: str
) -> None:
    regimes = dict.fromkeys(("ABC", "BTC"), attrs.evolve(CALM, day_volatility=day))
    assert codes(candidate(), context(moves={mover: move}, regimes=regimes)) == denied


def test_a_move_of_another_symbol_pauses_nothing_and_unknown_moves_pause_everything() -> None:
    assert codes(candidate(), context(moves={"XYZ": 0.5})) == []
    assert codes(candidate(), context(moves=None)) == [Veto.VELOCITY_PAUSE]


def test_a_move_counts_until_the_pause_is_over_and_the_largest_of_several_counts() -> None:
    recent = RecentMoves(pause_ms=300_000)
    for at_ms, move in ((NOW, 0.03), (NOW + MINUTE_MS, 0.01)):
        recent.note("ABC", at_ms, move)
    assert recent.largest(NOW + 299_999) == {"ABC": 0.03}
    assert recent.largest(NOW + 300_000) == {"ABC": 0.01}
    assert recent.largest(NOW + 360_000) == {}
    assert merge_largest({"A": 0.1, "B": 0.3}, {"B": 0.2, "C": 0.4}) == {
        "A": 0.1,
        "B": 0.3,
        "C": 0.4,
    }


def test_the_range_of_a_bar_of_a_minute_is_its_move_and_symbols_without_bars_have_none() -> None:
    high = np.array([[102.0, np.nan, np.nan], [103.0, 51.0, np.nan]])
    low = np.array([[100.0, np.nan, np.nan], [102.0, 50.0, np.nan]])
    bars = Bars(
        symbols=("A", "B", "C"),
        period_ms=MINUTE_MS,
        open_ms=np.array([NOW, NOW + MINUTE_MS]),
        open=low,
        high=high,
        low=low,
        close=high,
        volume=high,
    )
    assert find_largest_ranges(bars) == {"A": pytest.approx(0.02), "B": pytest.approx(0.02)}
    empty = attrs.evolve(bars, open_ms=bars.open_ms[:0])
    assert find_largest_ranges(empty) == {}
