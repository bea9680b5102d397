"""The market with planted edges: causal, repeatable, and judged by scalar arithmetic."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS
from kamou.messages.codec import decode, encode
from kamou.venue.market.edges import EDGES_BY_SEED, Edge, PlantedState, planted_edges
from kamou.venue.market.generated_day import MarketState, Moves, PathSettings
from kamou.venue.market.generator import GeneratedMarket
from kamou.venue.market.planting import plant, without_trends

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
SEEDS = range(1, 7)
SYMBOLS = 7
EACH = [(edge,) for edge in Edge]
BETAS = np.linspace(1.0, 1.6, SYMBOLS)


def market(edges: tuple[Edge, ...], **options: Any) -> GeneratedMarket:
    paths = attrs.evolve(options.pop("paths", PathSettings()), edges=edges)
    given_ = {"seed": 5, "origin_ms": ORIGIN_MS, "symbols": SYMBOLS, "step_ms": 900_000} | options
    return GeneratedMarket(paths=paths, **given_)


# --- the truth table -------------------------------------------------------------------------


@pytest.mark.parametrize("edge", Edge)
def test_seeds_1_to_6_have_each_edge_at_least_once_and_lack_it_at_least_twice(edge: Edge) -> None:
    planted = [edge in planted_edges(seed) for seed in SEEDS]
    assert planted.count(True) >= 1
    assert planted.count(False) >= 2


@given(seed=st.integers(0, 2**63 - 1))
def test_the_truth_table_repeats_for_every_seed(seed: int) -> None:
    assert planted_edges(seed) == planted_edges(seed + len(EDGES_BY_SEED))


# --- repeatable and causal -------------------------------------------------------------------


@settings(max_examples=10)
@given(days=st.lists(st.integers(0, 6), min_size=1, max_size=5), edges=st.sampled_from(EACH))
def test_a_planted_day_does_not_depend_on_the_days_that_were_read_before(
    days: list[int], edges: tuple[Edge, ...]
) -> None:
    walked, fresh = market(edges), market(edges)
    for day in days:
        walked.day(day)
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(walked.day(3), name), getattr(fresh.day(3), name))


def test_a_market_without_edges_has_no_planted_state() -> None:
    plain = market(())
    assert plain.first_state.planted is None
    assert plain.states.nearest(0)[1].planted is None
    assert plain.paths == PathSettings()


@pytest.mark.parametrize("edges", EACH)
def test_a_planted_state_is_stored_without_loss(edges: tuple[Edge, ...]) -> None:
    of = market(edges)
    of.run_to(ORIGIN_MS + 3 * DAY_MS, lambda: False)
    day, state = of.states.nearest(3)
    assert day == 3
    assert encode(decode(MarketState, encode(state))) == encode(state)
    assert state.planted is not None
    held = [*attrs.astuple(state.planted)]
    arrays = [x for each in held for x in (each if isinstance(each, tuple) else (each,))]
    assert len(arrays) == 19
    assert all(each.base is None for each in arrays), "a view would keep its whole day"


@settings(max_examples=20)
@given(bar=st.integers(1, 95), edges=st.sampled_from(EACH), seed=st.integers(0, 99))
def test_planted_prices_do_not_depend_on_later_moves(
    bar: int, edges: tuple[Edge, ...], seed: int
) -> None:
    moves, start = make_moves(seed)
    later = moves.log_close.copy()
    later[bar:] += 0.1
    _, one = plant(edges, seed, 0, start, moves, BETAS)
    _, other = plant(edges, seed, 0, start, attrs.evolve(moves, log_close=later), BETAS)
    assert np.array_equal(one.log_close[:bar], other.log_close[:bar])
    assert not np.array_equal(one.log_close[bar:], other.log_close[bar:])


@pytest.mark.parametrize("edges", EACH)
def test_funding_ratios_and_premium_of_a_planted_market_are_independent_of_its_prices(
    edges: tuple[Edge, ...],
) -> None:
    wild = PathSettings(jumps_per_day=5.0, own_vol_log_sd=0.9)
    calm, shaken = market(edges), market(edges, paths=wild)
    assert not np.array_equal(calm.day(1).close, shaken.day(1).close)
    until = ORIGIN_MS + 20 * DAY_MS
    for name in ("funding_rates", "long_short_ratios", "premium_index"):
        left, right = (getattr(each, name)(ORIGIN_MS, until) for each in (calm, shaken))
        assert np.array_equal(left.values, right.values)
        assert len(np.unique(left.values)) > 20, "most rates are pinned inside the clamp"


def test_markets_with_different_edges_have_the_same_funding() -> None:
    until = ORIGIN_MS + 20 * DAY_MS
    found = [market(edges).funding_rates(ORIGIN_MS, until).values for edges in EACH]
    assert all(np.array_equal(found[0], each) for each in found)


def test_a_planted_market_of_any_step_has_its_bars() -> None:
    for minutes in (1, 2, 5, 10, 12, 15, 20, 30, 60):
        of = market(tuple(Edge), symbols=2, step_ms=minutes * 60_000)
        bars = of.day(0)
        assert len(bars.close) == 24 * 60 // minutes
        assert np.all(np.isfinite(bars.close)), minutes


def test_the_trends_of_a_planted_market_have_no_drift_of_their_own() -> None:
    of = market((Edge.FUNDING_FADE,))
    assert of.paths.trend_drift == (0.0, 0.0)


# --- the drifts, by scalar arithmetic --------------------------------------------------------


def make_moves(seed: int) -> tuple[Moves, PlantedState]:
    """Return a day of random moves with bars of 15 minutes, and a first state."""
    rng = np.random.default_rng(seed)
    log_open = rng.normal(0.0, 2.0, SYMBOLS)
    deviation = 0.004 * np.exp(0.3 * rng.standard_normal((24, SYMBOLS)))
    shock = rng.standard_normal((96, SYMBOLS)) * np.repeat(deviation, 4, axis=0)
    moves = Moves(
        log_open=log_open,
        log_close=log_open + np.cumsum(shock, axis=0),
        variance=deviation**2,
        open_interest=np.ones((24, SYMBOLS)),
        ratio=np.ones((24, SYMBOLS)),
        premium=np.zeros((24, SYMBOLS)),
        funding=np.zeros((3, SYMBOLS)),
    )
    return moves, PlantedState.at_start(log_open)


class OneSymbol:
    """The planted price of one symbol by its definition, in floats."""

    def __init__(self, price: float) -> None:
        self.price = self.mean = price
        self.offset = self.variance = self.speed = self.path = self.day = self.week = 0.0
        self.pull = self.push = self.fade = self.lean = 0
        self.pull_left = self.push_left = self.fade_left = 0.0
        self.tide, self.tide_left = 0, 0.0  # of Bitcoin only

    def look(self, unplanted: float, drift: float) -> None:
        """Move on by 15 minutes."""
        self.offset = min(2.0, max(-2.0, self.offset + drift))
        price = unplanted + self.offset
        moved, away = price - self.price, price - self.mean
        share = 1 - math.exp(-0.25 / 12.5)
        self.variance = (1 - share) * (self.variance + share * away**2)
        self.mean += share * away
        for name, hours, seen in (
            ("speed", 1.25, moved),
            ("path", 1.25, abs(moved)),
            ("day", 24, moved),
            ("week", 168, moved),
        ):
            old = getattr(self, name)
            setattr(self, name, old + (1 - math.exp(-0.25 / hours)) * (seen - old))
        self.price = price

    def update_pull(self) -> None:
        self.pull_left -= 0.25
        away = self.price - self.mean
        if self.pull_left <= 0 or self.pull * away >= 0:
            self.pull = 0
        if not self.pull and abs(away) > 1.2 * math.sqrt(self.variance):
            self.pull, self.pull_left = (-1 if away > 0 else 1), 8.0

    def update_push(self, rank: float, hours: float) -> None:
        self.push_left -= 0.25
        if self.push_left <= 0:
            self.push = 0
        if abs(rank) > 0.8 and rank * self.momentum() > 0 and abs(self.speed) > 0.5 * self.path:
            self.push, self.push_left = (1 if rank > 0 else -1), hours

    def update_fade(self, rate: float | None) -> None:
        self.fade_left -= 1
        if self.fade_left <= 0:
            self.fade = 0
        if rate is not None and abs(rate) > 0.00018:
            self.fade, self.fade_left = (-1 if rate > 0 else 1), 20.0

    def update_lean(self, ratio: float) -> None:
        crowd = math.log(ratio)
        self.lean = 0 if abs(crowd) <= 0.15 else -1 if crowd > 0 else 1

    def update_tide(self, unit: float) -> None:
        """Look at Bitcoin; ``unit`` is the deviation of its price over 15 minutes."""
        self.tide_left -= 0.25
        if self.tide_left <= 0:
            self.tide = 0
        z = self.day / (unit * math.sqrt(0.25 / 48))
        if not self.tide and abs(z) > 1.3:
            self.tide, self.tide_left = (1 if z > 0 else -1), 60.0

    def momentum(self) -> float:
        return self.day * math.sqrt(24) + self.week * math.sqrt(168)


# Edge, strength and hours of the drift with momentum; the first edge of a market decides.
PUSHES: list[tuple[Edge, float, float]] = [
    (Edge.OI_MOMENTUM, 0.3, 8.0),
    (Edge.MEAN_REVERSION, 0.8, 2.0),
    (Edge.RATIO_FADE, -0.3, 2.0),
    (Edge.MACRO, -0.6, 2.0),
]


def rank_of(at: int, each: list[float]) -> float:
    return 2 * sum(other < each[at] for other in each) / (len(each) - 1) - 1


def plant_by_definition(
    edges: tuple[Edge, ...], days: list[Moves], planted: list[Moves], ones: list[OneSymbol]
) -> Floats:
    """Return the planted log closes of consecutive days, given settled rates and ratios."""
    push, push_hours = next((found for edge, *found in PUSHES if edge in edges), (0.0, 0.0))
    strengths = (
        0.2 * (Edge.FUNDING_FADE in edges),
        0.9 * (Edge.MEAN_REVERSION in edges),
        push,
        0.6 * (Edge.RATIO_FADE in edges),
    )
    closes = []
    for moves, made in zip(days, planted, strict=True):
        for bar in range(96):
            hour, quarter = divmod(bar, 4)
            # The variance of Moves is that of one bar, here of 15 minutes.
            unit = [math.sqrt(v) for v in moves.variance[hour]]
            scaled = [one.momentum() / u for one, u in zip(ones, unit, strict=True)]
            tides = [
                (1.6 + 7.5 * (-1) ** round(4 * ones[0].tide_left))
                * ones[0].tide
                * BETAS[at]
                * unit[0]
                if Edge.MACRO in edges
                and ones[0].tide_left > 24
                and (at < 2 or abs(rank_of(at, scaled)) <= 0.7)
                else 0.0
                for at in range(len(ones))
            ]
            for at, one in enumerate(ones):
                if quarter == 0:
                    one.offset *= 0.5 ** (1 / 192)
                sides = (one.fade, one.pull, one.push, one.lean)
                drift = sum(s * side for s, side in zip(strengths, sides, strict=True))
                one.look(float(moves.log_close[bar, at]), drift * unit[at] + tides[at])
            scaled = [one.momentum() / u for one, u in zip(ones, unit, strict=True)]
            ones[0].update_tide(unit[0])
            for at, one in enumerate(ones):
                one.update_pull()
                if push_hours:
                    one.update_push(rank_of(at, scaled), push_hours)
                if quarter == 3:
                    settled = (hour + 1) % 8 == 0
                    one.update_fade(float(made.funding[hour // 8, at]) if settled else None)
                    one.update_lean(float(made.ratio[hour, at]))
            closes.append([one.price for one in ones])
    return np.array(closes)


@pytest.mark.parametrize("edges", [*EACH, tuple(Edge)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_prices_are_those_of_the_definition_in_scalar_arithmetic(
    edges: tuple[Edge, ...], seed: int
) -> None:
    first, state = make_moves(seed)
    # Beginning around the bounds of what is extreme, so that rates and ratios on both sides occur.
    state = attrs.evolve(
        state,
        premium=np.linspace(-0.003, 0.003, SYMBOLS),
        log_ratio=np.linspace(0.4, -0.4, SYMBOLS),
    )
    ones = [OneSymbol(float(price)) for price in state.trail.price]
    for one, log_ratio in zip(ones, state.log_ratio, strict=True):
        one.update_lean(math.exp(log_ratio))
    days: list[Moves] = []
    found: list[Moves] = []
    opens = first.log_open
    for day in range(4):
        drawn, _ = make_moves(100 * seed + day)
        shift = opens - drawn.log_open
        moves = attrs.evolve(
            drawn, log_open=drawn.log_open + shift, log_close=drawn.log_close + shift
        )
        opens = moves.log_close[-1]
        days.append(moves)
        opened = moves.log_open + state.offset
        state, planted = plant(edges, seed, day, state, moves, BETAS)
        assert np.array_equal(planted.log_open, opened)
        found.append(planted)
    expected = plant_by_definition(edges, days, found, ones)
    closes = np.concatenate([each.log_close for each in found])
    assert np.allclose(closes, expected, rtol=0, atol=1e-10)
    unplanted = np.concatenate([each.log_close for each in days])
    moved = np.abs(closes - unplanted).max()
    assert moved == 0.0 if edges == (Edge.ORDER_FLOW,) else moved > 0.005


def test_extreme_rates_and_nothing_else_are_followed_by_a_drift_against_them() -> None:
    planted = market((Edge.FUNDING_FADE,), symbols=40)
    plain = market((), symbols=40, paths=without_trends(PathSettings()))
    until = ORIGIN_MS + 20 * DAY_MS
    rates = planted.funding_rates(ORIGIN_MS, until).values  # one every 32 bars
    offset = np.concatenate(
        [planted._moves_of(d).log_close - plain._moves_of(d).log_close for d in range(20)]
    )
    extreme = np.abs(rates) > 0.00018
    never = ~extreme.any(axis=0)
    assert 0 < never.sum() < 40
    assert np.abs(offset[:, never]).max() < 1e-12
    judged = 0
    for settlement, column in zip(*np.nonzero(extreme[:-3]), strict=True):
        near = rates[settlement : settlement + 3, column]
        if (np.sign(near[np.abs(near) > 0.00018]) != np.sign(near[0])).any():
            continue
        at = 32 * (settlement + 1) - 1  # the last bar before the settlement
        moved = offset[at + 80, column] - offset[at, column]
        assert -np.sign(near[0]) * moved > 0.01
        judged += 1
    assert judged > 10


def test_the_log_ratio_of_its_edge_decays_with_noise_and_jumps_once_in_100_hours() -> None:
    of = market((Edge.RATIO_FADE,), symbols=40)
    until = ORIGIN_MS + 20 * DAY_MS
    logs = np.log(of.long_short_ratios(ORIGIN_MS, until).values)
    assert logs.shape == (480, 40)
    shocks = logs[1:] - 0.9 * logs[:-1]
    jumps = np.abs(shocks) > 0.25  # 8 deviations of the noise; a jump less as many
    assert 120 < jumps.sum() < 264, "5 deviations around 192"
    assert 0.4 < (shocks[jumps] > 0).mean() < 0.6
    assert np.abs(np.abs(shocks[jumps]) - 0.5).max() < 0.15
    assert 0.029 < shocks[~jumps].std() < 0.031


@pytest.mark.parametrize("side", [1, -1])
def test_a_quiet_market_follows_a_jump_of_bitcoin_for_36_hours_and_then_rests(side: int) -> None:
    # Moves are a tenth of the deviation that they should have, except one jump of Bitcoin.
    unit, jump, bars = 0.004, 20, 4 * 96
    rng = np.random.default_rng(1)
    walk = np.cumsum(unit / 10 * rng.standard_normal((bars, SYMBOLS)), axis=0)
    walk[jump:, 0] += side * 0.06
    state, closes = PlantedState.at_start(np.zeros(SYMBOLS)), []
    for day in range(4):
        part = slice(96 * day, 96 * (day + 1))
        moves = attrs.evolve(
            make_moves(0)[0],
            log_open=walk[part.start - 1] if day else np.zeros(SYMBOLS),
            log_close=walk[part],
            variance=np.full((24, SYMBOLS), unit**2),
        )
        state, planted = plant((Edge.MACRO,), 5, day, state, moves, BETAS)
        closes.append(planted.log_close)
    offset = side * (np.concatenate(closes) - walk)
    # The ebb can take back two thirds of a drift, where momentum leads.
    assert np.abs(offset[: jump + 1]).max() < 8 * 0.7 * unit
    assert offset[jump + 144, 0] > 144 * 0.3 * unit * 0.8
    assert offset[jump + 144].mean() > 0.5 * offset[jump + 144, 0]
    assert offset[jump + 144 + 90].mean() < offset[jump + 144].mean()


def test_a_market_with_the_edge_of_the_order_flow_has_no_drift_and_a_flow_that_foresees() -> None:
    planted = market((Edge.ORDER_FLOW,), symbols=40)
    plain = market((), symbols=40, paths=without_trends(PathSettings()))
    assert np.array_equal(planted.day(2).close, plain.day(2).close)
    until = ORIGIN_MS + 12 * DAY_MS
    closes = np.log(planted.bars(900_000, ORIGIN_MS, until).close)
    hour = closes[4:] - closes[:-4]
    found = {}
    for name, of in (("planted", planted), ("plain", plain)):
        # A window every 5 minutes; every third ends with a bar.
        ofi = of.flow_windows(ORIGIN_MS, until).ofi[2::3, 0][:-4]
        scaled = hour / hour.std(axis=0)
        inside = np.arange(len(ofi)) % 96 < 92  # an hour that ends on the same day
        found[name] = np.corrcoef(ofi[inside].ravel(), scaled[inside].ravel())[0, 1]
    # Volatility changes, so that the correlation is a little less than in deviations of the hour.
    assert 0.6 < found["planted"] < 0.82
    assert abs(found["plain"]) < 0.05
