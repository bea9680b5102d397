"""Loss and return of a day, against definitions in fractions, and ``utc_day``."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.day import Day, Stretch, utc_day

CASES = settings(max_examples=400)
MONEY = st.decimals(-10_000, 100_000, places=2, allow_nan=False)
EQUITY = st.decimals(1, 100_000, places=2, allow_nan=False)
COSTS = st.decimals(0, 500, places=2, allow_nan=False)


@st.composite
def drawn_days(draw: st.DrawFn) -> Day:
    """Draw a day with up to 6 transfers whose equity is always above 0."""
    start = draw(EQUITY)
    stretches = [Stretch(start=start, end=draw(EQUITY))]
    for after in draw(st.lists(EQUITY, max_size=6)):
        stretches.append(Stretch(start=after, end=draw(EQUITY)))
    moved = [b.start - a.end for a, b in itertools.pairwise(stretches)]
    return Day(
        equity_start=start,
        equity=stretches[-1].end,
        net_deposits=sum(moved, D(0)),
        exit_costs=draw(COSTS),
        stretches=tuple(stretches),
    )


@CASES
@given(drawn_days())
def test_the_loss_is_what_is_missing_after_transfers_and_exit_costs(day: Day) -> None:
    missing = -(Fraction(day.equity) - Fraction(day.equity_start) - Fraction(day.net_deposits))
    right = (missing + Fraction(day.exit_costs)) / Fraction(day.equity_start)
    assert float(day.loss) == pytest.approx(float(right), rel=1e-15)
    assert Fraction(day.money_lost) == max(Fraction(0), right * Fraction(day.equity_start))
    assert Fraction(day.change) == -missing
    assert float(day.result) == pytest.approx(float(-missing / Fraction(day.equity_start)))


@CASES
@given(drawn_days())
def test_the_return_is_the_product_over_the_stretches_without_exit_costs(day: Day) -> None:
    right = Fraction(1)
    for stretch in day.stretches:
        right *= Fraction(stretch.end) / Fraction(stretch.start)
    assert day.return_twr == pytest.approx(float(right - 1), rel=1e-12, abs=1e-12)


@CASES
@given(drawn_days(), MONEY)
def test_a_transfer_changes_neither_figure_if_the_prices_do_not_move(day: Day, moved: D) -> None:
    after = day.equity + moved
    later = attrs.evolve(
        day,
        equity=after,
        net_deposits=day.net_deposits + moved,
        stretches=(*day.stretches, Stretch(start=after, end=after)),
    )
    assert later.loss == day.loss
    if after >= 0:  # a day whose last equity is negative has no return
        assert later.return_twr == day.return_twr


@CASES
@given(drawn_days(), st.decimals("0.001", "0.5", places=4))
def test_what_is_left_and_what_is_lost_add_up_to_the_limit(day: Day, share: D) -> None:
    assert Fraction(day.left(share)) + Fraction(day.money_lost) == Fraction(share) * Fraction(
        day.equity_start
    )
    assert (day.left(share) <= 0) == (Fraction(day.loss) >= Fraction(share))


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        ((), None),  # the equity at the transfers is unknown
        (((0, 0),), None),  # a day that began without equity
        (((0, 0), (100, 110)), None),
        (((100, 110), (0, 0)), pytest.approx(0.1)),  # all withdrawn
        (((100, 110), (0, 0), (50, 25)), pytest.approx(1.1 * 0.5 - 1)),  # and deposited again
        (((100, 110), (0, 5)), None),  # a profit on no equity
        (((100, 110), (-5, -5)), None),
    ],
)
def test_a_stretch_without_equity_is_ignored_only_if_it_comes_later_and_stays_at_zero(
    stretches: tuple[tuple[int, int], ...], expected: float | None
) -> None:
    found = tuple(Stretch(start=D(a), end=D(b)) for a, b in stretches)
    assert Day(equity_start=D(100), equity=D(100), stretches=found).return_twr == expected


@CASES
@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_the_utc_day_of_an_instant_is_its_date(at_ms: int) -> None:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    assert utc_day(at_ms) == f"{date.year:04}-{date.month:02}-{date.day:02}"
