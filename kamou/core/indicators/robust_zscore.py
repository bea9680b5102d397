"""Median of known values, and robust z-score of a value by median and MAD.

MAD is the median absolute deviation.
"""

from __future__ import annotations

import numpy as np

from kamou.core.arrays import Floats, Ints

MAD_TO_DEVIATION = 1.4826  # makes the MAD of a normal sample estimate its standard deviation


BISECTED_MIN = 128  # columns; with fewer, numpy's fixed costs of a bisection exceed those of a sort


def median_known(values: Floats) -> tuple[Floats, Ints]:
    """Return median and number of the values other than NaN, ``[symbols]`` each.

    Values are ``[rows, symbols]``. The median of no values is NaN.
    """
    ordered, known = _order(values)
    return _find_median(ordered, known), known


def robust_z(value: Floats, past: Floats, *, known_min: int, deviation_min: float) -> Floats:
    """Return the robust z-score of a value against past values, ``[symbols]``.

    It is ``(value - median(past)) / max(MAD_TO_DEVIATION * MAD(past), deviation_min)``.

    Args:
        value: ``[symbols]``.
        past: ``[rows, symbols]``, without the value itself; finite or NaN.
        known_min: minimum number of known past values; NaN below it.
        deviation_min: minimum of the deviation, for a series that hardly changes.
    """
    if not len(past):
        return np.full(value.shape, np.nan)
    ordered, known = _order(past)
    centre = _find_median(ordered, known)
    if len(ordered) < BISECTED_MIN:
        spread, _ = median_known(np.abs(past - centre))
    else:
        spread = _find_deviation(ordered, known, centre)
    z = (value - centre) / np.maximum(MAD_TO_DEVIATION * spread, deviation_min)
    return np.where(known >= known_min, z, np.nan)


def _order(values: Floats) -> tuple[Floats, Ints]:
    """Return the values in order, ``[symbols, rows]``, and the number of known ones.

    NaN is last. A row for each symbol is contiguous, so that numpy sorts it without another copy.
    """
    ordered = np.array(values.T, order="C")
    ordered.sort(axis=1)
    if not np.isnan(ordered[:, -1]).any():
        return ordered, np.full(len(ordered), ordered.shape[1])
    return ordered, ordered.shape[1] - np.count_nonzero(np.isnan(ordered), axis=1)


def _find_median(ordered: Floats, known: Ints) -> Floats:
    """Return the median of the first ``known`` values of each row; NaN if 0."""
    each = np.arange(len(ordered))
    lower = ordered[each, np.maximum(known - 1, 0) // 2]
    upper = ordered[each, np.minimum(known // 2, ordered.shape[1] - 1)]
    return np.asarray((lower + upper) / 2)


def _find_deviation(ordered: Floats, known: Ints, centre: Floats) -> Floats:
    """Return the median distance of known values to their median, ``[symbols]``.

    Values left of the median and values right of it are two sequences with growing distances. A
    bisection finds how many of the nearest ``known // 2 + 1`` values are on the left.
    """
    flat, first = ordered.ravel(), np.arange(len(ordered)) * ordered.shape[1]
    split = known // 2  # values on the left
    wanted = split + 1
    left_end, right_end = first + split, first + split + wanted
    low, high = np.maximum(0, wanted - (known - split)), np.minimum(wanted, split)
    for _ in range(ordered.shape[1].bit_length()):
        taken = (low + high) // 2
        next_left = centre - flat.take(left_end - 1 - taken, mode="clip")
        last_right = flat.take(right_end - 1 - taken, mode="clip") - centre
        enough = last_right <= next_left
        np.copyto(low, taken + 1, where=~enough & (low < high))
        np.copyto(high, taken, where=enough)

    def find_farthest(left: Ints, right: Ints) -> tuple[Floats, Floats]:
        """Return the distances of the last of so many values on each side; 0 for none."""
        values = flat.take(np.stack((left_end - left, left_end + right - 1)), mode="clip")
        found: Floats = np.abs(values - centre)
        found[np.stack((left, right)) < 1] = 0.0
        return found[0], found[1]

    left, right = find_farthest(low, wanted - low)
    upper = np.maximum(left, right)
    # The nearest but one is left if the farthest of them is taken away.
    low = np.where(left > right, low - 1, low)
    lower = np.maximum(*find_farthest(low, split - low))
    deviation = (np.where(known % 2 == 1, upper, lower) + upper) / 2
    return np.where(known > 0, deviation, np.nan)
