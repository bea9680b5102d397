"""One UTC day of the generated market: the recursion over days, and the bars.

``run_day`` is one step of the recursion, from the ``MarketState`` at 00:00 to the one at 24:00 and
the day's ``Moves``. It takes 10 ms of CPU at 220 symbols. ``make_day_bars`` makes ``DayBars`` from
these moves alone. Random numbers come from ``day_rng`` by ``(seed, day, stream)``, so a day is the
same in every process, whatever days were read before. ``PathSettings`` are the settings.
"""

from __future__ import annotations

from enum import IntEnum

import attrs
import numpy as np

from kamou.core.arrays import Floats, Ints
from kamou.venue.market.edges import Edge, PlantedState
from kamou.venue.market.universe import Universe

HOURS = 24
MOVES, BARS, PATHS, TAPE = range(10, 14)  # random streams; ``make_universe`` uses 1


class Regime(IntEnum):
    """The behavior of a symbol's own price during a stretch, which lasts some hours."""

    WALK = 0
    RANGE = 1  # the price is pulled back to that of the stretch's start
    TREND = 2  # the price drifts one way
    RELEASE = 3  # the price leaves a range, or returns part of a trend


@attrs.frozen(kw_only=True)
class PathSettings:
    """Settings of generated prices.

    ``walk_hours``, ``range_hours`` and ``trend_hours`` are means of exponential draws.
    """

    degrees_of_freedom: float = 4.0  # Student's t: crypto returns have tails of index 3 to 4
    shock_max: float = 15.0  # standard deviations; t(4) alone gives impossible moves
    own_vol_log_sd: float = 0.45  # standard deviation of log volatility, an hourly AR(1) process
    own_vol_persistence: float = 0.97  # coefficient of the AR(1); a half-life of about a day
    market_vol_log_sd: float = 0.40
    market_vol_persistence: float = 0.985
    season: float = 0.25  # amplitude of volatility over the hours of a day
    jumps_per_day: float = 0.08  # per symbol
    jump_sd: float = 0.03
    market_jumps_per_day: float = 0.03
    market_jump: tuple[float, float] = (0.03, 0.09)  # of BTC; two of three are falls
    walk_hours: float = 18.0
    range_hours: float = 24.0
    range_half_life_hours: float = 8.0
    trend_hours: float = 48.0
    # Of the symbol's own daily volatility; at (0.5, 1.2) following trends would pay after costs.
    trend_drift: tuple[float, float] = (0.35, 0.9)
    release_hours: int = 3
    release_probability: float = 0.5
    compensation: float = 0.5  # share of a stretch's predictable part that releases take back
    pull_half_life_days: float = 180.0  # to the first price, so that ticks stay right for years
    price_bound: float = 4.0  # log units around the first price
    edges: tuple[Edge, ...] = ()  # planted ones


@attrs.frozen(kw_only=True, eq=False)
class MarketState:
    """The recursion's state at midnight; arrays are ``[symbols]``."""

    log_price: Floats
    displacement: Floats  # from the price at the stretch's start
    drift: Floats  # per bar
    travelled: Floats  # by drift, in this stretch
    kind: Ints  # a ``Regime``
    hours_left: Floats
    log_vol: Floats
    market_log_vol: float
    log_interest: Floats  # of open interest over its start
    log_ratio: Floats  # of long to short accounts
    premium: Floats  # of the perpetual, a fraction of its price
    premium_sum: Floats  # since the last settlement
    planted: PlantedState | None = None  # None: the market has no edges


@attrs.frozen(kw_only=True, eq=False)
class Moves:
    """A day's log closes, and its hourly figures, ``[24, symbols]`` unless noted."""

    log_open: Floats  # [symbols], the close of the day before
    log_close: Floats  # [bars, symbols]
    variance: Floats  # of the log return of one bar in that hour
    open_interest: Floats  # base units, at the end of each hour
    ratio: Floats  # long to short accounts
    premium: Floats  # of the perpetual, a fraction of its index price
    funding: Floats  # [3, symbols]: settled at 08:00, 16:00, 24:00


@attrs.frozen(kw_only=True, eq=False)
class DayBars:
    """A day's bars, ``[bars, symbols]``: prices on the tick, volume in base units."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def day_rng(seed: int, day: int, stream: int) -> np.random.Generator:
    """Return the random generator of one stream on one day, or in one bar."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, stream, day))))


def first_state(universe: Universe) -> MarketState:
    """Return the state at the first midnight, where every regime is about to end."""
    zeros = np.zeros(len(universe.log_price))
    return MarketState(
        log_price=universe.log_price,
        displacement=zeros,
        drift=zeros,
        travelled=zeros,
        kind=zeros.astype(np.int64),
        hours_left=zeros,
        log_vol=zeros,
        market_log_vol=0.0,
        log_interest=zeros,
        log_ratio=zeros,
        premium=zeros,
        premium_sum=zeros,
    )


def run_day(
    universe: Universe, settings: PathSettings, seed: int, day: int, bars: int, state: MarketState
) -> tuple[MarketState, Moves]:
    """Return the state at the next midnight and the day's moves.

    ``day`` counts from the market's origin. ``bars`` is the number of bars of a day, a multiple of
    24. ``state`` is that at the day's 00:00 UTC. The state's planted part is not changed.
    """
    rng = day_rng(seed, day, MOVES)
    per_hour, symbols = bars // HOURS, len(universe.log_price)
    log_vol, market = _volatilities(settings, rng, state, symbols)
    season = 1.0 + settings.season * np.sin(2 * np.pi * (np.arange(HOURS) - 8) / HOURS)
    own = universe.volatility / np.sqrt(bars) * np.exp(log_vol - settings.own_vol_log_sd**2)
    own *= season[:, np.newaxis]
    factor = universe.factor_volatility / np.sqrt(bars) * (market * season)[:, np.newaxis]
    own_shock, factor_shock = _shocks(settings, rng, bars, symbols)
    shock = own_shock * np.repeat(own, per_hour, axis=0)
    _add_jumps(settings, rng, shock)
    common = factor_shock * np.repeat(factor, per_hour, axis=0)
    _add_market_jump(settings, rng, common)
    common_path = np.cumsum(common, axis=0) @ universe.loadings
    own_path, state = _own_path(universe, settings, rng, shock, common_path, state)
    variance = own**2 + factor**2 @ universe.loadings**2
    log_open = state.log_price
    log_close = log_open + common_path + own_path
    state = attrs.evolve(  # copies, because a view would keep the whole day in memory
        state,
        log_price=log_close[-1].copy(),
        log_vol=log_vol[-1].copy(),
        market_log_vol=float(np.log(market[-1])),
    )
    state, hourly = _hourly(universe, rng, log_open, log_close[per_hour - 1 :: per_hour], state)
    return state, Moves(log_open=log_open, log_close=log_close, variance=variance, **hourly)


def _volatilities(
    settings: PathSettings, rng: np.random.Generator, state: MarketState, symbols: int
) -> tuple[Floats, Floats]:
    """Return hourly log volatility ``[24, symbols]`` and the market's factor ``[24]``."""
    noise = rng.standard_normal((HOURS, symbols))
    market_noise = rng.standard_normal(HOURS)
    keep, market_keep = settings.own_vol_persistence, settings.market_vol_persistence
    width = settings.own_vol_log_sd * np.sqrt(1 - keep**2)
    market_width = settings.market_vol_log_sd * np.sqrt(1 - market_keep**2)
    own, market = np.empty((HOURS, symbols)), np.empty(HOURS)
    level, market_level = state.log_vol, state.market_log_vol
    for hour in range(HOURS):
        level = own[hour] = keep * level + width * noise[hour]
        market_level = market_keep * market_level + market_width * market_noise[hour]
        market[hour] = np.exp(market_level)
    return own, market


def _shocks(
    settings: PathSettings, rng: np.random.Generator, bars: int, symbols: int
) -> tuple[Floats, Floats]:
    """Return own shocks ``[bars, symbols]`` and shocks of both factors ``[bars, 2]``.

    They are Student's t of unit variance, cut at ``shock_max``.
    """
    tail = settings.degrees_of_freedom
    shocks = rng.standard_t(tail, (bars, symbols + 2)) * np.sqrt((tail - 2) / tail)
    np.clip(shocks, -settings.shock_max, settings.shock_max, out=shocks)
    return shocks[:, 2:], shocks[:, :2]


def _add_jumps(settings: PathSettings, rng: np.random.Generator, shock: Floats) -> None:
    """Add the jumps of single symbols to their shocks, in place."""
    bars, symbols = shock.shape
    count = rng.poisson(settings.jumps_per_day * symbols)
    where = rng.integers(bars, size=count), rng.integers(symbols, size=count)
    shock[where] += settings.jump_sd * rng.standard_normal(count)


def _add_market_jump(settings: PathSettings, rng: np.random.Generator, common: Floats) -> None:
    """Add a jump of the whole market on some days, in place."""
    happens, down, at, size = rng.random(4)
    if happens < settings.market_jumps_per_day:
        low, high = settings.market_jump
        sign = -1.0 if down < 2 / 3 else 1.0
        common[int(at * len(common))] += sign * (low + (high - low) * size)


def _own_path(
    universe: Universe,
    settings: PathSettings,
    rng: np.random.Generator,
    shock: Floats,
    common_path: Floats,
    state: MarketState,
) -> tuple[Floats, MarketState]:
    """Return own log moves since midnight, ``[bars, symbols]``, and the state after.

    Only the fields of stretches are new in that state.
    """
    bars = len(shock)
    per_hour = bars // HOURS
    choice = rng.random((HOURS, 3, shock.shape[1]))
    length = rng.standard_exponential((HOURS, shock.shape[1]))
    pull = 1.0 - 0.5 ** (1.0 / (settings.range_half_life_hours * per_hour))
    home = 1.0 - 0.5 ** (1.0 / (settings.pull_half_life_days * HOURS))
    x, level = state.displacement, -state.displacement  # own path = level + x, zero at midnight
    drift, travelled = state.drift, state.travelled
    kind, left = state.kind.copy(), state.hours_left
    path = np.empty_like(shock)
    for hour in range(HOURS):
        ended = np.flatnonzero(left <= 0)
        if len(ended):
            stretches = _Ended(
                which=ended, kind=kind[ended], displacement=x[ended], travelled=travelled[ended]
            )
            change = _next_stretch(
                settings, universe, stretches, choice[hour][:, ended], length[hour, ended], bars
            )
            level = level.copy()
            level[ended] += x[ended]
            x, drift, travelled, left = x.copy(), drift.copy(), travelled.copy(), left.copy()
            x[ended] = travelled[ended] = 0.0
            kind[ended], drift[ended], left[ended] = change
        keep = np.where(kind == Regime.RANGE, 1.0 - pull, 1.0)
        start = hour * per_hour
        for bar in range(start, start + per_hour):
            x = keep * x
            x += shock[bar]
            path[bar] = x
        path[start : start + per_hour] += level
        path[start : start + per_hour] += drift * np.arange(1, per_hour + 1)[:, np.newaxis]
        level = level + drift * per_hour
        travelled = travelled + drift * per_hour
        away = state.log_price + common_path[start + per_hour - 1] + level + x - universe.log_price
        level = level - home * away
        left = left - 1.0
    bound = universe.log_price - state.log_price - common_path
    np.clip(path, bound - settings.price_bound, bound + settings.price_bound, out=path)
    return path, attrs.evolve(
        state, displacement=x, drift=drift, travelled=travelled, kind=kind, hours_left=left
    )


@attrs.frozen(kw_only=True, eq=False)
class _Ended:
    """The stretches that ended in one hour, one of each symbol in ``which``."""

    which: Ints  # columns of the universe
    kind: Ints
    displacement: Floats
    travelled: Floats


def _next_stretch(
    settings: PathSettings,
    universe: Universe,
    ended: _Ended,
    choice: Floats,
    length: Floats,
    bars: int,
) -> tuple[Ints, Floats, Floats]:
    """Return kind, drift per bar and hours of the stretches after the ended ones.

    A release moves by the predictable part of the ended stretch times ``compensation``: outwards by
    the displacement of a range, back by the drift of a trend.
    """
    per_hour, kind = bars // HOURS, ended.kind
    after_walk = np.where(choice[0] < 0.4, Regime.RANGE, Regime.WALK)
    after_walk = np.where(choice[0] > 0.6, Regime.TREND, after_walk)
    releases = choice[0] < settings.release_probability
    after_stretch = np.where(releases, Regime.RELEASE, Regime.WALK)
    stretched = (kind == Regime.RANGE) | (kind == Regime.TREND)
    after = np.where(stretched, after_stretch, after_walk)
    after[kind == Regime.RELEASE] = Regime.WALK

    gain = np.log(2.0) / settings.range_half_life_hours * settings.range_hours
    outward = np.where(kind == Regime.RANGE, gain * ended.displacement, -ended.travelled)
    release = settings.compensation / settings.release_probability * outward
    low, high = settings.trend_drift
    sign = np.where(choice[1] < 0.5, -1.0, 1.0)
    trend = sign * (low + (high - low) * choice[2]) * universe.volatility[ended.which] / bars
    drift = np.where(after == Regime.TREND, trend, 0.0)
    drift = np.where(after == Regime.RELEASE, release / (settings.release_hours * per_hour), drift)
    means = np.array([settings.walk_hours, settings.range_hours, settings.trend_hours, 0.0])
    hours = np.maximum(1.0, np.ceil(means[after] * length))
    hours[after == Regime.RELEASE] = settings.release_hours
    return after.astype(np.int64), drift, hours


INTEREST_NOISE = 0.004  # of log open interest, per hour
INTEREST_FOLLOWS = 0.08  # open interest grows when the price moves along its stretch's drift
RATIO_NOISE = 0.03
RATIO_FADES = 0.5  # the ratio of long to short accounts falls when the price rises
PREMIUM_FOLLOWS = 0.015  # the premium of the perpetual rises when the price rises
PREMIUM_NOISE = 0.00008
FUNDING_BASE = 0.0001  # interest rate component per 8 h
FUNDING_CLAMP = 0.0005
FUNDING_MAX = 0.0075
SETTLEMENT_HOURS = 8


def _hourly(
    universe: Universe,
    rng: np.random.Generator,
    log_open: Floats,
    log_price: Floats,
    state: MarketState,
) -> tuple[MarketState, dict[str, Floats]]:
    """Return the state after, and the day's hourly figures and funding."""
    noise = rng.standard_normal((3, *log_price.shape))
    returns = np.diff(log_price, axis=0, prepend=log_open[np.newaxis])
    along = INTEREST_FOLLOWS * np.sign(state.drift) * returns + INTEREST_NOISE * noise[0]
    against = RATIO_NOISE * noise[1] - RATIO_FADES * returns
    rich = PREMIUM_FOLLOWS * returns + PREMIUM_NOISE * noise[2]
    open_interest, ratio, premiums = (np.empty_like(log_price) for _ in range(3))
    level, crowd, premium = state.log_interest, state.log_ratio, state.premium
    total, funding = state.premium_sum, []
    for hour in range(HOURS):
        level = open_interest[hour] = 0.998 * level + along[hour]
        crowd = ratio[hour] = 0.97 * crowd + against[hour]
        premium = premiums[hour] = 0.9 * premium + rich[hour]
        total = total + premium
        if (hour + 1) % SETTLEMENT_HOURS == 0:
            mean = total / SETTLEMENT_HOURS
            rate = mean + np.clip(FUNDING_BASE - mean, -FUNDING_CLAMP, FUNDING_CLAMP)
            funding.append(np.clip(rate, -FUNDING_MAX, FUNDING_MAX))
            total = np.zeros_like(total)
    after = attrs.evolve(
        state, log_interest=level, log_ratio=crowd, premium=premium, premium_sum=total
    )
    return after, {
        "open_interest": universe.open_interest * np.exp(open_interest),
        "ratio": np.exp(ratio),
        "premium": premiums,
        "funding": np.array(funding),
    }


def make_day_bars(universe: Universe, seed: int, day: int, moves: Moves) -> DayBars:
    """Return the bars of a day from its moves.

    High and low are extremes of a Brownian bridge from open to close. For open o and close c of log
    price and the bar's variance v, the maximum has the distribution of
    ``(o + c + sqrt((c - o)^2 - 2 v ln U)) / 2`` (the reflection principle); the minimum likewise.
    """
    rng = day_rng(seed, day, BARS)
    bars = len(moves.log_close)
    shape = moves.log_close.shape
    log_open = np.concatenate([moves.log_open[np.newaxis], moves.log_close[:-1]])
    variance = 2.0 * np.repeat(moves.variance, bars // HOURS, axis=0)
    move = moves.log_close - log_open
    middle = log_open + move / 2
    square = move * move
    up = np.sqrt(square + variance * rng.standard_exponential(shape)) / 2
    down = np.sqrt(square + variance * rng.standard_exponential(shape)) / 2
    close = _on_tick(moves.log_close, universe.scale)
    first = _on_tick(moves.log_open[np.newaxis], universe.scale)
    opened = np.concatenate([first, close[:-1]])
    high = np.maximum(_on_tick(middle + up, universe.scale), np.maximum(opened, close))
    low = np.minimum(_on_tick(middle - down, universe.scale), np.minimum(opened, close))
    activity = 0.4 + 0.4 * (up + down) / np.sqrt(variance)
    noise = np.exp(0.5 * rng.standard_normal(shape, dtype=np.float32))
    volume = universe.turnover / bars / close * activity * noise
    return DayBars(open=opened, high=high, low=low, close=close, volume=volume)


def _on_tick(log_price: Floats, scale: Floats) -> Floats:
    """Return prices on the tick, at least one tick; each is the float of its decimal."""
    ticks = np.exp(log_price) * scale
    np.rint(ticks, out=ticks)
    np.maximum(ticks, 1.0, out=ticks)
    ticks /= scale
    return ticks
