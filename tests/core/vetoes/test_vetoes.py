"""Vetoes (T2): the code and figures of each, and that all of them are applied."""

from __future__ import annotations

import sys
import types
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest

from kamou.core import vetoes as package
from kamou.core.codes import Veto
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.indicators.regime_terms import SymbolRegime, Trend, Volatility
from kamou.core.model import Candidate, Denial, Quote, Side
from kamou.core.record.record_findings import LosingCell, RecordFindings, WinRecord
from kamou.core.risk.costs import ExpectedHold, reward_to_risk, trade_costs
from kamou.core.risk.limits import (
    LATER_VETOES,
    VETOES_OF_BACKTESTS,
    CostModel,
    TradingParameters,
    VetoLimits,
)
from kamou.core.vetoes import (
    ALWAYS_ASKED,
    apply_vetoes,
    discover_vetoes,
    find_conflicting_symbols,
    list_vetoes,
)
from kamou.core.vetoes.base import VetoContext
from kamou.errors import ConfigurationError
from tests.core.trading_cases import instrument

PERIOD = 15 * MINUTE_MS
NOW = 1_700_000_000_000
VETOES = discover_vetoes(VetoLimits().enabled)
CALM = SymbolRegime(trend=Trend.RANGE, volatility=Volatility.NORMAL, days=90, day_volatility=0.03)
LOST = LosingCell(trades=40, mean_r=-0.8)
RUINOUS = RecordFindings(
    losing_hours={NOW // HOUR_MS % 24: LOST},
    losing_symbols={"ABC": LOST},
    wins=WinRecord(wins=0, trades=60, shares=(Fraction(0),) * 30),
)


def candidate(**changes: Any) -> Candidate:
    made = Candidate(
        signal_id="1.mean_reversion.ABC",
        strategy="mean_reversion",
        symbol="ABC",
        side=Side.LONG,
        score=0.7,
        close=100.0,
        stop_distance=1.0,
        target_distance=2.0,
        hold_ms=8 * HOUR_MS,
        bar_opened_at_ms=NOW - PERIOD,
        bar_closed_at_ms=NOW,
    )
    return attrs.evolve(made, **changes)


def quote(at_ms: int = NOW, spread: str = "0.02") -> Quote:
    return Quote(
        symbol="ABC",
        bid=Decimal("100"),
        ask=Decimal("100") + Decimal(spread),
        bid_qty=Decimal(1000),
        ask_qty=Decimal(1000),
        mark=Decimal("100"),
        at_ms=at_ms,
    )


def context(**changes: Any) -> VetoContext:
    made = VetoContext(
        now_ms=NOW,
        period_ms=PERIOD,
        limits=VetoLimits(),
        parameters=TradingParameters(),
        quotes={"ABC": quote()},
        instruments={symbol: instrument(symbol) for symbol in ("ABC", "XYZ")},
        regimes=dict.fromkeys(("ABC", "XYZ", "BTC"), CALM),
        bitcoin="BTC",
    )
    return attrs.evolve(made, **changes)


def codes(one: Candidate, about: VetoContext) -> list[str]:
    return [denial.code for denial in apply_vetoes(one, about, VETOES)]


def figures(denial: Denial) -> dict[str, str]:
    return {figure.name: figure.value for figure in denial.figures}


def test_discovery_names_each_veto_after_its_file() -> None:
    assert list(VETOES) == [
        "conflict",
        "cooldown",
        "depth",
        "excluded",
        "funding_window",
        "held",
        "hour",
        "losing_symbol",
        "regime",
        "reward_to_risk",
        "shadow_open",
        "spread",
        "staleness",
        "velocity",
        "win_rate",
    ]


def test_every_veto_file_is_in_one_of_the_two_lists_of_names() -> None:
    every = (*VETOES_OF_BACKTESTS, *LATER_VETOES, *ALWAYS_ASKED)
    assert list_vetoes() == tuple(sorted(every))
    found = discover_vetoes(VETOES_OF_BACKTESTS)
    assert list(found) == sorted((*VETOES_OF_BACKTESTS, *ALWAYS_ASKED))
    assert tuple(discover_vetoes(())) == ALWAYS_ASKED


def test_a_good_candidate_passes_all_vetoes() -> None:
    assert codes(candidate(), context()) == []


def test_a_candidate_gets_the_result_of_every_veto_that_stops_it() -> None:
    about = context(
        quotes={},
        held={"ABC": "a long position of 3 contracts"},
        last_stop_ms={"ABC": NOW},
        conflicting={"ABC"},
        limits=VetoLimits(excluded=("ABC",)),
        funding_rates={"ABC": Decimal("0.001")},
        settled_ms={"ABC": NOW - 8 * HOUR_MS + MINUTE_MS},
        regimes={"BTC": CALM, "XYZ": CALM},
        moves={"ABC": 0.05},
        findings={"mean_reversion": attrs.evolve(RUINOUS, losing_hours={})},
    )
    assert codes(candidate(target_distance=0.5), about) == [
        Veto.CONFLICTING_SIGNALS,
        Veto.COOLDOWN_AFTER_STOP,
        Veto.SYMBOL_EXCLUDED,
        Veto.FUNDING_NEAR,
        Veto.SYMBOL_HELD,
        Veto.SYMBOL_LOSING,
        Veto.REGIME_EXCLUDED,
        Veto.REWARD_TO_RISK_LOW,
        Veto.DATA_STALE,
        Veto.VELOCITY_PAUSE,
        Veto.WIN_RATE_LOW,
    ]
    other = attrs.evolve(about, quotes={"XYZ": quote()}, findings={})
    assert codes(candidate(symbol="XYZ"), other) == []


@pytest.mark.parametrize(("late_ms", "denied"), [(0, []), (1, [Veto.DATA_STALE])])
def test_a_bar_is_stale_after_two_periods(late_ms: int, denied: list[str]) -> None:
    now_ms = NOW + 2 * PERIOD + late_ms
    assert codes(candidate(), context(now_ms=now_ms, quotes={"ABC": quote(now_ms)})) == denied


@pytest.mark.parametrize(("late_ms", "denied"), [(0, []), (1, [Veto.DATA_STALE])])
def test_a_quote_is_stale_after_ten_seconds(late_ms: int, denied: list[str]) -> None:
    about = context(quotes={"ABC": quote(NOW - 10_000 - late_ms)})
    assert codes(candidate(), about) == denied


def test_a_candidate_without_a_quote_is_vetoed_as_stale() -> None:
    (denied,) = apply_vetoes(candidate(), context(quotes={}), VETOES)
    assert denied.code == Veto.DATA_STALE
    assert figures(denied)["quote_age_ms"] == "inf"


def test_a_candidate_is_vetoed_while_its_own_strategy_has_a_shadow_trade_in_its_symbol() -> None:
    one = candidate()
    about = context(shadows={(one.strategy, one.symbol)})
    assert codes(one, about) == [Veto.SHADOW_OPEN]
    others = {(one.strategy, "XYZ"), ("another", one.symbol)}
    assert codes(one, context(shadows=others)) == []


def test_reward_to_risk_is_net_of_both_fees_spread_slippage_and_funding() -> None:
    # fees 2 x 6 bps, spread 0.02, slippage 2 x 2 bps, funding 1 bps for 8 h: 0.19 at 100
    (denied,) = apply_vetoes(candidate(target_distance=1.6), context(), VETOES)
    assert denied.code == Veto.REWARD_TO_RISK_LOW
    assert figures(denied)["cost"] == "0.19"
    assert float(figures(denied)["net"]) == pytest.approx((1.6 - 0.19) / 1.19, rel=1e-5)
    enough = 1.2 * 1.19 + 0.19
    assert codes(candidate(target_distance=enough + 1e-9), context()) == []
    assert codes(candidate(target_distance=enough - 1e-9), context()) == [Veto.REWARD_TO_RISK_LOW]


@pytest.mark.parametrize(
    ("own", "set_bps", "fee"),
    [("0.0002", "2", 0.02), ("0.0005", "2", 0.05), ("0", "3", 0.03), ("-0.0001", "-1", -0.01)],
)
def test_reward_to_risk_of_a_resting_entry_counts_a_makers_fee_and_no_spread(
    own: str, set_bps: str, fee: float
) -> None:
    """At 100 the exit costs 6 bps, half the spread (0.01) and 2 bps; funding is 0.01."""
    about = context(
        parameters=TradingParameters(costs=CostModel(maker_bps=Decimal(set_bps))),
        instruments={"ABC": instrument("ABC", maker_fee=Decimal(own))},
        limits=VetoLimits(reward_to_risk_min=100),
    )
    (denied,) = apply_vetoes(candidate(target_distance=1.6, rest_ms=1), about, VETOES)
    assert float(figures(denied)["cost"]) == pytest.approx(fee + 0.06 + 0.01 + 0.02 + 0.01)


@pytest.mark.parametrize(
    ("own", "set_bps", "cost"),
    [("0.0010", "6", "0.27"), ("0.0002", "6", "0.19"), ("0", "9", "0.25"), ("0.0009", "9", "0.25")],
)
def test_reward_to_risk_counts_the_taker_fee_that_sizing_counts(
    own: str, set_bps: str, cost: str
) -> None:
    """The cost without fees is 0.07 at 100; the fee is the higher of the two rates."""
    one = candidate(target_distance=1.6)
    about = context(
        parameters=TradingParameters(costs=CostModel(taker_bps=Decimal(set_bps))),
        instruments={"ABC": instrument("ABC", taker_fee=Decimal(own))},
        limits=VetoLimits(reward_to_risk_min=100),
    )
    (denied,) = apply_vetoes(one, about, VETOES)
    assert figures(denied)["cost"] == cost
    sized = trade_costs(
        instrument=about.instruments["ABC"],
        costs=about.parameters.costs,
        spread=about.quotes["ABC"].spread,
        price=about.quotes["ABC"].mid,
        hold=ExpectedHold(side=one.side, hold_ms=one.hold_ms),
    )
    assert float(figures(denied)["cost"]) == pytest.approx(
        float(sized.fee_in + sized.fee_out) * 100 + 0.07
    )


@pytest.mark.parametrize(
    ("side", "rate", "paid"),
    [
        (Side.LONG, 0.001, 0.3),
        (Side.LONG, -0.001, 0.0),  # funding that would be received counts as 0
        (Side.SHORT, 0.001, 0.0),
        (Side.SHORT, -0.001, 0.3),
        (Side.LONG, None, 0.03),
        (Side.SHORT, None, 0.03),
    ],
)
@pytest.mark.parametrize("interval_h", [1, 8])
def test_funding_adds_to_the_cost_of_the_hold_and_never_reduces_it(
    side: Side, rate: float | None, paid: float, interval_h: int
) -> None:
    """``rate`` is per 8 h here; the venue reports that of one interval."""
    per_interval = None if rate is None else Decimal(repr(rate)) * interval_h / 8
    cost = trade_costs(
        instrument=instrument("ABC", funding_interval_h=interval_h),
        costs=CostModel(),
        price=Decimal(100),
        spread=Decimal(0),
        hold=ExpectedHold(side=side, hold_ms=24 * HOUR_MS, funding_rate=per_interval),
    )
    assert float(cost.funding) * 100 == pytest.approx(paid)
    free = attrs.evolve(cost, funding=Decimal(0)).round_trip(Decimal(100), Decimal(100))
    assert float(cost.round_trip(Decimal(100), Decimal(100)) - free) == pytest.approx(paid)


def test_a_known_funding_rate_counts_in_the_reward_to_risk_veto() -> None:
    about = context(funding_rates={"ABC": Decimal("0.01")})
    assert codes(candidate(), about) == [Veto.REWARD_TO_RISK_LOW]
    assert codes(candidate(side=Side.SHORT), about) == []


def test_a_take_profit_1_8_away_at_a_cost_of_0_75_has_a_net_reward_to_risk_of_0_6() -> None:
    # A stop 1 ATR and a take-profit 1.8 ATR away, at a cost of 0.75 ATR.
    assert reward_to_risk(target_distance=1.8, stop_distance=1.0, cost=0.75) == pytest.approx(0.6)


@pytest.mark.parametrize(("since_min", "denied"), [(59, [Veto.COOLDOWN_AFTER_STOP]), (60, [])])
def test_a_candidate_is_vetoed_during_the_cooldown_after_a_stop_out_of_its_symbol(
    since_min: int, denied: list[str]
) -> None:
    about = context(last_stop_ms={"ABC": NOW - since_min * MINUTE_MS})
    assert codes(candidate(), about) == denied


def test_a_symbol_with_a_long_and_a_short_candidate_is_conflicting() -> None:
    both = [candidate(), candidate(side=Side.SHORT), candidate(symbol="XYZ")]
    assert find_conflicting_symbols(both) == {"ABC"}
    assert find_conflicting_symbols([candidate(), candidate()]) == frozenset()


def test_a_veto_file_without_a_veto_fails_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "kamou.core.vetoes.held", types.ModuleType("kamou.core.vetoes.held")
    )
    with pytest.raises(ConfigurationError, match=r"held\.py cannot be loaded"):
        package.discover_vetoes(["held"])
