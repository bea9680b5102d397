"""Conformance tests of every strategy that discovery finds."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from kamou.core.arrays import Floats
from kamou.core.codes import Abstain
from kamou.core.day import HOUR_MS
from kamou.core.market.panel import INTEREST_PERIOD_MS, Panel
from kamou.core.strategies import discover_strategies, make_panel, make_strategies
from kamou.core.strategies.base import Strategy, StrategyScores

PERIOD = HOUR_MS
BARS = 1_000  # a month of warm-up and some days with scores
SYMBOLS = 24
NAMES = tuple(discover_strategies())
COLUMNS = ("score", "raw", "weight", "stop_distance", "target_distance", "abstain", "proxy")


@attrs.frozen(kw_only=True, eq=False)
class Market:
    """Columns ``[bars, symbols]``, and open interest that is used every four hours."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    open_interest: Floats

    def feed(self, panel: Panel, first: int, last: int) -> None:
        """Append bars ``first <= t < last`` and the open interest known by their closes."""
        for t in range(first, last):
            open_ms = t * PERIOD
            panel.append(
                open_ms, self.open[t], self.high[t], self.low[t], self.close[t], self.volume[t]
            )
            if (open_ms + PERIOD) % INTEREST_PERIOD_MS == 0:
                panel.append_interest(open_ms + PERIOD, self.open_interest[t])

    def only(self, chosen: slice) -> Market:
        return Market(**{f.name: getattr(self, f.name)[:, chosen] for f in attrs.fields(Market)})

    def copy(self) -> Market:
        return Market(**{f.name: getattr(self, f.name).copy() for f in attrs.fields(Market)})


def made_market(seed: int) -> Market:
    """Return trending and mean-reverting symbols, so that each strategy has scores."""
    chance = np.random.default_rng(seed)
    noise = chance.standard_t(4, size=(BARS, SYMBOLS)) * 0.004
    drift = np.repeat(chance.normal(0, 0.003, size=(BARS // 40, SYMBOLS)), 40, axis=0)
    logs = np.cumsum(noise + drift, axis=0)
    reverting = np.zeros(SYMBOLS)
    for t in range(BARS):
        reverting = 0.9 * reverting + noise[t]
        logs[t, ::2] = reverting[::2]
    close = 100 * np.exp(logs)
    open_ = np.vstack([close[:1], close[:-1]])
    wick = 1 + np.abs(chance.normal(size=(2, BARS, SYMBOLS))) * 0.002
    return Market(
        open=open_,
        high=np.maximum(open_, close) * wick[0],
        low=np.minimum(open_, close) / wick[1],
        close=close,
        volume=chance.uniform(1, 10, size=(BARS, SYMBOLS)),
        open_interest=1e6 * np.exp(np.cumsum(chance.normal(0, 0.01, size=(BARS, SYMBOLS)), axis=0)),
    )


MARKET = made_market(1)


@pytest.fixture(params=NAMES)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    name = str(request.param)
    return make_strategies([name], {})[name]


def fresh(strategy: Strategy, market: Market, last: int, first: int = 0) -> Panel:
    names = [f"S{s:02}" for s in range(market.close.shape[1])]
    panel = make_panel([strategy], names, PERIOD)
    market.feed(panel, first, last)
    return panel


def same(one: StrategyScores, other: StrategyScores) -> None:
    for column in (*COLUMNS, "features"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column), column)


def scores_at(strategy: Strategy, market: Market, at: tuple[int, ...]) -> dict[int, StrategyScores]:
    """Return the scores at each bar in ``at``, from one panel that takes all bars."""
    panel = fresh(strategy, market, 0)
    shown = {}
    for t in range(max(at) + 1):
        market.feed(panel, t, t + 1)
        if t in at:
            shown[t] = strategy.evaluate(panel, panel.close_ms)
    return shown


LOOKS = (721, 760, 803, 880, 998)


def test_discovery_names_each_strategy_after_its_file() -> None:
    assert set(NAMES) >= {"mean_reversion", "oi_momentum"}
    for name, made in make_strategies(NAMES, {}).items():
        assert made.name == name
        assert made.proxies[0] == ""
        assert 0 <= made.score_min < 1
        assert made.hold_ms(PERIOD) > 0
        assert made.warmup_bars(PERIOD) >= made.lookback_bars(PERIOD) >= 2


def test_a_score_ignores_later_open_interest_and_earlier_evaluations(strategy: Strategy) -> None:
    """The first panel is evaluated at several bars, the second only at its newest."""
    for t, shown in scores_at(strategy, MARKET, LOOKS).items():
        panel = fresh(strategy, MARKET, t + 1)
        for k in range(1, 4):
            panel.append_interest(panel.close_ms + k * INTEREST_PERIOD_MS, MARKET.open_interest[-k])
        same(shown, strategy.evaluate(panel, panel.close_ms))


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
    MARKET.feed(panel, start, start + 1)  # bar start-1 never came
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
    market.high[905:, 1] = np.inf  # a feed that broke
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
    assert (late[4:] == shown[4:]).all()
    gone = strategy.evaluate(panel, panel.close_ms + 2 * PERIOD + 1).abstain
    assert (gone[4:] == Abstain.DATA_STALE).all()


def test_a_strategy_abstains_from_flat_prices_without_a_numpy_warning(strategy: Strategy) -> None:
    market = MARKET.copy()
    for column in (market.open, market.high, market.low, market.close):
        column[:, 0] = 7.0
    panel = fresh(strategy, market, BARS)
    assert strategy.evaluate(panel, panel.close_ms).abstain[0] == Abstain.DATA_DEGENERATE


def test_a_strategy_abstains_from_all_symbols_of_an_empty_panel(strategy: Strategy) -> None:
    panel = fresh(strategy, MARKET, 0)
    assert (strategy.evaluate(panel, 0).abstain == Abstain.DATA_MISSING).all()


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


def test_a_shard_scores_its_symbols_as_one_panel_of_all_symbols_would(strategy: Strategy) -> None:
    whole = fresh(strategy, MARKET, BARS)
    shown = strategy.evaluate(whole, whole.close_ms)
    for chosen in (slice(0, 7), slice(7, 8), slice(8, SYMBOLS)):
        panel = fresh(strategy, MARKET.only(chosen), BARS)
        part = strategy.evaluate(panel, panel.close_ms)
        for column in COLUMNS:
            np.testing.assert_allclose(
                getattr(part, column), getattr(shown, column)[chosen], rtol=1e-10
            )


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
