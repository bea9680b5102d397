"""The panel: rows that it keeps, invalid bars, and windows as views in time order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.arrays import Floats, Ints
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.market.newest_rows import SLACK_ROWS_MIN
from kamou.core.market.panel import INTEREST_PERIOD_MS, PANEL_FIELDS, Panel
from kamou.errors import InvalidDataError

NAN = float("nan")


def bar(*close: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    c = np.array(close)
    return c, c * 1.01, c * 0.99, c, np.ones_like(c)


def panel(symbols: int = 2, window: int = 4) -> Panel:
    return Panel([f"S{s}" for s in range(symbols)], MINUTE_MS, window)


def test_a_window_is_the_newest_bars_in_time_order_without_a_copy() -> None:
    market = panel()
    for t in range(6):
        market.append(t * MINUTE_MS, *bar(t + 1.0, t + 10.0))
    window = market.view("close", 3)
    np.testing.assert_array_equal(window, [[4, 13], [5, 14], [6, 15]])
    assert window.flags.c_contiguous
    assert not window.flags.owndata
    np.testing.assert_array_equal(market.view("close", 2, back=1), [[4, 13], [5, 14]])
    np.testing.assert_array_equal(market.row("close", back=2), [4, 13])
    assert (market.bars, market.open_ms, market.close_ms) == (6, 5 * MINUTE_MS, 6 * MINUTE_MS)


def test_panel_rows_before_the_first_bar_are_nan() -> None:
    market = panel()
    assert (market.close_ms, market.bars) == (-1, 0)
    market.append(0, *bar(1.0, 2.0))
    assert np.isnan(market.view("close", 4)[:3]).all()
    assert np.isnan(market.row("log_return")).all()


@settings(max_examples=20)
@given(window=st.integers(2, 40), bars=st.integers(1, 2 * SLACK_ROWS_MIN))
def test_a_window_has_the_newest_closes_and_returns_after_any_number_of_bars(
    window: int, bars: int
) -> None:
    market = panel(1, window)
    closes = np.arange(1.0, bars + 1)
    for t, close in enumerate(closes):
        market.append(t * MINUTE_MS, *bar(close))
    padded = np.concatenate([np.full(window, NAN), closes])[-window:]
    np.testing.assert_array_equal(market.view("close", window)[:, 0], padded)
    np.testing.assert_allclose(market.view("log_return", window)[1:, 0], np.diff(np.log(padded)))


def test_a_view_longer_than_the_window_fails_an_assertion() -> None:
    with pytest.raises(AssertionError):
        panel(1, 4).view("close", 5)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("open", NAN),
        ("high", NAN),
        ("low", NAN),
        ("close", NAN),
        ("volume", NAN),
        ("high", 0.5),  # below the low
        ("high", 99.0),  # below the close
        ("low", 101.0),  # above the open
        ("low", 0.0),
        ("close", -1.0),
        ("open", 102.0),  # above the high
        ("high", float("inf")),
        ("volume", float("inf")),
        ("volume", -1.0),
    ],
)
def test_an_invalid_bar_is_missing_for_its_symbol_alone(change: str, value: float) -> None:
    market = panel()
    market.append(0, *bar(100.0, 100.0))
    columns = dict(zip(("open", "high", "low", "close", "volume"), bar(100.0, 100.0), strict=True))
    columns[change] = np.array([value, columns[change][1]])
    valid = market.append(MINUTE_MS, *columns.values())
    assert valid.tolist() == [False, True]
    assert market.count.tolist() == [0, 2]
    assert market.last_close_ms.tolist() == [MINUTE_MS, 2 * MINUTE_MS]
    for field in PANEL_FIELDS:
        assert np.isnan(market.row(field)).tolist() == [True, False]
    market.append(2 * MINUTE_MS, *bar(100.0, 100.0))
    assert market.count.tolist() == [1, 3]
    assert np.isnan(market.row("log_return")).tolist() == [True, False]


def test_a_bar_without_market_trades_is_valid() -> None:
    market = panel(1)
    flat = np.array([5.0])
    assert market.append(0, flat, flat, flat, flat, np.array([0.0])).all()


def test_a_skipped_row_restarts_every_symbols_count() -> None:
    market = panel()
    market.append(0, *bar(1.0, 2.0))
    market.append(MINUTE_MS, *bar(1.0, 2.0))
    market.append(3 * MINUTE_MS, *bar(1.0, 2.0))
    assert market.count.tolist() == [1, 1]
    assert np.isnan(market.row("log_return")).all()


@pytest.mark.parametrize("open_ms", [10 * MINUTE_MS, 9 * MINUTE_MS, 0, 10 * MINUTE_MS + 1])
def test_a_bar_that_is_not_later_than_the_newest_or_off_the_grid_is_invalid(open_ms: int) -> None:
    market = panel()
    market.append(10 * MINUTE_MS, *bar(1.0, 2.0))
    with pytest.raises(InvalidDataError, match="it must open a multiple of"):
        market.append(open_ms, *bar(1.0, 2.0))
    assert market.bars == 1


def test_open_interest_is_known_once_it_is_available_and_older_than_the_newest_is_invalid() -> None:
    market = Panel(["a", "b"], MINUTE_MS, 2, open_interest_rows=3)
    assert len(market.open_interest(10**15)[0]) == 0
    for k in range(5):
        market.append_interest(k * INTEREST_PERIOD_MS, np.array([np.exp(k), -1.0]))
    times, logs = market.open_interest(3 * INTEREST_PERIOD_MS)
    assert times.tolist() == [2 * INTEREST_PERIOD_MS, 3 * INTEREST_PERIOD_MS]
    np.testing.assert_allclose(logs, [[2.0, NAN], [3.0, NAN]])
    with pytest.raises(InvalidDataError, match="open interest"):
        market.append_interest(3 * INTEREST_PERIOD_MS, np.ones(2))


def test_a_second_read_of_open_interest_within_a_row_fills_only_its_unknown_values() -> None:
    market = Panel(["a", "b"], MINUTE_MS, 2, open_interest_rows=3)
    market.append_interest(0, np.array([1.0, NAN]))
    market.append_interest(HOUR_MS, np.array([9.0, NAN]))
    assert market.open_interest(0)[0].tolist() == [0]
    market.append_interest(2 * HOUR_MS, np.array([9.0, np.e]))
    assert len(market.open_interest(HOUR_MS)[0]) == 0  # the row is complete from 2 h on
    times, logs = market.open_interest(2 * HOUR_MS)
    assert times.tolist() == [2 * HOUR_MS]
    np.testing.assert_allclose(logs, [[0.0, 1.0]])
    market.append_interest(INTEREST_PERIOD_MS, np.array([1.0, 1.0]))
    assert len(market.open_interest(INTEREST_PERIOD_MS)[0]) == 2


def test_a_figure_of_open_interest_is_computed_once_per_observation() -> None:
    market = Panel(["a"], MINUTE_MS, 2, open_interest_rows=3)
    market.append_interest(0, np.array([1.0]))
    market.append_interest(INTEREST_PERIOD_MS, np.array([2.0]))
    seen: list[int] = []

    def rows(times: Ints, logs: Floats) -> Floats:
        seen.append(len(times))
        newest: Floats = logs[-1]
        return newest

    for now_ms in (0, 1, 2, INTEREST_PERIOD_MS, INTEREST_PERIOD_MS + 1):
        market.compute_from_interest("rows", now_ms, rows)
    assert seen == [1, 2]
    market.append_interest(2 * INTEREST_PERIOD_MS, np.array([2.0]))
    market.compute_from_interest("rows", 2 * INTEREST_PERIOD_MS, rows)
    assert seen == [1, 2, 3]
