"""The maximum drawdown over all snapshots, against every pair of snapshots tried one by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.record.drawdown import DrawdownFold, Snapshot, Transfer

snapshots = st.lists(st.integers(500, 2_000), min_size=1, max_size=25).map(
    lambda equity: [(10 * at, float(one)) for at, one in enumerate(equity)]
)
transfers = st.lists(st.tuples(st.integers(1, 240), st.integers(-300, 300)), max_size=4).map(
    lambda moved: [(at, float(amount)) for at, amount in sorted(moved)]
)


def by_definition(marks: list[Snapshot], moved: list[Transfer]) -> list[tuple[int, Fraction]]:
    """The index at every snapshot, in exact fractions."""
    index = [(marks[0][0], Fraction(1))]
    for (before_ms, before), (at_ms, equity) in pairwise(marks):
        own = sum(Fraction(amount) for at, amount in moved if before_ms < at <= at_ms)
        index.append((at_ms, index[-1][1] * (Fraction(equity) - own) / Fraction(before)))
    return index


@given(snapshots, transfers, st.integers(0, 25))
def test_the_deepest_fall_is_the_worst_of_all_pairs_wherever_the_fold_is_cut(
    marks: list[Snapshot], moved: list[Transfer], cut: int
) -> None:
    index = by_definition(marks, moved)
    worst = min((b / a - 1 for (_, a), (_, b) in combinations(index, 2)), default=Fraction(0))
    found = DrawdownFold().after(marks[:cut], moved).after(marks[cut:], moved).found
    assert found.value == pytest.approx(min(0.0, float(worst)), abs=1e-12)
    assert found.snapshots == len(marks)
    if found.peak_ms is None:
        assert found.value == 0
        return
    at = dict(index)
    assert found.trough_ms is not None
    assert float(at[found.trough_ms] / at[found.peak_ms] - 1) == pytest.approx(found.value)
    above = [ms for ms, value in index if ms > found.trough_ms and value > at[found.peak_ms]]
    if above:
        assert found.recovery_ms is not None
        assert found.recovery_ms <= above[0]
    if found.recovery_ms is not None:
        assert float(at[found.recovery_ms]) >= float(at[found.peak_ms]) - 1e-9


def test_a_withdrawal_is_no_fall_and_a_deposit_hides_none() -> None:
    marks = [(0, 1000.0), (10, 600.0), (20, 540.0), (30, 1540.0), (40, 1600.0)]
    moved = [(5, -400.0), (25, 1000.0)]
    found = DrawdownFold().after(marks, moved).found
    assert found.value == pytest.approx(-0.1)
    assert (found.peak_ms, found.trough_ms, found.recovery_ms) == (10, 20, None)


def test_no_snapshot_has_no_drawdown() -> None:
    found = DrawdownFold().after((), ()).found
    assert (found.value, found.peak_ms, found.snapshots) == (0.0, None, 0)
