"""A quote is sound if all its prices are positive numbers and its bid is at most its ask."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from tests.core.trading_cases import NOON, quote


@pytest.mark.parametrize("price", ["bid", "ask", "mark"])
@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "-Infinity", "0", "-1"])
def test_a_quote_with_a_price_that_is_no_positive_number_is_not_sound(
    price: str, wrong: str
) -> None:
    assert quote().sound
    assert not quote("SOLUSDT", "100", NOON, **{price: D(wrong)}).sound


def test_a_crossed_quote_is_not_sound() -> None:
    assert not quote(bid=D("100.01"), ask=D(100)).sound


def test_a_quote_whose_bid_is_its_ask_is_sound() -> None:
    assert quote(bid=D(100), ask=D(100)).sound
