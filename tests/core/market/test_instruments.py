"""Faults of invalid instruments are reported by field and by symbol."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import attrs
import pytest

from kamou.core.market.instruments import find_faults, find_instrument_faults
from kamou.core.model import Instrument

SOUND = Instrument(
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick=D("0.1"),
    lot=D("0.001"),
    contract_size=D(1),
    qty_min=D("0.001"),
    qty_max=D(100),
    notional_min=D(5),
    leverage_max=75,
    maintenance_margin_rate=D("0.005"),
    taker_fee=D("0.0006"),
    maker_fee=D("-0.0001"),  # some venues pay makers
)


def test_a_valid_instrument_has_no_faults() -> None:
    assert find_instrument_faults(SOUND) == ()
    assert find_faults(["BTCUSDT"], [SOUND]) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"symbol": ""}, "no symbol"),
        ({"tick": D(0)}, "tick is 0, not above 0"),
        ({"tick": D("-0.1")}, "tick is -0.1"),
        ({"lot": D(0)}, "lot is 0"),
        ({"contract_size": D(0)}, "contract_size is 0"),
        ({"qty_min": D(0)}, "qty_min is 0"),
        ({"qty_min": D(101)}, "qty_min 101 is above qty_max 100"),
        ({"lot": D(1000)}, "below one lot of 1000"),
        ({"notional_min": D(-1)}, "notional_min is -1, below 0"),
        ({"leverage_max": 0}, "leverage_max is 0"),
        ({"maintenance_margin_rate": D(0)}, "maintenance_margin_rate is 0"),
        ({"maintenance_margin_rate": D(1)}, "maintenance_margin_rate is 1"),
        ({"taker_fee": D("-0.0001")}, "taker_fee is -0.0001"),
        ({"taker_fee": D(6)}, "taker_fee is 6"),  # may be meant as 6 % or as 6 basis points
        ({"maker_fee": D("-0.01")}, "maker_fee is -0.01"),
        ({"funding_interval_h": 0}, "funding_interval_h is 0"),
        ({"tick": D("NaN")}, "tick is NaN"),
        ({"qty_max": D("Infinity")}, "qty_max is Infinity"),
    ],
)
def test_an_invalid_field_of_an_instrument_is_reported_by_its_name(
    change: dict[str, Any], said: str
) -> None:
    found = find_instrument_faults(attrs.evolve(SOUND, **change))
    assert any(said in fault for fault in found), found


def test_every_fault_of_every_instrument_is_reported_with_its_symbol() -> None:
    bad = attrs.evolve(SOUND, symbol="ETHUSDT", tick=D(0), lot=D(0))
    found = find_faults(["BTCUSDT", "ETHUSDT", "XRPUSDT"], [SOUND, SOUND, bad])
    assert found == (
        "ETHUSDT: tick is 0, not above 0",
        "ETHUSDT: lot is 0, not above 0",
        "BTCUSDT: listed 2 times",
        "XRPUSDT: has no instrument",
    )
