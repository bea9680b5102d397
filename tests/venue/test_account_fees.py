"""The embedded exchange charges and states the fee rates of the settings."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.model import Instrument
from kamou.core.risk.limits import CostModel
from kamou.settings.config import ExchangeSettings
from kamou.venue.models import VenueModels
from tests.venue.memory_market import FLAT, MemoryMarket, instrument, with_bars
from tests.venue.venue_orders import BUY, EXACT, SELL, at, engine_at, limit, order

D = Decimal
DIP = (100.0, 100.2, 98.5, 100.0, 10_000.0)  # a resting bid at 99 is filled
HUNDRED_MILLIONTH = D("1e-8")  # money is rounded to it


def models(costs: CostModel) -> VenueModels:
    return VenueModels.from_settings(ExchangeSettings(latency_ms=0), costs)


@given(
    taker=st.integers(0, 1_000),
    maker=st.integers(-100, 1_000),
    quantities=st.lists(st.integers(10, 500), min_size=1, max_size=4),
)
@settings(max_examples=40)
def test_a_fill_pays_the_taker_or_maker_rate_of_the_settings_on_its_notional(
    taker: int, maker: int, quantities: list[int]
) -> None:
    """Rates are in tenths of a basis point; the instrument's own fee has no effect."""
    costs = CostModel(taker_bps=D(taker) / 10, maker_bps=D(maker) / 10)
    market = MemoryMarket(
        {"AAA": with_bars(FLAT, DIP, FLAT)}, instruments=[instrument(taker_fee=D("0.0005"))]
    )
    engine = engine_at(market, models=models(costs))
    for n, quantity in enumerate(quantities):
        engine.place(order(f"in{n}", BUY, quantity))
        engine.place(order(f"out{n}", SELL, quantity, reduce_only=True))
    engine.place(limit("rests", BUY, 100, 99))
    before = engine.account().wallet_balance
    engine.advance(at(7))
    fills = engine.fills(0)
    assert {fill.maker for fill in fills} == {False, True}
    for fill in fills:
        notional = fill.quantity * fill.price * D("0.1")
        tenths_of_bps = maker if fill.maker else taker
        assert abs(fill.fee - notional * tenths_of_bps / 100_000) <= HUNDRED_MILLIONTH
    made = [fill for fill in fills if fill.maker]
    assert engine.account().wallet_balance == before - sum(fill.fee for fill in made)


@pytest.mark.parametrize(("taker", "maker"), [("3", "-1"), ("6", "2"), ("25", "10")])
def test_the_venue_states_the_fee_rates_of_the_settings(taker: str, maker: str) -> None:
    market = MemoryMarket({"AAA": with_bars(), "BBB": with_bars()})
    costs = CostModel(taker_bps=D(taker), maker_bps=D(maker))
    engine = engine_at(market, models=models(costs))
    stated = engine.source.instruments
    assert [each.symbol for each in stated] == ["AAA", "BBB"]
    assert {(each.taker_fee, each.maker_fee) for each in stated} == {
        (D(taker) / 10_000, D(maker) / 10_000)
    }
    assert tuple(engine.instruments.values()) == stated


class RebateForAll:
    """Another venue's fees: every fill receives one USDT."""

    def with_rates(self, instrument: Instrument) -> Instrument:
        return attrs.evolve(instrument, taker_fee=D(0), maker_fee=D(0))

    def fee(self, instrument: Instrument, notional: Decimal, *, maker: bool) -> Decimal:
        return D(-1)


def test_a_venue_charges_and_states_the_fees_of_another_fee_model() -> None:
    market = MemoryMarket({"AAA": with_bars()})
    engine = engine_at(market, models=attrs.evolve(EXACT, fee=RebateForAll()))
    engine.place(order("in", BUY, 100))
    engine.place(order("out", SELL, 100, reduce_only=True))
    assert engine.account().wallet_balance == D(10_000) + 2
    assert engine.instruments["AAA"].taker_fee == 0
