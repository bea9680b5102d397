"""The settlements of a panel are each symbol's newest ones, known at an instant."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.arrays import Floats, Ints
from kamou.core.day import HOUR_MS
from kamou.core.market.instruments import FUNDING_JITTER_MS
from kamou.core.market.settlements import UNKNOWN_MS, Settlements
from kamou.errors import InvalidDataError

NAN = math.nan
RATES = st.sampled_from([NAN, math.inf, -math.inf, 0.0, 0.0001, -0.003])
STEPS = st.sampled_from([0, 5, FUNDING_JITTER_MS, FUNDING_JITTER_MS + 1, HOUR_MS, 8 * HOUR_MS])
ROWS = st.lists(st.tuples(STEPS, RATES, RATES), max_size=25)


def settle(rows: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Return the rows with instants instead of the steps between them."""
    times = np.cumsum([HOUR_MS, *(row[0] for row in rows)])[1:].tolist()
    return [(at_ms, one, other) for at_ms, (_, one, other) in zip(times, rows, strict=True)]


def expect(
    rows: list[tuple[int, float, float]], symbol: int, kept: int
) -> tuple[list[int], list[float]]:
    """Return times and rates of one symbol, by a loop over its rows."""
    times, rates = [UNKNOWN_MS] * kept, [NAN] * kept
    for at_ms, *found in rows:
        if math.isfinite(found[symbol]) and at_ms - times[-1] > FUNDING_JITTER_MS:
            times, rates = [*times[1:], at_ms], [*rates[1:], found[symbol]]
    return times, rates


@given(rows=ROWS, kept=st.integers(1, 6))
def test_each_symbol_has_its_newest_settlements_oldest_first(
    rows: list[tuple[int, float, float]], kept: int
) -> None:
    settled, settlements = settle(rows), Settlements(kept, 2)
    snapshots = []
    for count, (at_ms, *rates) in enumerate(settled, 1):
        settlements.append(at_ms, np.array(rates))
        snapshots.append((count, settlements.copy()))
    for count, snapshot in snapshots:  # after all rows: a snapshot never changes
        for symbol in (0, 1):
            times, rates = expect(settled[:count], symbol, kept)
            assert snapshot.times[:, symbol].tolist() == times
            np.testing.assert_array_equal(snapshot.rates[:, symbol], rates)


@given(rows=ROWS, kept=st.integers(1, 6), at=st.integers(0, 25))
def test_settlements_after_now_are_unknown_and_leave_the_rest_as_it_was(
    rows: list[tuple[int, float, float]], kept: int, at: int
) -> None:
    settled, settlements = settle(rows), Settlements(kept, 2)
    for at_ms, *found in settled:
        settlements.append(at_ms, np.array(found))
    now_ms = settled[at][0] if at < len(settled) else 0
    snapshot = settlements.copy()
    times, rates = snapshot.known(now_ms)
    for symbol in (0, 1):
        wanted_ms, wanted = expect([row for row in settled if row[0] <= now_ms], symbol, kept)
        rest = kept - int(
            (snapshot.times[:, symbol] > now_ms).sum()
        )  # not pushed out by later ones
        assert times[:, symbol].tolist() == [UNKNOWN_MS] * (kept - rest) + wanted_ms[kept - rest :]
        np.testing.assert_array_equal(rates[kept - rest :, symbol], wanted[kept - rest :])
        assert np.isnan(rates[: kept - rest, symbol]).all()
    newest = snapshot.compute("newest", now_ms, lambda _times, seen: seen[-1])
    np.testing.assert_array_equal(newest, rates[-1])


def test_a_figure_of_funding_is_computed_once_between_two_settlements() -> None:
    settlements, seen = Settlements(3, 1), list[int]()

    def newest(times: Ints, rates: Floats) -> Floats:
        seen.append(int(times[-1, 0]))
        row: Floats = rates[-1]
        return row

    for hour in (8, 16):
        settlements.append(hour * HOUR_MS, np.array([0.0001]))
        for later_h in (0, 1, 7):
            now_ms = (hour + later_h) * HOUR_MS
            settlements.copy().compute("newest", now_ms, newest)
    assert seen == [8 * HOUR_MS, 16 * HOUR_MS]


def test_a_settlement_before_the_newest_is_invalid() -> None:
    settlements = Settlements(3, 1)
    settlements.append(8 * HOUR_MS, np.array([0.0001]))
    with pytest.raises(InvalidDataError, match="append in the order of time"):
        settlements.append(8 * HOUR_MS - 1, np.array([0.0001]))
