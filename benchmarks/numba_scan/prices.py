"""Wilder's states, and the strategies that read bars: mean reversion and momentum."""

from __future__ import annotations

import numpy as np
from medians import NAN, kernel

FLAT = 1e-9
SCORE, WEIGHT, STOP, TARGET = range(4)
ATR, PLUS, MINUS, RANGE, ADX, GAIN, LOSS = range(7)


@kernel
def take(t, bars, logs, returns, states):
    """Take a bar of every symbol: logs and Wilder's states of 14, and of 2 for the RSI."""
    high, low, close = bars[1], bars[2], bars[3]
    for s in range(len(logs)):
        logs[s, t] = np.log(close[s, t])
        if t == 0:
            continue
        returns[s, t] = logs[s, t] - logs[s, t - 1]
        before = close[s, t - 1]
        change = close[s, t] - before
        true_range = max(high[s, t], before) - min(low[s, t], before)
        rise, fall = high[s, t] - high[s, t - 1], low[s, t - 1] - low[s, t]
        state = states[s]
        state[ATR] += (true_range - state[ATR]) * (1.0 / min(t, 14))
        state[GAIN] += (max(change, 0.0) - state[GAIN]) * (1.0 / min(t, 2))
        state[LOSS] += (max(-change, 0.0) - state[LOSS]) * (1.0 / min(t, 2))
        keep = 1.0 - 1.0 / 14 if t >= 14 else 1.0
        state[PLUS] = state[PLUS] * keep + (rise if rise > fall and rise > 0 else 0.0)
        state[MINUS] = state[MINUS] * keep + (fall if fall > rise and fall > 0 else 0.0)
        state[RANGE] = state[RANGE] * keep + true_range
        if t >= 14:
            total = state[PLUS] + state[MINUS]
            strength = 100.0 * abs(state[PLUS] - state[MINUS]) / total if total > 0 else 0.0
            state[ADX] += (strength - state[ADX]) * (1.0 / min(max(t - 13, 1), 14))


@kernel
def find_efficiency(closes, t):
    path = 0.0
    for at in range(t - 9, t + 1):
        path += abs(closes[at] - closes[at - 1])
    return abs(closes[t] - closes[t - 10]) / path


@kernel
def efficiencies(out, closes, t):
    for s in range(len(closes)):
        out[s] = find_efficiency(closes[s], t)


@kernel
def find_reversion(logs, t):
    """Variance ratio of 5 bars and half-life over 100 bars."""
    n, q = 100, 5
    first = t - n
    drift = (logs[t] - logs[first]) / n
    one, many, mean_x, mean_y = 0.0, 0.0, 0.0, 0.0
    for at in range(first, t):
        step = logs[at + 1] - logs[at]
        one += (step - drift) ** 2
        mean_x += logs[at]
        mean_y += step
    for at in range(first, t - q + 1):
        many += (logs[at + q] - logs[at] - q * drift) ** 2
    mean_x, mean_y = mean_x / n, mean_y / n
    spread, product = 0.0, 0.0
    for at in range(first, t):
        x = logs[at] - mean_x
        spread += x * x
        product += x * (logs[at + 1] - logs[at] - mean_y)
    ratio = (many / (q * (n - q + 1) * (1.0 - q / n))) / (one / (n - 1)) if one > 0 else NAN
    slope = product / spread if spread > 0 else NAN
    life = -np.log(2.0) / np.log1p(slope) if -1.0 < slope < 0.0 else NAN
    return ratio, life


@kernel
def revert(out, t, closes, logs, states, efficiency):
    n = 100
    for s in range(len(closes)):
        mean = 0.0
        for at in range(t - n + 1, t + 1):
            mean += closes[s, at]
        mean /= n
        spread = 0.0
        for at in range(t - n + 1, t + 1):
            spread += (closes[s, at] - mean) ** 2
        deviation = np.sqrt(spread / (n - 1))
        flat = FLAT * closes[s, t]
        index = 100.0 * states[s, GAIN] / (states[s, GAIN] + states[s, LOSS])
        known = deviation > flat and states[s, ATR] > flat
        known = known and np.isfinite(states[s, ADX] + index + efficiency[s])
        ranging = efficiency[s] < 1000.0 and states[s, ADX] < 1000.0
        stretch = closes[s, t] - mean
        z = stretch / deviation
        asked = (z >= 0.0 and index >= 0.0) or (z <= 0.0 and index <= 100.0)
        if not (known and ranging and asked):
            continue
        ratio, life = find_reversion(logs[s], t)
        if ratio < 1.0 and 0.0 <= life <= n / 3:
            put(out, s, -np.tanh(z / 2.0), 1.0, 1.5 * states[s, ATR], abs(stretch))


@kernel
def follow(out, t, closes, logs, returns, states, efficiency, interest, raws, per_day):
    """Momentum; its ranks follow, because they need all symbols."""
    day, week = per_day, 7 * per_day
    for s in range(len(closes)):
        spread = 0.0
        for at in range(t - week, t):
            spread += returns[s, at] * returns[s, at]
        volatility = np.sqrt(spread / week)
        total = (logs[s, t - 1] - logs[s, t - 1 - day]) / np.sqrt(day)
        total += (logs[s, t - 1] - logs[s, t - 1 - week]) / np.sqrt(week)
        raw = total / (2 * volatility)
        known = states[s, ATR] > FLAT * closes[s, t] and volatility > FLAT
        known = known and np.isfinite(raw + states[s, ADX] + efficiency[s])
        raws[s] = raw if known else NAN
        if known and efficiency[s] > -1.0 and states[s, ADX] > -1.0:
            weight = 1.0 if interest[0, s] >= 0.5 else 0.3
            put(out, s, 0.0, weight, 2.0 * states[s, ATR], 4.6 * states[s, ATR])


@kernel
def rank(out, raws):
    """Turn raw values into ranks from -1 to 1; equal ones get the mean of their ranks."""
    order = np.argsort(raws)
    known = len(raws)
    while known and np.isnan(raws[order[known - 1]]):
        known -= 1
    at = 0
    while at < known:
        end = at
        while end + 1 < known and raws[order[end + 1]] == raws[order[at]]:
            end += 1
        score = (at + end) / (known - 1) - 1.0 if known > 1 else 0.0
        for each in range(at, end + 1):
            s = order[each]
            agrees = np.sign(score) == np.sign(raws[s])
            if agrees and not np.isnan(out[SCORE, s]):
                out[SCORE, s] = score
            else:
                out[:, s] = NAN
        at = end + 1


@kernel
def put(out, s, score, weight, stop, target):
    out[SCORE, s], out[WEIGHT, s], out[STOP, s], out[TARGET, s] = score, weight, stop, target


@kernel
def is_extreme(highs, lows, t, side):
    """Whether the newest bar is the new high (side > 0) or low of 24 bars."""
    if side > 0:
        return highs[t] > highs[t - 24 : t].max()
    return lows[t] < lows[t - 24 : t].min()
