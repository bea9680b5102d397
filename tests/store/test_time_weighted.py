"""The return of a day with a complete withdrawal."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal as D

import pytest

from kamou.core.day import Day
from kamou.store import day_rows

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("before", "moved", "end", "expected"),
    [
        (
            {1: "10100", 3: "0"},
            {1: "-10100", 3: "500"},
            "450",
            1.01 * 0.9 - 1,
        ),  # withdrawn, deposited again
        ({1: "10100"}, {1: "-10100"}, "0", 0.01),  # withdrawn, and no equity since
        ({1: "10100"}, {1: "-10200"}, "5", None),  # more than the equity: no return
        ({1: "10100"}, {1: "-10100"}, "7", None),  # a profit on no equity: no return
        ({1: "9900", 2: "9801"}, {1: "99", 2: "-9801"}, "0", 0.99 * (9801 / 9999) - 1),
    ],
)
def test_a_complete_withdrawal_is_no_loss_and_a_profit_without_equity_is_no_return(
    monkeypatch: pytest.MonkeyPatch,
    before: dict[int, str],
    moved: dict[int, str],
    end: str,
    expected: float | None,
) -> None:
    monkeypatch.setattr(
        day_rows, "equity_before_transfers", lambda _, at_ms: D(before[at_ms // HOUR_MS])
    )
    transfers = [(hour * HOUR_MS, D(amount)) for hour, amount in moved.items()]
    with closing(sqlite3.connect(":memory:")) as reader:
        stretches = day_rows._divide(reader, transfers, D(10_000), D(end), 24 * HOUR_MS)
    found = Day(equity_start=D(10_000), equity=D(end), stretches=stretches).return_twr
    assert found is None if expected is None else found == pytest.approx(expected)
