"""Mark prices from prices of the market."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from kamou.core.market.fill_prices import nearest_tick


@pytest.mark.parametrize(
    ("price", "mark"),
    [(1.004, "1.00"), (1.006, "1.01"), (0.006, "0.01"), (0.004, "0.01"), (1e-9, "0.01")],
)
def test_a_mark_is_the_nearest_tick_and_at_least_one_tick(price: float, mark: str) -> None:
    """A mark of 0 would be no valid price, so its position could not be closed."""
    assert nearest_tick(price, D("0.01")) == D(mark)
