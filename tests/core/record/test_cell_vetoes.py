"""Statistics of vetoes for cells, compared with their definitions over random records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kamou.core.record.cell_vetoes import (
    Cells,
    is_win_rate_too_low,
    p_values,
    reject_hypotheses,
    shrunken_upper_bounds,
    student_lower_tail,
    veto_cells,
)
from tests.core.record import cells_by_definition as defined

TENTH = Fraction(1, 10)


def cells_of(*rows: Sequence[defined.Results]) -> Cells:
    """Return the sums of several records, each with its cells."""
    return Cells(
        n=np.array([[len(cell) for cell in row] for row in rows]),
        total=np.array([[float(sum(cell)) for cell in row] for row in rows]),
        squares=np.array([[float(sum(each**2 for each in cell)) for cell in row] for row in rows]),
    )


@st.composite
def records(draw: st.DrawFn, cells: int | None = None) -> list[list[Fraction]]:
    """Draw cells with few or many trades, of which some lose, and some are empty or constant."""
    usual = ["2.3", "-1", "-1", "0.4", "-1.08"]
    kinds = [usual, ["-1", "-1", "-1", "2.3"], ["-1"], ["2.3"], ["0"], ["7", "-2.5", "0"]]
    rows = []
    for _ in range(draw(st.integers(1, 7)) if cells is None else cells):
        results = draw(st.sampled_from([usual, *kinds]))
        size = draw(st.sampled_from([0, 1, 2, 5, 19, 20, 21, 37, 60]))
        seed = draw(st.integers(0, 2**32))
        chosen = np.random.default_rng(seed).integers(0, len(results), size)
        rows.append([Fraction(results[each]) for each in chosen])
    return rows


def same(found: float, right: float | None, missing: float) -> bool:
    """Return True if both have no value or nearly the same one."""
    if right is None:
        return found == missing or (math.isnan(missing) and math.isnan(found))
    return math.isclose(found, right, rel_tol=1e-8, abs_tol=1e-10)


@settings(max_examples=600)
@given(t=st.floats(-40, 40), freedom=st.integers(1, 80) | st.integers(1, 900))
def test_students_tail_is_the_integral_of_its_density(t: float, freedom: int) -> None:
    found = float(student_lower_tail(np.array([t]), np.array([freedom]))[0])
    assert found == pytest.approx(defined.student_tail(t, freedom), abs=1e-11)


@pytest.mark.parametrize(
    ("t", "freedom", "tail"),
    [
        (1, 1, 0.75),
        (-2.093024, 19, 0.025),
        (1.812461, 10, 0.95),
        (-2.462021, 29, 0.01),
        (0, 7, 0.5),
    ],
)
def test_students_tail_has_the_values_of_published_tables(
    t: float, freedom: int, tail: float
) -> None:
    found = float(student_lower_tail(np.array([t]), np.array([freedom]))[0])
    assert found == pytest.approx(tail, abs=1e-7)


@settings(max_examples=300)
@given(cells=records())
def test_every_p_value_follows_from_its_definition(cells: list[list[Fraction]]) -> None:
    for cell, found in zip(cells, p_values(cells_of(cells))[0], strict=True):
        assert same(float(found), defined.p_value(cell, cells), math.nan)


@settings(max_examples=1_000)
@given(
    p=st.lists(
        st.none() | st.integers(0, 40).map(lambda each: each / 200) | st.floats(0, 1), max_size=30
    ),
    rate=st.sampled_from([TENTH, Fraction(1, 20), Fraction(1, 2)]),
)
def test_the_rejections_follow_from_their_definition(p: list[float | None], rate: Fraction) -> None:
    tested = [each for each in p if each is not None]
    # Where a threshold is met exactly, the rounding of floats decides.
    for each in tested:
        for rank in range(1, len(tested) + 1):
            assume(abs(len(tested) * Fraction(each) - rate * rank) > 1e-9)
    values = np.array([math.nan if each is None else each for each in p], dtype=np.float64)
    assert reject_hypotheses(values, float(rate)).tolist() == defined.rejected(p, rate)


def test_a_later_rank_rejects_earlier_hypotheses_above_their_own_thresholds() -> None:
    p = np.array([[0.09, math.nan, 0.04, 0.095, 0.5], [0.03, math.nan, 0.04, 0.095, 0.5]])
    assert reject_hypotheses(p).tolist() == [[False] * 5, [True, False, True, False, False]]
    assert not reject_hypotheses(np.full((2, 3), math.nan)).any()


def test_a_p_value_at_its_threshold_is_rejected() -> None:
    for p, rejected in ((0.25, True), (np.nextafter(0.25, 1), False)):
        assert reject_hypotheses(np.array([0.9, p]), 0.5).tolist() == [False, rejected]


def test_a_shrunken_bound_needs_30_degrees_of_freedom_within_the_cells() -> None:
    for size, known in ((16, True), (15, False)):  # of two cells, so 30 and 28
        cells = cells_of([[Fraction(-1)] * (size - 1) + [Fraction(2)]] * 2)
        assert np.isfinite(shrunken_upper_bounds(cells)).all() == known


@settings(max_examples=500)
@given(cells=records())
def test_every_shrunken_bound_follows_from_its_definition(cells: list[list[Fraction]]) -> None:
    found = shrunken_upper_bounds(cells_of(cells))[0]
    for value, right in zip(found, defined.shrunken_bounds(cells), strict=True):
        assert same(float(value), right, math.inf), (value, right)


@settings(max_examples=100)
@given(data=st.data(), cells=st.integers(1, 6))
def test_each_record_of_several_has_the_vetoes_that_it_has_alone(
    data: st.DataObject, cells: int
) -> None:
    rows = [data.draw(records(cells)) for _ in range(3)]
    together = veto_cells(cells_of(*rows))
    for row, vetoed in zip(rows, together, strict=True):
        assert veto_cells(cells_of(row))[0].tolist() == vetoed.tolist()
        p = [defined.p_value(cell, row) for cell in row]
        rejected = defined.rejected(p, TENTH)
        bounds = defined.shrunken_bounds(row)
        assert vetoed.tolist() == [
            by_rate or (bound is not None and bound < 0)
            for by_rate, bound in zip(rejected, bounds, strict=True)
        ]


def test_each_of_the_two_statistics_vetoes_a_cell_alone() -> None:
    win, loss = Fraction("2.3"), Fraction(-1)
    fair, bad = [win] * 10 + [loss] * 20, [win] * 1 + [loss] * 29
    by_rate = cells_of([fair, fair, fair, bad])
    assert veto_cells(by_rate)[0].tolist() == [False, False, False, True]
    assert (shrunken_upper_bounds(by_rate) > 0).all()
    few = [[win] * 2 + [loss] * 17] * 6  # 19 trades are too few for a p-value
    assert np.isnan(p_values(cells_of(few))).all()
    assert veto_cells(cells_of(few)).all()


def exact_sizes(n: int, levels: Sequence[float], others: int = 2_000) -> list[float]:
    """Return the exact probability of a p-value up to each level, in a cell without an edge.

    Of a binomial number of wins at 2.3 R against -1 R. The deviation within the cells is that of
    ``others`` cells that have 19 trades each, so no p-value of their own.
    """
    chance, wins = 1 / 3.3, np.arange(n + 1)
    shape = (n + 1, others)
    cells = Cells(
        n=np.column_stack([np.full(n + 1, n), np.full(shape, 19)]),
        total=np.column_stack([3.3 * wins - n, np.zeros(shape)]),
        squares=np.column_stack([(2.3**2 - 1) * wins + n, np.full(shape, 2.3 * 18)]),
    )
    p = p_values(cells)[:, 0]
    weights = [math.comb(n, int(k)) * chance**k * (1 - chance) ** (n - k) for k in wins]
    return [
        sum(weight for weight, each in zip(weights, p, strict=True) if each <= level)
        for level in levels
    ]


@pytest.mark.parametrize("n", [*range(20, 301, 10)])
def test_a_cell_without_an_edge_has_small_p_values_as_rarely_as_they_say(n: int) -> None:
    levels = [TENTH / 24, TENTH / 200, TENTH / 8]
    hours, symbols, shifts = exact_sizes(n, [float(each) for each in levels], others=500)
    assert hours <= TENTH / 24
    assert symbols <= TENTH / 200
    assert shifts <= TENTH / 8 * Fraction("1.06")  # the number of wins is whole


@settings(max_examples=700)
@given(
    data=st.data(),
    n=st.integers(25, 400),
    reward=st.fractions(Fraction(1, 4), Fraction(5), max_denominator=20),
)
def test_a_win_rate_is_too_low_if_the_score_test_says_so(
    data: st.DataObject, n: int, reward: Fraction
) -> None:
    even = float(1 / (1 + reward))
    near = round(even * n - 2 * math.sqrt(even * (1 - even) * n))
    wins = data.draw(st.integers(max(0, near - 3), max(0, min(n, near + 3))) | st.integers(0, n))
    found = is_win_rate_too_low(wins, n, float(reward))
    assert found is defined.win_rate_too_low(wins, n, reward)


def test_a_win_rate_over_29_trades_is_never_too_low() -> None:
    assert not is_win_rate_too_low(0, 29, 2.3)
    assert is_win_rate_too_low(0, 30, 2.3)
