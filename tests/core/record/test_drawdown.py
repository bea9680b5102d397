"""The maximum drawdown, compared with the worst of all pairs of snapshots."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.record.drawdown import DrawdownFold, EquityAt, TransferAt

snapshots = st.lists(st.integers(500, 2_000), min_size=1, max_size=25).map(
    lambda equity: [(10 * at, float(one)) for at, one in enumerate(equity)]
)
transfers = st.lists(
    st.tuples(
        st.integers(1, 240), st.integers(-300, 300), st.none() | st.integers(500, 2_000).map(float)
    ),
    max_size=4,
    unique_by=lambda moved: moved[0],
).map(lambda moved: [(at, float(amount), value) for at, amount, value in sorted(moved)])


def by_definition(marks: list[EquityAt], moved: list[TransferAt]) -> list[tuple[int, Fraction]]:
    """Return the index at every snapshot, in exact fractions."""
    index = [(marks[0][0], Fraction(1))]
    for (before_ms, before), (at_ms, equity) in pairwise(marks):
        growth, base, own = Fraction(1), Fraction(before), Fraction(0)
        for at, amount, value in moved:
            if not before_ms < at <= at_ms:
                continue
            if value is None:  # its amount is subtracted from the later snapshot
                own += Fraction(amount)
            else:
                growth *= (Fraction(value) - own) / base
                base, own = Fraction(value) + Fraction(amount), Fraction(0)
        index.append((at_ms, index[-1][1] * growth * (Fraction(equity) - own) / base))
    return index


@given(snapshots, transfers, st.integers(0, 25))
def test_the_maximum_drawdown_is_the_worst_of_all_pairs_wherever_the_snapshots_are_cut(
    marks: list[EquityAt], moved: list[TransferAt], cut: int
) -> None:
    index = by_definition(marks, moved)
    worst = min((b / a - 1 for (_, a), (_, b) in combinations(index, 2)), default=Fraction(0))
    found = DrawdownFold().add_snapshots(marks[:cut], moved).add_snapshots(marks[cut:], moved).found
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


def test_a_withdrawal_adds_no_drawdown_and_a_deposit_hides_none() -> None:
    marks = [(0, 1000.0), (10, 600.0), (20, 540.0), (30, 1540.0), (40, 1600.0)]
    moved = [(5, -400.0, None), (25, 1000.0, None)]
    found = DrawdownFold().add_snapshots(marks, moved).found
    assert found.value == pytest.approx(-0.1)
    assert (found.peak_ms, found.trough_ms, found.recovery_ms) == (10, 20, None)


def test_a_transfer_counts_from_its_own_time_where_the_equity_before_it_is_known() -> None:
    """1,000 fell to 800, then 800 was deposited, and 1,600 fell to 1,520: 20 % and 5 %."""
    found = DrawdownFold().add_snapshots([(0, 1000.0), (10, 1520.0)], [(5, 800.0, 800.0)]).found
    assert found.value == pytest.approx(0.8 * 0.95 - 1)


def test_a_withdrawal_of_all_equity_adds_no_drawdown_and_later_losses_count() -> None:
    """After a gain of 1 % all is withdrawn; 500 is deposited later and loses 10 %."""
    marks = [(0, 10_000.0), (10, 10_100.0), (20, 0.0), (30, 0.0), (40, 450.0)]
    moved = [(15, -10_100.0, 10_100.0), (35, 500.0, 0.0)]
    found = DrawdownFold().add_snapshots(marks, moved).found
    assert found.value == pytest.approx(-0.1)
    assert (found.peak_ms, found.trough_ms) == (30, 40)


def test_a_record_without_snapshots_has_no_drawdown() -> None:
    found = DrawdownFold().add_snapshots((), ()).found
    assert (found.value, found.peak_ms, found.snapshots) == (0.0, None, 0)
