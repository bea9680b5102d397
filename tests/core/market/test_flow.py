"""A panel's windows of order flow stand on a grid of time, and snapshots never change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.indicators.order_flow import WINDOW_FIGURES
from kamou.core.market.flow import (
    FLOW_WINDOW_MS,
    NO_WINDOW_MS,
    FlowRows,
    FlowSnapshot,
    empty_flow,
)
from kamou.errors import InvalidDataError


def draw_windows(
    chance: np.random.Generator, count: int
) -> list[tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]]:
    """Return windows in the order of time, with gaps between some."""
    numbers = np.cumsum(chance.choice([1, 1, 1, 2, 30], size=count))
    return [
        (int(n) * FLOW_WINDOW_MS, chance.normal(size=(WINDOW_FIGURES, 2))) for n in numbers.tolist()
    ]


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), kept=st.integers(1, 25), count=st.integers(0, 90))
def test_rows_are_the_newest_windows_of_the_grid_and_nan_where_one_lacks(
    seed: int, kept: int, count: int
) -> None:
    chance = np.random.default_rng(seed)
    rows, windows = FlowRows(kept, 2), draw_windows(chance, count)
    known = dict(windows)
    snapshots: list[tuple[int, FlowSnapshot]] = []
    at = 0
    while at < count:
        together = int(chance.integers(1, 6))
        part = windows[at : at + together]
        rows.append(np.array([e for e, _ in part]), np.stack([v for _, v in part]))
        at += len(part)
        snapshots.append((part[-1][0], rows.copy()))
    for newest_ms, snapshot in snapshots:  # read at the end: none has changed
        for now_ms in (newest_ms, newest_ms + 1, newest_ms - 1, newest_ms - 3 * FLOW_WINDOW_MS):
            ends, values = snapshot.known(now_ms)
            last = min(newest_ms, now_ms // FLOW_WINDOW_MS * FLOW_WINDOW_MS)
            oldest = newest_ms - (kept - 1) * FLOW_WINDOW_MS
            expected = list(range(oldest, last + 1, FLOW_WINDOW_MS))
            assert ends.tolist() == expected
            for end_ms, row in zip(expected, values, strict=True):
                if end_ms in known:
                    np.testing.assert_array_equal(row, known[end_ms])
                else:
                    assert np.isnan(row).all()


def test_rows_without_a_window_have_only_unknown_figures_and_no_end() -> None:
    ends, values = FlowRows(4, 3).copy().known(1_000_000_000)
    assert ends.tolist() == [NO_WINDOW_MS] * 4
    assert values.shape == (4, WINDOW_FIGURES, 3)
    assert np.isnan(values).all()
    assert empty_flow(("A", "B")).values.shape == (0, WINDOW_FIGURES, 2)


def test_an_infinite_figure_is_unknown() -> None:
    rows, values = FlowRows(2, 1), np.ones((1, WINDOW_FIGURES, 1))
    values[0, 3] = np.inf
    rows.append(np.array([FLOW_WINDOW_MS]), values)
    _, known = rows.copy().known(FLOW_WINDOW_MS)
    assert np.flatnonzero(np.isnan(known[-1, :, 0])).tolist() == [3]


def test_a_window_that_is_not_later_or_not_on_the_grid_is_an_error() -> None:
    rows, values = FlowRows(3, 1), np.ones((1, WINDOW_FIGURES, 1))
    rows.append(np.array([2 * FLOW_WINDOW_MS]), values)
    for end_ms in (FLOW_WINDOW_MS, 2 * FLOW_WINDOW_MS, 3 * FLOW_WINDOW_MS + 1):
        with pytest.raises(InvalidDataError, match="it must end later, at a multiple of 300000 ms"):
            rows.append(np.array([end_ms]), values)


def test_a_figure_is_computed_once_for_each_set_of_known_windows() -> None:
    rows, asked = FlowRows(3, 1), list[int]()

    def count(ends: object, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> object:
        asked.append(len(values))
        return np.array([len(values)])

    for n in (1, 2):
        rows.append(np.array([n * FLOW_WINDOW_MS]), np.ones((1, WINDOW_FIGURES, 1)))
    snapshot = rows.copy()
    assert rows.copy() is snapshot
    for now_ms in (2, 2, 1, 1, 3):
        snapshot.compute("key", now_ms * FLOW_WINDOW_MS, count)  # type: ignore[arg-type]  # counts calls
    assert asked == [3, 2]
    rows.append(np.array([3 * FLOW_WINDOW_MS]), np.ones((1, WINDOW_FIGURES, 1)))
    assert rows.copy() is not snapshot
