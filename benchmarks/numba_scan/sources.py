"""Figures of open interest, order flow, ratios and funding, at the news of each."""

from __future__ import annotations

import numpy as np
from medians import (
    NAN,
    are_known,
    choose,
    kernel,
    median,
    order,
    ordered_median,
    ordered_z,
    robust_z,
)

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@kernel
def find_interest_z(figures, times, rows, logs, past):
    """The z-score of the newest change over a day, at news of open interest."""
    gaps = np.empty(rows - 1)
    for at in range(rows - 1):
        gaps[at] = times[at + 1] - times[at]
    spacing = median(gaps, rows - 1)
    before = np.empty(rows, np.int64)
    for at in range(rows):
        nearest = times[at] - DAY_MS + int(spacing / 2)
        found = np.searchsorted(times[:rows], nearest, side="right") - 1
        found = min(found, at - 1)
        usable = found >= 0 and times[at] - times[found] <= 2 * DAY_MS
        before[at] = found if usable else -1
    since = times[rows - 1] - 30 * DAY_MS
    first = 0
    while times[first] < since:
        first += 1
    for s in range(len(logs)):
        count = 0
        for at in range(first, rows - 1):
            if before[at] >= 0:
                past[count] = logs[s, at] - logs[s, before[at]]
                count += 1
        change = logs[s, rows - 1] - logs[s, before[rows - 1]]
        figures[0, s] = robust_z(change, past, count, 20, 0.001)
        figures[1, s] = change  # over a day, of the funding fade, too


@kernel
def find_flow(figures, held, newest, flow, orders, past):
    """Figures of the newest window; ``orders`` holds the windows before ``held`` in order."""
    for s in range(flow.shape[1]):
        for row, source in enumerate((0, 5, 6)):
            values = flow[source, s]
            whole = are_known(values, newest - 300, newest)
            if whole and are_known(values, max(0, held - 300), newest - 300):
                order(orders[row, s], values, held, newest)
            elif whole:
                order(orders[row, s], values, -1, newest)
            if row < 2 and whole:
                figures[row, s] = ordered_z(values[newest], orders[row, s], 0.01)
            elif row < 2:
                count = choose(values, newest, 300, 330, past)
                figures[row, s] = robust_z(values[newest], past, count, 300, 0.01)
            elif whole:
                figures[3, s] = ordered_median(orders[row, s])
            else:
                figures[3, s] = median(past, choose(values, newest, 300, 330, past))
        figures[2, s] = flow[6, s, newest]


@kernel
def find_ratios(figures, held, newest, ratios, orders, past):
    """The z-score of the newest ratio; ``orders`` holds the 336 before ``held`` in order."""
    for s in range(ratios.shape[1]):
        accounts, top = ratios[0, s], ratios[1, s]
        spreads = accounts - top
        if newest >= 336 and are_known(spreads, max(0, newest - 337), newest + 1):
            order(orders[s], spreads, held, newest)
            figures[s] = ordered_z(spreads[newest], orders[s], 0.01)
            continue
        without = np.isnan(spreads[newest])
        count = 0
        for at in range(max(0, newest - 336), newest):
            value = accounts[at] if without or np.isnan(spreads[at]) else spreads[at]
            if not np.isnan(value):
                past[count] = value
                count += 1
        value = accounts[newest] if without else spreads[newest]
        figures[s] = robust_z(value, past, count, 200, 0.01)


@kernel
def find_funding(figures, newest, times, rates, past):
    for s in range(len(rates)):
        count = 0
        hourly = NAN
        for at in range(newest - 60, newest + 1):
            gap = max(1.0, np.rint((times[at] - times[at - 1]) / HOUR_MS))
            before = max(1.0, np.rint((times[at - 1] - times[at - 2]) / HOUR_MS))
            hourly = rates[s, at] / gap if gap <= before else NAN
            if at < newest and not np.isnan(hourly):
                past[count] = hourly
                count += 1
        figures[0, s] = robust_z(hourly, past, count, 30, 0.2e-4 / 8)
        figures[1, s] = hourly
