"""Conformance tests of every strategy that discovery finds, and of the checks themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from kamou.core.codes import Abstain
from kamou.core.day import HOUR_MS
from kamou.core.market.panel import Panel
from kamou.core.strategies import discover_strategies, make_strategies
from kamou.core.strategies.base import Strategy, StrategyScores, check_data
from kamou.core.strategies.conformance import (
    CONFORMANCE_CHECKS,
    SCORE_COLUMNS,
    SYMBOLS,
    Bench,
    MadeMarket,
    count_scores,
    fill_panel,
    make_bench,
    make_market,
    run_check,
)
from kamou.core.strategies.evaluation import count_flow_windows

PERIOD = HOUR_MS
BARS = 1_000  # a month of warm-up and some days with scores
NAMES = tuple(discover_strategies())
MARKET = make_market(1, BARS)


@pytest.fixture(params=NAMES)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    name = str(request.param)
    return make_strategies([name], {})[name]


def fresh(strategy: Strategy, market: MadeMarket, last: int, first: int = 0) -> Panel:
    return fill_panel(strategy, market, last, first)


def same(one: StrategyScores, other: StrategyScores) -> None:
    for column in (*SCORE_COLUMNS, "features"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column), column)


def test_discovery_names_each_strategy_after_its_file_and_its_declarations_are_valid() -> None:
    assert set(NAMES) >= {
        "funding_fade",
        "macro",
        "mean_reversion",
        "oi_momentum",
        "order_flow",
        "ratio_fade",
    }
    for name, made in make_strategies(NAMES, {}).items():
        assert made.name == name
        assert made.proxies[0] == ""
        assert 0 <= made.score_min < 1
        assert made.hold_ms(PERIOD) > 0
        assert made.warmup_bars(PERIOD) >= made.lookback_bars(PERIOD) >= 2


def test_a_strategy_abstains_from_all_symbols_until_its_warm_up_ends(strategy: Strategy) -> None:
    warm = strategy.warmup_bars(PERIOD)
    panel = fresh(strategy, MARKET, warm - 1)
    assert (strategy.evaluate(panel, panel.close_ms).abstain == Abstain.WARMING_UP).all()
    MARKET.feed(panel, warm - 1, warm)
    shown = strategy.evaluate(panel, panel.close_ms).abstain
    assert not np.isin(shown, (Abstain.WARMING_UP, Abstain.DATA_DEGENERATE)).any()


def test_scores_after_a_gap_do_not_depend_on_bars_before_it(strategy: Strategy) -> None:
    warm = strategy.warmup_bars(PERIOD)
    start = BARS - warm - 1
    panel = fresh(strategy, MARKET, start - 1)
    MARKET.feed(panel, start, start + 1)  # bar start - 1 is missing
    assert (strategy.evaluate(panel, panel.close_ms).abstain == Abstain.WARMING_UP).all()
    MARKET.feed(panel, start + 1, start + warm)
    gapped = strategy.evaluate(panel, panel.close_ms)
    clean = fresh(strategy, MARKET, start + warm, start)
    clean_told = strategy.evaluate(clean, clean.close_ms)
    for column in ("score", "raw", "stop_distance", "target_distance", "abstain"):
        np.testing.assert_array_equal(getattr(gapped, column), getattr(clean_told, column))


def test_a_strategy_abstains_from_missing_stale_and_restarted_symbols(strategy: Strategy) -> None:
    market = MARKET.copy()
    market.close[900, 0] = np.nan  # one bar of one symbol
    market.high[905:, 1] = np.inf  # all bars from here on
    market.volume[908:, 2] = np.nan
    market.close[:, 3] = np.nan  # never listed
    panel = fresh(strategy, market, 909)
    shown = strategy.evaluate(panel, panel.close_ms).abstain
    assert shown[:4].tolist() == [
        Abstain.WARMING_UP,
        Abstain.DATA_STALE,
        Abstain.DATA_MISSING,
        Abstain.DATA_MISSING,
    ]
    late = strategy.evaluate(panel, panel.close_ms + 2 * PERIOD).abstain
    # Bars of one hour are not stale yet; windows of order flow, of five minutes, are.
    by_flow = count_flow_windows(strategy) > 0
    assert (late[4:] == (Abstain.SOURCE_STALE if by_flow else shown[4:])).all()
    gone = strategy.evaluate(panel, panel.close_ms + 2 * PERIOD + 1).abstain
    assert (gone[4:] == Abstain.DATA_STALE).all()


def test_a_strategy_abstains_from_flat_prices_without_a_numpy_warning(strategy: Strategy) -> None:
    market = MARKET.copy()
    for column in (market.open, market.high, market.low, market.close):
        column[:, 0] = 7.0
    panel = fresh(strategy, market, BARS)
    assert strategy.evaluate(panel, panel.close_ms).abstain[0] == Abstain.DATA_DEGENERATE


def test_a_second_evaluation_gives_the_same_scores_and_changes_no_panel(strategy: Strategy) -> None:
    asked = fresh(strategy, MARKET, 0)
    for t in range(BARS):
        MARKET.feed(asked, t, t + 1)
        if t % 7 == 0:
            strategy.evaluate(asked, asked.close_ms)
    first, second = (strategy.evaluate(asked, asked.close_ms) for _ in range(2))
    same(first, second)
    quiet = fresh(strategy, MARKET, BARS)
    same(first, strategy.evaluate(quiet, quiet.close_ms))


def test_a_bad_high_changes_no_later_raw_value_and_no_take_profit_of_another_symbol(
    strategy: Strategy,
) -> None:
    market = MARKET.copy()
    market.high[100, 0] = 1e9
    warm = strategy.warmup_bars(PERIOD)
    shown = fresh(strategy, market, min(BARS, 101 + warm))
    clean = fresh(strategy, MARKET, min(BARS, 101 + warm))
    one, other = (strategy.evaluate(p, p.close_ms) for p in (shown, clean))
    np.testing.assert_array_equal(one.raw, other.raw)
    np.testing.assert_array_equal(one.target_distance[1:], other.target_distance[1:])


def test_scores_are_bounded_and_their_distances_are_positive(strategy: Strategy) -> None:
    signals = 0
    panel = fresh(strategy, MARKET, 700)
    for t in range(700, BARS):
        MARKET.feed(panel, t, t + 1)
        shown = strategy.evaluate(panel, panel.close_ms)
        scored = shown.abstain == 0
        signals += int(scored.sum())
        if strategy.cross_sectional:
            assert np.isfinite(shown.raw[scored]).all()
        else:
            assert (np.abs(shown.score[scored]) <= 1).all()
            assert (np.abs(shown.score[scored]) >= strategy.score_min).all()
        for distance in (shown.stop_distance[scored], shown.target_distance[scored]):
            assert (distance > 0).all()
            assert np.isfinite(distance).all()
        assert ((shown.weight > 0) & (shown.weight <= 1)).all()
        assert (shown.proxy < len(strategy.proxies)).all()
        assert shown.abstain.dtype == shown.proxy.dtype == np.uint8
        assert shown.features.shape == (len(shown.feature_names), SYMBOLS)
    assert signals > 5  # else this test proves nothing


@pytest.mark.parametrize("check", CONFORMANCE_CHECKS)
def test_a_strategy_of_the_product_passes_every_check_of_conformance(
    strategy: Strategy, check: str
) -> None:
    assert run_check(make_bench(strategy.name, strategy), check).problems == ()


def test_a_bench_counts_the_scores_of_a_strategy() -> None:
    strategy = make_strategies(["oi_momentum"], {})["oi_momentum"]
    scored, of = count_scores(make_bench("oi_momentum", strategy))
    assert 500 < scored < of


class Simple:
    """A conforming strategy that scores the rise over 10 bars, with a stop 2 % away."""

    name: ClassVar[str] = "simple"
    cross_sectional: ClassVar[bool] = False
    score_min: ClassVar[float] = 0.0
    proxies: ClassVar[tuple[str, ...]] = ("",)
    open_interest_span_ms: ClassVar[int] = 0
    indicators: ClassVar[tuple[Any, ...]] = ()
    requirements: ClassVar[dict[Any, Any]] = {}
    warm: ClassVar[int] = 20

    def hold_ms(self, period_ms: int) -> int:
        return period_ms

    def lookback_bars(self, _period_ms: int) -> int:
        return 10

    def warmup_bars(self, _period_ms: int) -> int:
        return self.warm

    def abstentions(self, panel: Panel, now_ms: int) -> Any:
        return check_data(panel, now_ms, self.warm).codes

    def rise(self, panel: Panel) -> Any:
        closes = panel.view("close", 10)
        return np.clip(np.log(closes[-1] / closes[0]) * 5, -1, 1)

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        width = len(panel.symbols)
        rise = self.rise(panel)
        distance = 0.02 * panel.row("close")
        return StrategyScores(
            strategy=self.name,
            score=rise,
            raw=np.full(width, np.nan),
            weight=np.ones(width),
            stop_distance=distance,
            target_distance=2 * distance,
            abstain=self.abstentions(panel, now_ms),
            proxy=np.zeros(width, np.uint8),
            feature_names=("rise",),
            features=rise[np.newaxis],
        )


class Remembers(Simple):
    """A strategy whose scores depend on how often it was evaluated."""

    def __init__(self) -> None:
        self.calls = 0

    def rise(self, panel: Panel) -> Any:
        self.calls += 1
        return super().rise(panel) / (1 + self.calls)


class Impatient(Simple):
    """A strategy that scores one bar before its warm-up ends."""

    def abstentions(self, panel: Panel, now_ms: int) -> Any:
        return check_data(panel, now_ms, self.warm - 1).codes


class Sluggish(Simple):
    """A strategy that warms up for one bar longer than it declares."""

    def abstentions(self, panel: Panel, now_ms: int) -> Any:
        return check_data(panel, now_ms, self.warm + 1).codes


class Careless(Simple):
    """A strategy that checks the number of bars alone, so it scores stale symbols."""

    def abstentions(self, panel: Panel, now_ms: int) -> Any:
        return np.where(panel.count < self.warm, Abstain.WARMING_UP, 0).astype(np.uint8)


class LongMemory(Simple):
    """A strategy whose scores depend on how many bars the panel ever took."""

    def rise(self, panel: Panel) -> Any:
        return super().rise(panel) * np.minimum(1, panel.bars / 1_000)


class Divides(Simple):
    """A strategy that divides by the mean volume, which may be 0."""

    def rise(self, panel: Panel) -> Any:
        flow = panel.view("volume", 10)
        return super().rise(panel) * np.clip(flow[-1] / flow.mean(axis=0), 0, 1)


class Compares(Simple):
    """A strategy that scores a symbol against the other symbols of its panel."""

    def rise(self, panel: Panel) -> Any:
        rise = super().rise(panel)
        return np.clip(rise - np.nanmean(np.append(rise, 0.0)), -1, 1)


class Unnamed(Simple):
    """A strategy that leaves out the names of its features."""

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        wrong: Any = None  # the mistake of this test
        return attrs.evolve(super().evaluate(panel, now_ms), feature_names=wrong)


class OfObjects(Simple):
    """A strategy whose features are not numbers."""

    def evaluate(self, panel: Panel, now_ms: int) -> StrategyScores:
        found = super().evaluate(panel, now_ms)
        return attrs.evolve(found, features=np.full(found.features.shape, None, dtype=object))


def test_a_simple_strategy_passes_every_check() -> None:
    bench = make_bench("simple", Simple())
    assert not [each for each in CONFORMANCE_CHECKS if run_check(bench, each).problems]


@pytest.mark.parametrize(
    ("make", "check", "words"),
    [
        (Remembers, "scores depend on the panel alone", "keep nothing between evaluations"),
        (Remembers, "a second evaluation", "two evaluations of one panel differ in score"),
        (
            Impatient,
            "no score before the warm-up",
            "has the score before its warm-up ended, at bar 19",
        ),
        (Sluggish, "no score before the warm-up", "still warms up after 20 bars"),
        (LongMemory, "scores after a gap", "score depends on bars before a gap"),
        (Careless, "no score of missing", "older than two bars has a score"),
        (Divides, "flat prices", "invalid value encountered in divide"),
        (Unnamed, "flat prices", "feature_names is None; expected a tuple of texts"),
        (OfObjects, "flat prices", "features is object of shape (1, 24); expected float64"),
        (Compares, "a symbol's score", "depends on the other symbols of its panel"),
    ],
)
def test_a_strategy_with_one_defect_fails_the_check_of_that_defect(
    make: Callable[[], Strategy], check: str, words: str
) -> None:
    (named,) = [each for each in CONFORMANCE_CHECKS if each.startswith(check)]
    problems = run_check(make_bench("simple", make()), named).problems
    assert words in " ".join(problems)


def test_a_defect_of_a_check_raises_and_is_no_problem_of_the_strategy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(bench: Bench) -> Any:
        raise LookupError("a check of this test")

    name = next(iter(CONFORMANCE_CHECKS))
    monkeypatch.setitem(CONFORMANCE_CHECKS, name, broken)
    with pytest.raises(LookupError):
        run_check(make_bench("simple", Simple()), name)
