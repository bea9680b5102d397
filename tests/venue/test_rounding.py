"""Rounding of quantities to the lot."""

from __future__ import annotations

from decimal import Decimal as D

from kamou.venue.models import as_contracts


def test_contracts_are_floored_to_the_lot() -> None:
    assert as_contracts(D("1.99"), D("0.5")) == D("1.5")
