"""Betas to Bitcoin and Ether, and the moves of the market."""

from __future__ import annotations

import numpy as np
from medians import kernel, robust_z
from prices import ATR, FLAT, put

LIMIT = 4.0 * float(np.sqrt(np.pi / 2))  # four deviations, in mean sizes


@kernel
def clip(values, most):
    for at in range(len(values)):
        value = values[at]
        values[at] = most if value > most else (-most if value < -most else value)


@kernel
def dot(one, other):
    total = 0.0
    for at in range(len(one)):
        total += one[at] * other[at]
    return total


@kernel
def find_rest(row, slope_x, slope_y, x, y, weights):
    rest = 0.0
    for at in range(len(row)):
        left = row[at] - (slope_x * x[at] + slope_y * y[at])
        rest += weights[at] * left * left
    return rest


@kernel
def read_hours(logs, first, per_hour, out):
    for at in range(len(out)):
        out[at] = logs[first + (at + 1) * per_hour] - logs[first + at * per_hour]


@kernel
def sum_hours(market, figure, first, per_hour, out):
    for at in range(len(out)):
        summed = 0.0
        for bar in range(first + 1 + at * per_hour, first + 1 + (at + 1) * per_hour):
            summed += market[bar, figure]
        out[at] = summed


@kernel
def find_move_z(series, past, horizon):
    moves = len(series) + 1 - horizon
    total = 0.0
    for at in range(horizon):
        total += series[at]
    for at in range(moves):
        past[at] = total
        if at + horizon < len(series):
            total += series[at + horizon] - series[at]
    return robust_z(past[moves - 1], past, moves - 1, max(2, moves // 2), 1e-6)


@kernel
def spread_market(out, t, closes, logs, states, market, past, per_hour, rows):
    """Betas to Bitcoin and Ether, and the moves of both and of the breadth."""
    first = t - rows * per_hour
    bitcoin, ether, mean, breadth = np.empty(rows), np.empty(rows), np.empty(rows), np.empty(rows)
    row = np.empty(rows)
    for figure, series in enumerate((bitcoin, ether, mean, breadth)):
        sum_hours(market, figure, first, per_hour, series)
    weights = 0.5 ** (np.arange(rows - 1, -1, -1) / 240.0)
    weights /= weights.sum()
    for series in (bitcoin, ether, mean):
        clip(series, LIMIT * dot(weights, np.abs(series)))
    x = bitcoin - dot(weights, bitcoin)
    y = ether - dot(weights, ether)
    wx = x * weights
    of_x = dot(wx, x)
    ether = ether - dot(wx, y) / of_x * bitcoin
    y = ether - dot(weights, ether)
    wy = y * weights
    of_y = dot(wy, y)
    mean -= dot(weights, mean)
    target_x, target_y = dot(wx, mean) / of_x, dot(wy, mean) / of_y
    bitcoin_z = find_move_z(bitcoin, past, 24)
    ether_z = find_move_z(ether, past, 24)
    breadth_z = find_move_z(breadth, past, 24)
    share, prior = dot(weights, weights), 0.25
    for s in range(len(closes)):
        read_hours(logs[s], first, per_hour, row)
        clip(row, LIMIT * dot(weights, np.abs(row)))
        row -= dot(weights, row)
        slope_x, slope_y = dot(wx, row) / of_x, dot(wy, row) / of_y
        rest = find_rest(row, slope_x, slope_y, x, y, weights)
        beta_x = target_x + (slope_x - target_x) * prior / (prior + rest * share / of_x)
        beta_y = target_y + (slope_y - target_y) * prior / (prior + rest * share / of_y)
        expected = beta_x * (bitcoin_z + breadth_z) / 2 + beta_y * ether_z
        atr = states[s, ATR]
        moving = atr > FLAT * closes[s, t] and np.isfinite(expected)
        if moving and bitcoin_z * breadth_z > 0:
            put(out, s, np.tanh(expected / 2.0), 1.0, 2.0 * atr, 4.0 * atr)
