"""Medians and robust z-scores, by selection and from values that are kept in order."""

from __future__ import annotations

import numba
import numpy as np

NAN = np.nan
MAD = 1.4826
kernel = numba.njit(
    cache=False, boundscheck=False, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}
)


@kernel
def select(values, low, high, nth):
    """Put the nth smallest of ``values[low:high + 1]`` at its place (Hoare)."""
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if nth <= right:
            high = right
        elif nth >= left:
            low = left
        else:
            return


@kernel
def median(values, count):
    """The median of the first values, which it reorders."""
    if count == 0:
        return NAN
    half = count // 2
    select(values, 0, count - 1, half)
    upper = values[half]
    if count % 2:
        return upper
    lower = values[0]
    for at in range(1, half):
        lower = max(lower, values[at])
    return (lower + upper) / 2.0


@kernel
def robust_z(value, past, count, known_min, deviation_min):
    """The z-score by median and MAD of the first values of ``past``, which it overwrites."""
    if count < known_min or count == 0:
        return NAN
    centre = median(past, count)
    for at in range(count):
        past[at] = abs(past[at] - centre)
    return (value - centre) / max(MAD * median(past, count), deviation_min)


@kernel
def find_nth_deviation(ordered, split, centre, nth):
    """The nth smallest distance to the centre of ordered values, by bisection.

    ``split`` values are below the centre; so many of them as ``low`` says are among the nearest.
    """
    wanted = nth + 1
    low, high = max(0, wanted - (len(ordered) - split)), min(wanted, split)
    while low < high:
        taken = (low + high) // 2
        if ordered[split + wanted - taken - 1] - centre <= centre - ordered[split - 1 - taken]:
            high = taken
        else:
            low = taken + 1
    farthest = 0.0
    if low > 0:
        farthest = centre - ordered[split - low]
    if wanted > low:
        farthest = max(farthest, ordered[split + wanted - low - 1] - centre)
    return farthest


@kernel
def ordered_median(ordered):
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2.0


@kernel
def ordered_z(value, ordered, deviation_min):
    """As ``robust_z``, of values in order."""
    centre, half = ordered_median(ordered), len(ordered) // 2
    split = np.searchsorted(ordered, centre)
    spread = find_nth_deviation(ordered, split, centre, half)
    if len(ordered) % 2 == 0:
        spread = (spread + find_nth_deviation(ordered, split, centre, half - 1)) / 2.0
    return (value - centre) / max(MAD * spread, deviation_min)


@kernel
def replace(ordered, old, new):
    """Take a value out of ordered values and put another one in."""
    at, to = np.searchsorted(ordered, old), np.searchsorted(ordered, new)
    if to > at:
        to -= 1
        for each in range(at, to):
            ordered[each] = ordered[each + 1]
    else:
        for each in range(at, to, -1):
            ordered[each] = ordered[each - 1]
    ordered[to] = new


@kernel
def order(ordered, values, held, newest):
    """Bring the ordered values before ``held`` up to those before ``newest``; none may lack."""
    count = len(ordered)
    if held < count or newest - held >= count:
        ordered[:] = np.sort(values[newest - count : newest])
        return
    for at in range(held, newest):
        replace(ordered, values[at - count], values[at])


@kernel
def are_known(values, first, end):
    known = True
    for at in range(first, end):
        known &= not np.isnan(values[at])
    return known


@kernel
def choose(values, end, most, windows, past):
    """Copy the newest known values before ``end``, at most ``most`` of so many windows."""
    count = 0
    for at in range(end - 1, end - 1 - windows, -1):
        if count < most and not np.isnan(values[at]):
            past[count] = values[at]
            count += 1
    return count
