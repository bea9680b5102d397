"""False vetoes of hours, symbols and win rates, by simulation without an edge.

All trades of a record are independent: a win of ``WIN_R`` or a loss of ``LOSS_R``. The share of
losing cells that the rules find comes from other records, in which every sixth cell loses.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
from numpy.random import PCG64, Generator

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.record.cell_vetoes import (
    Cells,
    is_win_rate_too_low,
    p_values,
    reject_hypotheses,
    shrunken_upper_bounds,
    veto_cells,
)
from kamou.core.record.gate_power import LOSS_R, WIN_R, share_standard_error, win_probability
from kamou.core.record.performance import TRADES_MIN

LOSING_R = -0.5  # expected R in a losing cell
LOSING_EVERY = 6  # one cell of this many loses
CHUNK_RECORDS = 1_000  # at once in memory: about 20 MB at 200 cells
WIN_RATE_TRADES = 300


@attrs.frozen(kw_only=True)
class CellCase:
    """A kind of record: cells, and the number of trades that fall into them at random."""

    kind: str
    cells: int
    trades: int


CASES = (
    CellCase(kind="hours", cells=24, trades=300),
    CellCase(kind="hours", cells=24, trades=3000),
    CellCase(kind="symbols", cells=200, trades=300),
    CellCase(kind="symbols", cells=200, trades=3000),
)


@attrs.frozen(kw_only=True)
class Rate:
    """A mean over records, with its standard error."""

    mean: float
    standard_error: float


@attrs.frozen(kw_only=True)
class CellRates:
    """Shares of cells that are vetoed, of those with a trade, and the naive gain."""

    case: CellCase
    naive: Rate  # veto every cell with a mean R below 0
    naive_gain_r: Rate  # mean R of the trades that it keeps less that of all, in the same record
    benjamini_hochberg: Rate
    shrunken: Rate
    either: Rate  # what is vetoed
    found: Rate  # of losing cells, by either rule


@attrs.frozen(kw_only=True)
class WinRateRates:
    """Shares of strategies with a win rate of exactly break-even that are vetoed."""

    trades: int
    reward_to_risk: float
    naive: Rate  # win rate below break-even after the last trade
    wilson: Rate  # after the last trade
    wilson_ever: Rate  # after any trade


def simulate_cell_vetoes(case: CellCase, records: int, seed: int) -> CellRates:
    """Return how often cells are vetoed in records without an edge.

    Args:
        case: cells and trades of each record.
        records: number of records without an edge, and as many with losing cells; at least 2.
        seed: of all draws.
    """
    losing = np.arange(case.cells) % LOSING_EVERY == 0
    null, planted = np.zeros(case.cells), np.where(losing, LOSING_R, 0.0)
    generator = Generator(PCG64(seed))
    columns: list[list[Floats]] = [[] for _ in range(6)]
    for first in range(0, records, CHUNK_RECORDS):
        rows = min(CHUNK_RECORDS, records - first)
        cells = draw_cells(case, null, rows, generator)
        naive = (cells.n > 0) & (cells.means < 0)
        by_rate, by_bound = _vetoes(cells)
        other = draw_cells(case, planted, rows, generator)
        gained = (
            _share(naive, cells.n > 0),
            naive_gains(cells),
            _share(by_rate, cells.n > 0),
            _share(by_bound, cells.n > 0),
            _share(by_rate | by_bound, cells.n > 0),
            _share(veto_cells(other), (other.n > 0) & losing),
        )
        for column, values in zip(columns, gained, strict=True):
            column.append(values)
    rates = [_average(np.concatenate(column)) for column in columns]
    return CellRates(
        case=case,
        naive=rates[0],
        naive_gain_r=rates[1],
        benjamini_hochberg=rates[2],
        shrunken=rates[3],
        either=rates[4],
        found=rates[5],
    )


def draw_cells(case: CellCase, edges_r: Floats, rows: int, generator: Generator) -> Cells:
    """Return records ``[rows, cells]`` with the expected R of each cell."""
    shares = np.full(case.cells, 1 / case.cells)
    n = generator.multinomial(case.trades, shares, size=rows)
    chances = np.array([win_probability(float(edge)) for edge in edges_r])
    wins = generator.binomial(n, chances)
    return Cells(
        n=n,
        total=wins * WIN_R + (n - wins) * LOSS_R,
        squares=wins * WIN_R**2 + (n - wins) * LOSS_R**2,
    )


def _vetoes(cells: Cells) -> tuple[Mask, Mask]:
    """Return the cells that each of the two statistics vetoes."""
    return reject_hypotheses(p_values(cells)), shrunken_upper_bounds(cells) < 0


def naive_gains(cells: Cells) -> Floats:
    """Return the mean R of the cells that the naive rule keeps, less that of all."""
    kept = cells.means >= 0
    trades = np.maximum((cells.n * kept).sum(axis=-1), 1)
    gains: Floats = (cells.total * kept).sum(axis=-1) / trades
    gains -= cells.total.sum(axis=-1) / cells.n.sum(axis=-1)
    return gains


def _share(chosen: Mask, of: Mask) -> Floats:
    shares: Floats = (chosen & of).sum(axis=-1) / np.maximum(of.sum(axis=-1), 1)
    return shares


def _average(values: Floats) -> Rate:
    """Return the mean; if all values are 0, its error is that of one record with a 1."""
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return Rate(mean=float(values.mean()), standard_error=error or 1 / len(values))


def simulate_win_rate_vetoes(records: int, seed: int) -> WinRateRates:
    """Return how often a strategy with a win rate of exactly break-even is vetoed.

    A veto of such a strategy costs nothing, because it neither earns nor loses. The same rates
    bound those of a strategy that earns.
    """
    trades, reward_to_risk = WIN_RATE_TRADES, WIN_R / -LOSS_R
    chance = win_probability(0.0)
    generator = Generator(PCG64(seed))
    most = vetoed_wins(trades, reward_to_risk)
    last = ever = naive = 0
    for first in range(0, records, CHUNK_RECORDS):
        rows = min(CHUNK_RECORDS, records - first)
        wins = np.cumsum(generator.random((rows, trades)) < chance, axis=1)
        vetoed = wins <= most
        last += int(vetoed[:, -1].sum())
        ever += int(vetoed.any(axis=1).sum())
        naive += int((wins[:, -1] * (1 + reward_to_risk) < trades).sum())
    return WinRateRates(
        trades=trades,
        reward_to_risk=reward_to_risk,
        **{
            name: Rate(mean=count / records, standard_error=share_standard_error(count, records))
            for name, count in (("naive", naive), ("wilson", last), ("wilson_ever", ever))
        },
    )


def vetoed_wins(trades: int, reward_to_risk: float) -> Ints:
    """Return the largest number of wins that is vetoed after each trade, -1 for none."""
    most = np.full(trades, -1)
    for n in range(TRADES_MIN, trades + 1):
        wins = int(most[n - 2])  # it cannot fall, because one more loss keeps a veto
        while is_win_rate_too_low(wins + 1, n, reward_to_risk):
            wins += 1
        most[n - 1] = wins
    return most
