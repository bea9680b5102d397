"""False vetoes by simulation, compared with references and with exact probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.random import PCG64, Generator

from kamou.core.record import veto_rates
from kamou.core.record.cell_vetoes import Cells, is_win_rate_too_low
from kamou.core.record.veto_rates import (
    CellCase,
    Rate,
    draw_cells,
    naive_gains,
    simulate_cell_vetoes,
    simulate_win_rate_vetoes,
    vetoed_wins,
)

HOURS = CellCase(kind="hours", cells=24, trades=300)
SYMBOLS = CellCase(kind="symbols", cells=200, trades=3_000)


def near(rate: Rate, right: float, rounding: float = 0.0) -> bool:
    return abs(rate.mean - right) < 4 * rate.standard_error + rounding


@pytest.mark.parametrize(
    ("case", "naive", "gain"),
    [(HOURS, 0.52, 0.35), (SYMBOLS, 0.51, 0.32)],
    ids=["hours", "symbols"],
)
def test_the_naive_rule_vetoes_half_of_all_cells_and_ours_almost_none(
    case: CellCase, naive: float, gain: float
) -> None:
    """Reference: an independent simulation, rounded to 1 % and 0.01 R; at most 0.4 % of ours."""
    found = simulate_cell_vetoes(case, 1_500, 11)
    assert near(found.naive, naive, 0.006)
    assert near(found.naive_gain_r, gain, 0.006)
    assert found.either.mean < 0.004 + 4 * found.either.standard_error
    parts = (found.benjamini_hochberg.mean, found.shrunken.mean)
    assert max(parts) <= found.either.mean <= sum(parts)


def test_losing_hours_are_found_once_there_are_enough_trades() -> None:
    few = simulate_cell_vetoes(HOURS, 300, 2).found
    many = simulate_cell_vetoes(CellCase(kind="hours", cells=24, trades=3_000), 300, 2).found
    assert few.mean < 0.1
    assert many.mean > 0.9


def test_the_same_seed_gives_the_same_rates() -> None:
    one, two, other = (simulate_cell_vetoes(HOURS, 200, seed) for seed in (5, 5, 6))
    assert one == two != other
    assert simulate_win_rate_vetoes(200, 5) == simulate_win_rate_vetoes(200, 5)


def test_records_in_chunks_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simulate_win_rate_vetoes(500, 9)
    monkeypatch.setattr(veto_rates, "CHUNK_RECORDS", 64)
    assert simulate_win_rate_vetoes(500, 9) == whole
    found = simulate_cell_vetoes(HOURS, 500, 9)
    assert near(found.naive, 0.52, 0.006)


def test_drawn_records_have_the_expected_results_in_each_cell() -> None:
    edges = np.array([0.0, -0.5, 0.32])
    case = CellCase(kind="hours", cells=3, trades=90)
    cells = draw_cells(case, edges, 4_000, Generator(PCG64(1)))
    assert (cells.n.sum(axis=1) == 90).all()
    means = cells.total.sum(axis=0) / cells.n.sum(axis=0)
    assert means == pytest.approx(edges, abs=0.02)
    wins = (cells.total + cells.n) / 3.3
    assert wins == pytest.approx(wins.round(), abs=1e-9)
    assert cells.squares == pytest.approx(wins * 2.3**2 + (cells.n - wins))


def test_the_gain_that_the_naive_rule_shows_is_that_of_the_trades_it_keeps() -> None:
    cells = Cells(
        n=np.array([[2, 3, 0, 5], [1, 1, 1, 1]]),
        total=np.array([[1.0, -3.0, 0.0, 0.0], [-1.0, -1.0, -1.0, -1.0]]),
        squares=np.ones((2, 4)),
    )
    assert naive_gains(cells) == pytest.approx([1 / 7 + 2 / 10, 1.0])


def test_the_vetoed_wins_are_those_that_the_veto_of_win_rates_rejects() -> None:
    for n, most in enumerate(vetoed_wins(140, 2.3), start=1):
        vetoed = [wins for wins in range(n + 1) if is_win_rate_too_low(wins, n, 2.3)]
        assert vetoed == list(range(most + 1))


def test_the_rates_of_win_rates_are_their_exact_probabilities() -> None:
    """Step by step over the trades, by the number of wins of the strategies not yet vetoed."""
    chance = 1 / 3.3
    open_paths, ever = np.array([1.0]), 0.0
    for n in range(1, 301):
        stepped = np.zeros(n + 1)
        stepped[:-1] += open_paths * (1 - chance)
        stepped[1:] += open_paths * chance
        vetoed = np.array([is_win_rate_too_low(wins, n, 2.3) for wins in range(n + 1)])
        ever += float(stepped[vetoed].sum())
        open_paths = np.where(vetoed, 0.0, stepped)
    last = [math.comb(300, k) * chance**k * (1 - chance) ** (300 - k) for k in range(301)]
    at_end = sum(p for k, p in enumerate(last) if is_win_rate_too_low(k, 300, 2.3))
    naive = sum(p for k, p in enumerate(last) if k < 300 * chance)
    found = simulate_win_rate_vetoes(4_000, 3)
    assert near(found.wilson_ever, ever)
    assert near(found.wilson, at_end)
    assert near(found.naive, naive)


def test_the_standard_error_of_a_rate_is_the_spread_of_repeated_simulations() -> None:
    rates = [simulate_cell_vetoes(HOURS, 60, seed).naive for seed in range(120)]
    spread = float(np.std([rate.mean for rate in rates], ddof=1))
    stated = float(np.mean([rate.standard_error for rate in rates]))
    assert spread == pytest.approx(stated, rel=0.28)
    # No veto in 2 records: the error is that of one record.
    none = simulate_cell_vetoes(CellCase(kind="hours", cells=24, trades=24), 2, 1).either
    assert none == Rate(mean=0.0, standard_error=0.5)
