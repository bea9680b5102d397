"""The market with planted edges, made from the moves of a market without one.

A drift is added to the log price after a condition on the planted market's own past: its newest
settled funding rate, its newest account ratio, its distance from its own mean, its own momentum, or
that of Bitcoin. So a drift is causal, and it knows nothing of strategies. The unit of its strength
is the standard deviation of the price over 15 minutes, every 15 minutes.

What has no edge must stay without one in the same market. So premium and account ratio are series
of their own here, independent of the price: a strategy that reads them gains from prices only if a
drift follows these series. Stretches of trend have no drift (``without_trends``). A pull to the
mean would make every follower of momentum lose, and a loser can be traded the other way round. So a
short push comes with it, and the two cancel for who follows momentum. A drift against the crowd is
a move that followers of momentum join, so a short turn against momentum comes with that one.

The edge of the order flow is not made here: prices stay, and the flow foresees them
(``generated_flow.py``). Such a market has no drift at all.

The offset that all drifts have added returns slowly, by half in ``HOME_DAYS``, and has a bound.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs
import numpy as np

from kamou.core.arrays import Floats, Mask
from kamou.venue.market.edges import MOMENT_H, Drift, Edge, PlantedState, Trail
from kamou.venue.market.generated_day import (
    FUNDING_BASE,
    FUNDING_CLAMP,
    FUNDING_MAX,
    HOURS,
    RATIO_NOISE,
    SETTLEMENT_HOURS,
    MarketState,
    Moves,
    PathSettings,
    day_rng,
)

DRIVERS, CROWDS = 30, 31  # random streams; those below are of the market without edges
LOOKS_PER_HOUR = 4  # at most; a look at the conditions is at the close of a bar
HOME_DAYS = 8.0
OFFSET_MAX = 2.0  # log units

PREMIUM_KEEPS, PREMIUM_SHOCK = 0.9, 0.00013  # an hourly AR(1): 0.9 % of rates are extreme
FADE_RATE = 0.00018  # per settlement, 20 % a year; a larger rate is extreme
FADE_HOURS = 20.0  # 8 until the next rate, and 12 in which a trade can close
FADE_STRENGTH = 0.2

MEAN_HOURS = 12.5  # as old as an average of 25 hours is in the mean
PULL_FROM = 1.2  # standard deviations from the mean
PULL_HOURS = 8.0  # at most; a pull ends when the price has reached its mean
PULL_STRENGTH = 0.9

DAY_HOURS, WEEK_HOURS, SPEED_HOURS = 24.0, 168.0, 1.25
PUSH_RANK = 0.8  # of momentum among all symbols, from -1 to 1
PUSH_EFFICIENCY = 0.5  # net move over path; a random walk has 0.4 in the mean
PUSH_HOURS = 8.0
PUSH_STRENGTH = 0.3
# Of the push that cancels the pull for who follows momentum; fitted to seed 1.
COUNTER_HOURS, COUNTER_STRENGTH = 2.0, 0.8

RATIO_KEEPS = 0.97
# With the ratio's edge crowds come and go faster, so that a drift ends before it is a trend.
CROWD_KEEPS, CROWD_RATE, CROWD_SIZE = 0.9, 0.01, 0.5  # the rate is per hour, the size of the log
LEAN_FROM = 0.15  # of the log ratio; more than 2 deviations of its noise
LEAN_STRENGTH = 0.6  # against the crowd, as long as it is that large
# Of the turn that cancels the lean for who follows momentum; fitted to seed 4.
TURN_HOURS, TURN_STRENGTH = 2.0, 0.3

BTC, ETH = 0, 1  # columns
TIDE_FROM = 1.3  # deviations of Bitcoin's move of about a day
TIDE_HOURS, TIDE_REST_HOURS = 36.0, 24.0  # a new tide may begin after both
TIDE_STRENGTH = 1.6  # of Bitcoin's deviation, times a symbol's beta
# A tide comes in waves, forward by both and back by their difference. So prices do not look like a
# trend from bar to bar, and momentum stays away. Fitted to seed 5.
TIDE_WAVE = 7.5
TIDE_RANK = 0.7  # of momentum; symbols beyond it have no part in a tide
# Of the turn that cancels the tide for who follows momentum; fitted to seed 5.
EBB_HOURS, EBB_STRENGTH = 2.0, 0.6


def without_trends(paths: PathSettings) -> PathSettings:
    """Return the settings of a market whose stretches of trend have no drift."""
    return attrs.evolve(paths, trend_drift=(0.0, 0.0))


def prepare(paths: PathSettings, state: MarketState) -> tuple[PathSettings, MarketState]:
    """Return a market's settings and first state, with a planted part if it has edges."""
    if not paths.edges:
        return paths, state
    planted = PlantedState.at_start(state.log_price)
    return without_trends(paths), attrs.evolve(state, planted=planted)


def plant(
    edges: Collection[Edge],
    seed: int,
    day: int,
    state: PlantedState,
    moves: Moves,
    betas: Floats,
) -> tuple[PlantedState, Moves]:
    """Return the planted state at the next midnight, and the day's planted moves.

    Args:
        edges: the market's edges.
        seed: the market's seed.
        day: the day, counted from the market's origin.
        state: the planted state at the day's 00:00 UTC.
        moves: the day's moves in the market without edges.
        betas: of the symbols to Bitcoin, the first of them.
    """
    bars, symbols = moves.log_close.shape
    per_hour = bars // HOURS
    premium_noise, ratio_noise = day_rng(seed, day, DRIVERS).standard_normal((2, HOURS, symbols))
    keeps, ratio_shock = RATIO_KEEPS, RATIO_NOISE * ratio_noise
    if Edge.RATIO_FADE in edges:
        keeps, ratio_shock = CROWD_KEEPS, ratio_shock + _draw_crowds(seed, day, symbols)
    log_open = moves.log_open + state.offset
    log_close = np.empty_like(moves.log_close)
    ratio, premiums = np.empty((2, HOURS, symbols))
    funding: list[Floats] = []
    for hour in range(HOURS):
        part = slice(hour * per_hour, (hour + 1) * per_hour)
        deviation = np.sqrt(per_hour * moves.variance[hour])
        state, log_close[part] = _move_hour(edges, state, moves.log_close[part], deviation, betas)
        premium = premiums[hour] = (
            PREMIUM_KEEPS * state.premium + PREMIUM_SHOCK * premium_noise[hour]
        )
        log_ratio = keeps * state.log_ratio + ratio_shock[hour]
        ratio[hour] = np.exp(log_ratio)
        state = attrs.evolve(
            state,
            premium=premium,
            premium_sum=state.premium_sum + premium,
            log_ratio=log_ratio,
            fade=state.fade.after(1.0),
        )
        if (hour + 1) % SETTLEMENT_HOURS == 0:
            state, rate = _settle(edges, state)
            funding.append(rate)
    planted = attrs.evolve(
        moves,
        log_open=log_open,
        log_close=log_close,
        ratio=ratio,
        premium=premiums,
        funding=np.array(funding),
    )
    return state, planted


def _draw_crowds(seed: int, day: int, symbols: int) -> Floats:
    """Return the jumps of the log ratios, ``[24, symbols]``, 0 in most hours."""
    happens, side = day_rng(seed, day, CROWDS).random((2, HOURS, symbols))
    jumps: Floats = np.where(happens < CROWD_RATE, np.where(side < 0.5, -1.0, 1.0), 0.0)
    return CROWD_SIZE * jumps


def _move_hour(
    edges: Collection[Edge],
    state: PlantedState,
    unplanted: Floats,
    deviation: Floats,
    betas: Floats,
) -> tuple[PlantedState, Floats]:
    """Return the state after an hour, and the hour's planted log closes.

    ``unplanted`` are the log closes without edges, ``[bars, symbols]``, and ``deviation`` is the
    standard deviation of the hour's log return.
    """
    per_hour = len(unplanted)
    bars = _count_bars_of_look(per_hour)
    hours = bars / per_hour
    # Half of an hour's deviation is that of 15 minutes, four times an hour.
    unit = 2.0 * deviation / per_hour
    offset = state.offset * 0.5 ** (1.0 / (HOME_DAYS * HOURS))
    closes = np.empty_like(unplanted)
    for first in range(0, per_hour, bars):
        part = slice(first, first + bars)
        drift = _add_drifts(edges, state)
        if Edge.MACRO in edges:
            drift += _find_tide(state, deviation, betas, hours)
        steps = np.arange(1, bars + 1)[:, np.newaxis] * (drift * unit)
        added = np.clip(offset + steps, -OFFSET_MAX, OFFSET_MAX)
        closes[part] = unplanted[part] + added
        offset = added[-1].copy()
        state = attrs.evolve(state, trail=_follow(state.trail, closes[first + bars - 1], hours))
        state = _start_drifts(edges, state, deviation, hours)
    return attrs.evolve(state, offset=offset), closes


def _count_bars_of_look(per_hour: int) -> int:
    """Return the bars from one look to the next, which divide the bars of an hour."""
    most = max(1, per_hour // LOOKS_PER_HOUR)
    return next(bars for bars in range(most, 0, -1) if per_hour % bars == 0)


def _add_drifts(edges: Collection[Edge], state: PlantedState) -> Floats:
    """Return the sum of the drifts but the tide in each symbol, in units of strength."""
    total = np.zeros(len(state.offset))
    if Edge.FUNDING_FADE in edges:
        total += FADE_STRENGTH * state.fade.side
    if Edge.MEAN_REVERSION in edges:
        total += PULL_STRENGTH * state.pull.side
    if Edge.RATIO_FADE in edges:
        crowded = np.abs(state.log_ratio) > LEAN_FROM
        total -= LEAN_STRENGTH * np.sign(state.log_ratio) * crowded
    _, strength = _choose_push(edges)
    return total + strength * state.push.side


def _choose_push(edges: Collection[Edge]) -> tuple[float, float]:
    """Return hours and strength of a push; 0, 0: there is none.

    A strength below 0 is against momentum. The edge of momentum goes before the pushes that only
    cancel other drifts.
    """
    if Edge.OI_MOMENTUM in edges:
        return PUSH_HOURS, PUSH_STRENGTH
    if Edge.MEAN_REVERSION in edges:
        return COUNTER_HOURS, COUNTER_STRENGTH
    if Edge.RATIO_FADE in edges:
        return TURN_HOURS, -TURN_STRENGTH
    if Edge.MACRO in edges:
        return EBB_HOURS, -EBB_STRENGTH
    return 0.0, 0.0


def _find_tide(state: PlantedState, deviation: Floats, betas: Floats, hours: float) -> Floats:
    """Return the drift of the tide in each symbol, in units of strength.

    It goes forward and back from look to look, ``hours`` apart. Symbols whose momentum leads have
    none, except Bitcoin and Ether. Otherwise a tide would pay all who follow momentum.
    """
    left = state.tide.hours_left
    runs = left > TIDE_REST_HOURS + MOMENT_H
    leads = np.abs(_rank(_measure_momentum(state.trail) / deviation)) > TIDE_RANK
    leads[: ETH + 1] = False
    forward = np.rint(left / hours) % 2 == 0
    strength = TIDE_STRENGTH + np.where(forward, TIDE_WAVE, -TIDE_WAVE)
    tide: Floats = strength * state.tide.side * betas * deviation[BTC] / deviation
    return np.where(runs & ~leads, tide, 0.0)


def _follow(trail: Trail, price: Floats, hours: float) -> Trail:
    """Return the memory after a look at log prices, ``hours`` after the last one."""
    mean_share, speed_share, day_share, week_share = (
        1.0 - np.exp(-hours / each) for each in (MEAN_HOURS, SPEED_HOURS, DAY_HOURS, WEEK_HOURS)
    )
    moved, away = price - trail.price, price - trail.mean
    return Trail(
        price=price.copy(),  # a view would keep the whole day in memory
        mean=trail.mean + mean_share * away,
        variance=(1.0 - mean_share) * (trail.variance + mean_share * away * away),
        speed=trail.speed + speed_share * (moved - trail.speed),
        path=trail.path + speed_share * (np.abs(moved) - trail.path),
        day=trail.day + day_share * (moved - trail.day),
        week=trail.week + week_share * (moved - trail.week),
    )


def _start_drifts(
    edges: Collection[Edge], state: PlantedState, deviation: Floats, hours: float
) -> PlantedState:
    """Return the state with the drifts that start or end at a look."""
    if Edge.MEAN_REVERSION in edges:
        state = attrs.evolve(state, pull=_pull(state.pull.after(hours), state.trail))
    if Edge.MACRO in edges:
        tide = _turn_tide(state.tide.after(hours), state.trail, deviation[BTC], hours)
        state = attrs.evolve(state, tide=tide)
    length, _ = _choose_push(edges)
    if length:
        starts, side = _find_pushes(state.trail, deviation)
        push = state.push.after(hours).start(starts, side, length)
        state = attrs.evolve(state, push=push)
    return state


def _pull(pull: Drift, trail: Trail) -> Drift:
    """Return the pulls: a far price starts one, and the mean ends it."""
    away = trail.price - trail.mean
    pull = pull.stop(pull.side * away >= 0)
    far = np.abs(away) > PULL_FROM * np.sqrt(trail.variance)
    return pull.start(far & (pull.side == 0), -np.sign(away), PULL_HOURS)


def _turn_tide(tide: Drift, trail: Trail, deviation: float, hours: float) -> Drift:
    """Return the tide: a large move of Bitcoin starts one, unless one flows or rests.

    ``deviation`` is the standard deviation of Bitcoin's hourly log return, and ``hours`` the time
    from one look to the next.
    """
    # The deviation of an exponential mean of independent returns, which are per look.
    expected = deviation * np.sqrt(hours) * np.sqrt(hours / (2.0 * DAY_HOURS))
    z = trail.day[BTC] / expected
    starts = (tide.side == 0) & (abs(z) > TIDE_FROM)
    return tide.start(starts, np.full(len(starts), np.sign(z)), TIDE_HOURS + TIDE_REST_HOURS)


def _find_pushes(trail: Trail, deviation: Floats) -> tuple[Mask, Floats]:
    """Return where a push starts, and the side of each symbol's momentum.

    It starts where momentum is extreme and the newest move is straight.
    """
    momentum = _measure_momentum(trail)
    rank = _rank(momentum / deviation)
    straight = np.abs(trail.speed) > PUSH_EFFICIENCY * trail.path
    extreme = (np.abs(rank) > PUSH_RANK) & (np.sign(rank) == np.sign(momentum))
    return extreme & straight, np.sign(rank)


def _measure_momentum(trail: Trail) -> Floats:
    """Return the mean return of a day plus that of a week, by roots of their hours."""
    momentum: Floats = trail.day * np.sqrt(DAY_HOURS) + trail.week * np.sqrt(WEEK_HOURS)
    return momentum


def _rank(values: Floats) -> Floats:
    """Return ranks from -1 to 1 of different values; a single value has 0."""
    if len(values) == 1:
        return np.zeros(1)
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    ranks: Floats = 2.0 * order / (len(values) - 1) - 1.0
    return ranks


def _settle(edges: Collection[Edge], state: PlantedState) -> tuple[PlantedState, Floats]:
    """Return the state after a settlement, and its rates.

    An extreme rate starts a fade, if the market has that edge.
    """
    mean = state.premium_sum / SETTLEMENT_HOURS
    rate = mean + np.clip(FUNDING_BASE - mean, -FUNDING_CLAMP, FUNDING_CLAMP)
    rate = np.clip(rate, -FUNDING_MAX, FUNDING_MAX)
    fade = state.fade
    if Edge.FUNDING_FADE in edges:
        fade = fade.start(np.abs(rate) > FADE_RATE, -np.sign(rate), FADE_HOURS)
    return attrs.evolve(state, premium_sum=np.zeros(len(rate)), fade=fade), rate
