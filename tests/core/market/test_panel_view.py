"""A view of a panel shows the panel's newest declared rows, and nothing else."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.day import HOUR_MS
from kamou.core.indicators.atr import Atr
from kamou.core.indicators.order_flow import WINDOW_FIGURES
from kamou.core.indicators.rsi import Rsi
from kamou.core.market.flow import FLOW_WINDOW_MS
from kamou.core.market.instruments import FUNDING_PERIOD_MS
from kamou.core.market.panel import INTEREST_PERIOD_MS, Field, Panel
from kamou.core.market.panel_view import (
    DeclaredReads,
    PanelView,
    UndeclaredReadError,
    UnknownFieldError,
)

FIELDS = get_args(Field)
WINDOW = 20
ROWS = 6
SETTLEMENTS = 7
WINDOWS = 9
RATIO_HOURS = 6
PREMIUM_HOURS = 5


def filled_panel(bars: int = 30) -> Panel:
    chance = np.random.default_rng(5)
    panel = Panel(("A", "B"), HOUR_MS, WINDOW, (Atr(3), Rsi(2)), open_interest_rows=ROWS)
    panel.keep_funding(SETTLEMENTS)
    panel.keep_flow(WINDOWS)
    panel.keep_ratios(RATIO_HOURS)
    panel.keep_premium(PREMIUM_HOURS)
    for t in range(bars):
        close = chance.uniform(90, 110, 2)
        panel.append(t * HOUR_MS, close, close + 1, close - 1, close, close)
        panel.append_interest(t * INTEREST_PERIOD_MS, close)
        panel.append_funding(t * FUNDING_PERIOD_MS, close / 1e6)
        window = np.array([(t + 1) * FLOW_WINDOW_MS])
        panel.append_flow(window, chance.normal(size=(1, WINDOW_FIGURES, 2)))
        panel.append_ratios((t + 1) * HOUR_MS, close / 100, 100 / close)
        panel.append_premium((t + 1) * HOUR_MS, close / 1e5 - 1e-3)
    return panel


PANEL = filled_panel()


def limited(
    bars: int = 5,
    open_interest_rows: int = 0,
    strategy: str = "one",
    settlements: int = 0,
    windows: int = 0,
    ratio_hours: int = 0,
    premium_hours: int = 0,
) -> PanelView:
    declared = DeclaredReads(
        strategy=strategy,
        bars=bars,
        indicators=frozenset({Atr(3)}),
        open_interest_rows=open_interest_rows,
        funding_settlements=settlements,
        flow_windows=windows,
        ratio_hours=ratio_hours,
        premium_hours=premium_hours,
    )
    return PanelView(PANEL, declared)


@given(
    field=st.sampled_from(FIELDS),
    bars=st.integers(1, WINDOW),
    n=st.integers(1, WINDOW),
    back=st.integers(0, WINDOW),
)
def test_rows_within_the_declared_window_are_the_panels_and_others_are_errors(
    field: Field, bars: int, n: int, back: int
) -> None:
    view = limited(bars)
    if n + back > bars:
        with pytest.raises(UndeclaredReadError, match=rf"reads {n + back} bars .* {bars}; declare"):
            view.view(field, n, back)
        return
    np.testing.assert_array_equal(view.view(field, n, back), PANEL.view(field, n, back))
    if n == 1:
        np.testing.assert_array_equal(view.row(field, back), PANEL.row(field, back))


def test_a_row_beyond_the_declared_window_and_one_in_the_future_are_errors() -> None:
    with pytest.raises(UndeclaredReadError, match="reads 6 bars back"):
        limited(5).row("close", back=5)
    with pytest.raises(UndeclaredReadError, match="-1 bars before the newest"):
        limited(5).row("close", back=-1)
    with pytest.raises(UndeclaredReadError, match="0 rows"):
        limited(5).view("close", 0)


def test_an_unknown_field_is_an_error_with_the_fields_and_the_most_similar_one() -> None:
    with pytest.raises(UnknownFieldError, match=r"'closes'; it has open, .*mean 'close'\?"):
        limited().view("closes", 2)  # type: ignore[arg-type]  # the mistake of this test


def test_an_indicator_that_is_not_declared_is_an_error() -> None:
    view = limited()
    np.testing.assert_array_equal(view.indicator(Atr(3)), PANEL.indicator(Atr(3)))
    assert view.state(Atr(3)) is PANEL.state(Atr(3))
    for read in (view.indicator, view.state):
        with pytest.raises(UndeclaredReadError, match=r"Rsi\(period=2\).* are Atr\(period=3\)"):
            read(Rsi(2))


@given(rows=st.integers(1, ROWS), at=st.integers(0, 30))
def test_open_interest_has_the_newest_declared_rows(rows: int, at: int) -> None:
    now_ms = at * INTEREST_PERIOD_MS
    times, logs = PANEL.open_interest(now_ms)
    seen_times, seen_logs = limited(open_interest_rows=rows).open_interest(now_ms)
    np.testing.assert_array_equal(seen_times, times[-rows:])
    np.testing.assert_array_equal(seen_logs, logs[-rows:])


@given(reads=st.lists(st.tuples(st.integers(1, ROWS), st.integers(0, 30)), max_size=10))
def test_a_cached_figure_of_open_interest_is_that_of_the_views_own_rows(
    reads: list[tuple[int, int]],
) -> None:
    for rows, at in reads:
        view, now_ms = limited(open_interest_rows=rows), at * INTEREST_PERIOD_MS
        _, logs = view.open_interest(now_ms)
        found = view.compute_from_interest("sum", now_ms, lambda _times, seen: seen.sum(axis=0))
        np.testing.assert_array_equal(found, logs.sum(axis=0))


def test_two_strategies_that_use_one_key_of_open_interest_have_their_own_figures() -> None:
    one, other = (limited(open_interest_rows=2, strategy=name) for name in ("one", "other"))
    now_ms = 30 * INTEREST_PERIOD_MS
    least = one.compute_from_interest("figure", now_ms, lambda _times, logs: logs.min(axis=0))
    most = other.compute_from_interest("figure", now_ms, lambda _times, logs: logs.max(axis=0))
    assert (most > least).all()
    with pytest.raises(ValueError, match="read-only"):
        least[...] = 0


def test_open_interest_without_a_declared_period_is_an_error() -> None:
    for read in (
        lambda: limited().open_interest(0),
        lambda: limited().compute_from_interest("x", 0, lambda _times, logs: logs[-1]),
    ):
        with pytest.raises(UndeclaredReadError, match="open_interest_span_ms is 0"):
            read()


@given(reads=st.lists(st.tuples(st.integers(1, SETTLEMENTS), st.integers(0, 30)), max_size=10))
def test_funding_and_its_cached_figures_have_the_newest_declared_settlements(
    reads: list[tuple[int, int]],
) -> None:
    for rows, at in reads:
        view, now_ms = limited(settlements=rows), at * FUNDING_PERIOD_MS
        times, rates = PANEL.funding(now_ms)
        seen_times, seen_rates = view.funding(now_ms)
        np.testing.assert_array_equal(seen_times, times[-rows:])
        np.testing.assert_array_equal(seen_rates, rates[-rows:])
        found = view.compute_from_funding("sum", now_ms, lambda _times, seen: seen.sum(axis=0))
        np.testing.assert_array_equal(found, rates[-rows:].sum(axis=0))


def test_funding_that_is_not_declared_is_an_error_and_a_strategy_cannot_write_it() -> None:
    for read in (
        lambda: limited().funding(0),
        lambda: limited().compute_from_funding("x", 0, lambda _times, rates: rates[-1]),
    ):
        with pytest.raises(UndeclaredReadError, match="funding_settlements are 0"):
            read()
    view = limited(settlements=2)
    for array in view.funding(30 * FUNDING_PERIOD_MS):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(UndeclaredReadError, match="only the scanner adds funding"):
        view.append_funding(0, np.ones(2))
    with pytest.raises(UndeclaredReadError, match="declare funding_settlements"):
        view.keep_funding(3)
    with pytest.raises(UndeclaredReadError, match=r"read panel\.funding"):
        view.copy_funding()


@given(reads=st.lists(st.tuples(st.integers(1, WINDOWS), st.integers(22, 31)), max_size=10))
def test_order_flow_and_its_cached_figures_have_the_newest_declared_windows(
    reads: list[tuple[int, int]],
) -> None:
    for rows, at in reads:
        view, now_ms = limited(windows=rows), at * FLOW_WINDOW_MS
        ends, values = PANEL.flow(now_ms)
        assert ends[-1] == min(at, 30) * FLOW_WINDOW_MS
        seen_ends, seen_values = view.flow(now_ms)
        np.testing.assert_array_equal(seen_ends, ends[-rows:])
        np.testing.assert_array_equal(seen_values, values[-rows:])
        found = view.compute_from_flow("sum", now_ms, lambda _ends, seen: seen.sum(axis=0))
        np.testing.assert_array_equal(found, values[-rows:].sum(axis=0))


def test_order_flow_that_is_not_declared_is_an_error_and_a_strategy_cannot_write_it() -> None:
    for read in (
        lambda: limited().flow(0),
        lambda: limited().compute_from_flow("x", 0, lambda _ends, values: values[-1]),
    ):
        with pytest.raises(UndeclaredReadError, match="flow_windows are 0"):
            read()
    view = limited(windows=2)
    for array in view.flow(30 * FLOW_WINDOW_MS):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(UndeclaredReadError, match="only the scanner adds order flow"):
        view.append_flow(np.array([0]), np.ones((1, WINDOW_FIGURES, 2)))
    with pytest.raises(UndeclaredReadError, match="declare flow_windows"):
        view.keep_flow(3)
    with pytest.raises(UndeclaredReadError, match=r"read panel\.flow"):
        view.copy_flow()


@given(reads=st.lists(st.tuples(st.integers(1, RATIO_HOURS), st.integers(20, 30)), max_size=10))
def test_ratios_and_their_cached_figures_have_the_newest_declared_hours(
    reads: list[tuple[int, int]],
) -> None:
    for hours, at in reads:
        view, now_ms = limited(ratio_hours=hours), at * HOUR_MS
        times, logs = PANEL.ratios(now_ms)
        seen_times, seen_logs = view.ratios(now_ms)
        np.testing.assert_array_equal(seen_times, times[-hours:])
        np.testing.assert_array_equal(seen_logs, logs[-hours:])
        found = view.compute_from_ratios("last", now_ms, lambda _times, seen: seen[0, 0])
        np.testing.assert_array_equal(found, logs[-hours, 0])


def test_ratios_that_are_not_declared_are_an_error_and_a_strategy_cannot_write_them() -> None:
    for read in (
        lambda: limited().ratios(0),
        lambda: limited().compute_from_ratios("x", 0, lambda _times, logs: logs[-1, 0]),
    ):
        with pytest.raises(UndeclaredReadError, match="ratio_hours are 0"):
            read()
    view = limited(ratio_hours=2)
    for array in view.ratios(30 * HOUR_MS):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(UndeclaredReadError, match="only the scanner adds long/short ratios"):
        view.append_ratios(0, np.ones(2), np.ones(2))
    with pytest.raises(UndeclaredReadError, match="declare ratio_hours"):
        view.keep_ratios(3)
    with pytest.raises(UndeclaredReadError, match=r"read panel\.ratios"):
        view.copy_ratios()


@given(reads=st.lists(st.tuples(st.integers(1, PREMIUM_HOURS), st.integers(20, 30)), max_size=10))
def test_the_premium_index_and_its_cached_figures_have_the_newest_declared_hours(
    reads: list[tuple[int, int]],
) -> None:
    for hours, at in reads:
        view, now_ms = limited(premium_hours=hours), at * HOUR_MS
        times, values = PANEL.premium(now_ms)
        seen_times, seen = view.premium(now_ms)
        np.testing.assert_array_equal(seen_times, times[-hours:])
        np.testing.assert_array_equal(seen, values[-hours:])
        found = view.compute_from_premium("last", now_ms, lambda _times, each: each[0, 0])
        np.testing.assert_array_equal(found, values[-hours, 0])


def test_a_premium_index_that_is_not_declared_is_an_error_and_cannot_be_written() -> None:
    for read in (
        lambda: limited().premium(0),
        lambda: limited().compute_from_premium("x", 0, lambda _times, each: each[-1, 0]),
    ):
        with pytest.raises(UndeclaredReadError, match="premium_hours are 0"):
            read()
    view = limited(premium_hours=2)
    for array in view.premium(30 * HOUR_MS):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(UndeclaredReadError, match="only the scanner adds the premium index"):
        view.append_premium(0, np.ones(2))
    with pytest.raises(UndeclaredReadError, match="declare premium_hours"):
        view.keep_premium(3)
    with pytest.raises(UndeclaredReadError, match=r"read panel\.premium"):
        view.copy_premium()


def test_a_strategy_can_write_nothing_of_the_panel() -> None:
    view = limited(open_interest_rows=2)
    times, logs = view.open_interest(30 * INTEREST_PERIOD_MS)
    arrays = (
        view.view("close", 2),
        view.row("close"),
        view.count,
        view.last_close_ms,
        view.indicator(Atr(3)),
        times,
        logs,
    )
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    row = np.ones(2)
    with pytest.raises(UndeclaredReadError, match="only the scanner adds bars"):
        view.append(0, row, row, row, row, row)
    with pytest.raises(UndeclaredReadError, match="only the scanner adds open interest"):
        view.append_interest(0, row)
    rows, times = np.ones((1, 2)), np.array([31 * HOUR_MS])
    for write in (view.extend, view.append_block):
        with pytest.raises(UndeclaredReadError, match="only the scanner adds bars"):
            write(times, rows, rows, rows, rows, rows)
    with pytest.raises(UndeclaredReadError, match=r"read panel\.open_interest"):
        view.copy_interest()
    assert PANEL.bars == 30
    assert PANEL.count.flags.writeable
