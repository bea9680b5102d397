"""Sizes compared with reference vectors, which numpy computed by the formulas."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core.codes import Deny
from kamou.core.kinds import SizeLimit
from kamou.core.model import Denial, Side
from kamou.core.risk.costs import ExpectedHold, TradeCosts, trade_costs
from kamou.core.risk.limits import CostModel, RiskLimits
from kamou.core.risk.sizing import (
    Allowance,
    Headroom,
    Sized,
    UnsizedTrade,
    highest_leverage,
    liquidation_price,
    size_trade,
    unit_loss,
)
from tests.core.trading_cases import D, instrument, quote

QUARTER = D("0.25")


def costs(fee: str = "0.0006", slip: str = "0.0005", funding: str = "0") -> TradeCosts:
    return TradeCosts(fee_in=D(fee), fee_out=D(fee), slip=D(slip), funding=D(funding))


def sized(**changes: object) -> Sized | Denial:
    inputs: dict[str, object] = {
        "sizing_equity": D(10000),
        "entry": D(100),
        "stop": D(97),
        "side": Side.LONG,
        "instrument": instrument(contract_size=D("0.1")),
        "costs": costs(),
        "gap": QUARTER,
    }
    limits = changes.pop("limits", RiskLimits())
    inputs.update(changes)
    of_trade = {n: inputs.pop(n) for n in attrs.fields_dict(UnsizedTrade) if n in inputs}
    return size_trade(UnsizedTrade(**of_trade), Allowance(**inputs), limits)  # type: ignore[arg-type]  # each by its name


# Reference vectors "sizing": equity, entry, stop, slip, contract size, leverage ->
# loss per unit, contracts, notional, worst loss, margin.
VECTORS = [
    ("10000", "50000", "49250", "0.0005", "0.001", 5, "1046.675", 30, "1500", "31.40025", "300"),
    ("10000", "2.0", "1.9", "0.001", "10", 5, "0.13124", 75, "1500", "98.43", "300"),
    ("10000", "100", "90", "0.0005", "0.1", 3, "12.709", 78, "780", "99.1302", "260"),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_sizes_agree_with_the_reference_vectors(vector: tuple[object, ...]) -> None:
    q, entry, stop, slip, contract, leverage, loss, contracts, notional, worst, margin = vector
    made = sized(
        sizing_equity=D(str(q)),
        entry=D(str(entry)),
        stop=D(str(stop)),
        costs=costs(slip=str(slip)),
        instrument=instrument(contract_size=D(str(contract))),
        limits=RiskLimits(leverage_max=int(str(leverage))),
    )
    assert isinstance(made, Sized)
    assert unit_loss(D(str(entry)), D(str(stop)), costs(slip=str(slip)), QUARTER) == D(str(loss))
    assert made.contracts == contracts
    assert made.notional == D(str(notional))
    assert made.risk == D(str(worst))
    assert made.margin == D(str(margin))


def test_a_size_below_the_minimum_is_denied_and_never_rounded_up() -> None:
    made = sized(
        sizing_equity=D(60),
        entry=D(50000),
        stop=D(49250),
        instrument=instrument(contract_size=D("0.001")),
    )
    assert isinstance(made, Denial)
    assert made.code == "QUANTITY_BELOW_MINIMUM"


def headroom(risk: D, notional: D) -> Headroom:
    """Return a headroom of the daily budget and of the total notional."""
    risks, notionals = {SizeLimit.DAY_BUDGET: risk}, {SizeLimit.NOTIONAL_TOTAL: notional}
    return Headroom(risks=risks, notionals=notionals)


# Reference vectors "liq_isolated_linear": entry, leverage, maintenance rate, side -> price.
@pytest.mark.parametrize(
    ("entry", "leverage", "rate", "side", "expected"),
    [
        ("50000", 5, "0.005", Side.LONG, 40225.26146419952),
        ("50000", 5, "0.005", Side.SHORT, 59665.87112171839),
        ("2", 20, "0.02", Side.LONG, 1.9399632428017153),
    ],
)
def test_liquidation_prices_agree_with_the_reference_vectors(
    entry: str, leverage: int, rate: str, side: Side, expected: float
) -> None:
    price = liquidation_price(D(entry), side, leverage, D(rate), D("0.0006"))
    assert float(price) == pytest.approx(expected, rel=1e-12)


def test_the_size_of_a_trade_with_a_stop_1_5_percent_away_is_bound_by_exposure() -> None:
    made = sized(entry=D(100), stop=D("98.5"))
    assert isinstance(made, Sized)
    assert made.bound_by == "exposure"
    assert made.notional == 1500


def test_the_size_of_a_trade_with_a_wide_stop_is_bound_by_risk() -> None:
    made = sized(stop=D(90), limits=RiskLimits(leverage_max=2))
    assert isinstance(made, Sized)
    assert made.bound_by == "risk"
    assert made.risk <= 100


def test_existing_notional_counts_against_the_exposure_cap() -> None:
    made = sized(existing_notional=D(1400))
    assert isinstance(made, Sized)
    assert made.notional == 100


def test_a_limit_of_the_portfolio_shrinks_a_size_and_is_named() -> None:
    made = sized(headroom=headroom(D(20), D(5000)))
    assert isinstance(made, Sized)
    assert made.bound_by == "day_budget"
    assert made.risk <= 20
    nothing = sized(headroom=headroom(D(0), D(0)))
    assert isinstance(nothing, Denial)


def test_the_value_and_quantity_caps_bind_at_an_equity_of_100_million() -> None:
    rich = D(100_000_000)
    by_value = sized(sizing_equity=rich)
    assert isinstance(by_value, Sized)
    assert (by_value.bound_by, by_value.notional) == ("value_max", D(100_000))
    by_quantity = sized(
        sizing_equity=rich, instrument=instrument(contract_size=D("0.1"), qty_max=D(50))
    )
    assert isinstance(by_quantity, Sized)
    assert (by_quantity.bound_by, by_quantity.contracts) == ("quantity_max", D(50))


def test_a_size_fraction_shrinks_the_exposure_cap_and_the_size_is_floored_to_the_lot() -> None:
    whole, quarter = sized(stop=D("98.5")), sized(stop=D("98.5"), fraction=QUARTER)
    assert isinstance(whole, Sized)
    assert isinstance(quarter, Sized)
    assert (whole.notional, quarter.notional) == (D(1500), D(370))  # 375, floored to the lot


def test_leverage_falls_until_liquidation_is_far_enough() -> None:
    near, far = sized(stop=D("98.5")), sized(stop=D(90))
    assert isinstance(near, Sized)
    assert isinstance(far, Sized)
    assert near.leverage == 5
    assert far.leverage == 3  # 2 x 12.5 % fits under 1/3, not under 1/4
    assert abs(100 - far.liquidation_price) >= 2 * D("12.5")
    beyond = sized(stop=D(50))
    assert isinstance(beyond, Denial)
    assert beyond.code == "STOP_BEYOND_LIQUIDATION"


def test_a_short_with_a_stop_30_percent_away_has_leverage_1() -> None:
    trade = UnsizedTrade(
        entry=D(100),
        stop=D(130),
        side=Side.SHORT,
        instrument=instrument(),
        costs=costs(),
        gap=QUARTER,
    )
    assert highest_leverage(trade, RiskLimits()) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"stop": D(101)}, "STOP_WRONG_SIDE"),
        ({"stop": D(100)}, "STOP_WRONG_SIDE"),
        ({"side": Side.SHORT}, "STOP_WRONG_SIDE"),
        ({"stop": D(0)}, "STOP_MISSING"),
        ({"sizing_equity": D("NaN")}, "DATA_INVALID"),
        ({"sizing_equity": D(0)}, "DATA_INVALID"),
        ({"entry": D("Infinity")}, "DATA_INVALID"),
        ({"costs": costs(slip="NaN")}, "DATA_INVALID"),
    ],
)
def test_invalid_inputs_of_a_size_are_denied(changes: dict[str, object], code: str) -> None:
    made = sized(**changes)
    assert isinstance(made, Denial)
    assert made.code == code


def test_costs_are_taker_fee_half_spread_slippage_and_payable_funding() -> None:
    def made(side: Side, rate: Decimal | None) -> TradeCosts:
        return trade_costs(
            instrument=instrument(),
            costs=CostModel(),
            spread=quote().spread,
            price=quote().mid,
            hold=ExpectedHold(side=side, hold_ms=86_400_000, funding_rate=rate),
        )

    unknown = made(Side.LONG, None)
    assert unknown.fee_in == D("0.0006")
    assert unknown.slip == D("0.0001") + D("0.0002")
    assert unknown.funding == D("0.0003")
    assert made(Side.LONG, D("0.0002")).funding == D("0.0006")
    assert made(Side.SHORT, D("0.0002")).funding == 0  # funding that would be received counts as 0
    dear = attrs.evolve(instrument(), taker_fee=D("0.001"))
    fee = trade_costs(
        instrument=dear,
        costs=CostModel(),
        spread=D(0),
        price=D(100),
        hold=ExpectedHold(side=Side.LONG, hold_ms=0),
    ).fee_out
    assert fee == D("0.001")


@settings(max_examples=80)
@given(
    sizing_equity=st.decimals("10", "1000000", places=2),
    entry=st.decimals("0.01", "100000", places=2),
    distance=st.decimals("0.001", "0.5", places=3),
    side=st.sampled_from(Side),
    lot=st.sampled_from([D(1), D("0.1"), D(10)]),
    contract=st.sampled_from([D(1), D("0.001"), D(10)]),
    gap=st.decimals("0.25", "5", places=2),
    existing=st.decimals("0", "1000", places=0),
)
def test_no_size_ever_exceeds_a_cap(
    sizing_equity: Decimal,
    entry: Decimal,
    distance: Decimal,
    side: Side,
    lot: Decimal,
    contract: Decimal,
    gap: Decimal,
    existing: Decimal,
) -> None:
    listed = instrument(lot=lot, contract_size=contract, qty_min=lot)
    made = sized(
        sizing_equity=sizing_equity,
        entry=entry,
        stop=entry * (1 - distance * side.sign),
        side=side,
        instrument=listed,
        gap=gap,
        existing_notional=existing,
    )
    if isinstance(made, Denial):
        return
    assert made.risk <= D("0.01") * sizing_equity
    assert made.notional + existing <= D("0.15") * sizing_equity
    assert made.notional <= 100_000
    assert made.contracts % lot == 0
    assert made.contracts >= listed.qty_min
    assert 1 <= made.leverage <= 5
    assert abs(entry - made.liquidation_price) >= 2 * (1 + gap) * entry * distance


def test_a_trade_with_headroom_below_a_quarter_of_the_full_size_is_denied() -> None:
    def made(risk: str) -> object:
        return sized(headroom=headroom(D(risk), D(10_000)))

    alone = made("1000")
    assert isinstance(alone, Sized)
    quarter = alone.risk / 4
    enough = made(str(quarter * D("1.02")))
    assert isinstance(enough, Sized)
    assert enough.bound_by == "day_budget"
    refused = made(str(quarter * D("0.98")))
    assert isinstance(refused, Denial)
    assert refused.code == Deny.RISK_HEADROOM_EXHAUSTED.value
    shown = {f.name: f.value for f in refused.figures}
    assert shown["bound_by"] == "day_budget"
    assert D(shown["left"]) == pytest.approx(quarter * D("0.98"), abs=D("0.01"))
    assert D(shown["needed"]) == pytest.approx(quarter, rel=D("0.02"))


@pytest.mark.parametrize("existing", [1_499, 1_500, 5_000])  # of 1,500; a contract is worth 10
def test_a_size_of_zero_is_denied_if_the_venue_has_no_minimum(existing: int) -> None:
    free = instrument(contract_size=D("0.1"), qty_min=D(0), notional_min=D(0))
    assert isinstance(sized(instrument=free, existing_notional=D(existing)), Denial)
    assert isinstance(sized(instrument=free), Sized)


def test_a_symbol_whose_exposure_is_used_up_has_exhausted_its_headroom() -> None:
    """The limit is 1,500 and 5,000 are held; the venue's smallest order is worth 10."""
    full = sized(existing_notional=D(5_000))
    assert isinstance(full, Denial)
    said = "RISK_HEADROOM_EXHAUSTED: bound_by=exposure left=-3500.00 needed=10.00"
    assert str(full).startswith(said)


def test_a_quantity_is_too_small_if_an_unused_exposure_cap_is_below_the_smallest_order() -> None:
    """The whole limit is 7.50 at an equity of 50; the smallest order is worth 10."""
    small = sized(sizing_equity=D(50))
    assert isinstance(small, Denial)
    assert small.code == Deny.QUANTITY_BELOW_MINIMUM.value


@pytest.mark.parametrize(
    ("qty_min", "notional_min", "needed"), [("4", "10", "40.00"), ("1", "90", "90.00")]
)
def test_a_headroom_denial_needs_the_larger_of_the_venues_two_minimums(
    qty_min: str, notional_min: str, needed: str
) -> None:
    """A contract is 0.1 units at 100; a quarter of the full size is below both."""
    listed = instrument(contract_size=D("0.1"), qty_min=D(qty_min), notional_min=D(notional_min))
    full = sized(instrument=listed, sizing_equity=D(800), headroom=headroom(D(10_000), D(1)))
    assert isinstance(full, Denial)
    assert {f.name: f.value for f in full.figures}["needed"] == needed


def test_a_trade_with_headroom_for_exactly_a_quarter_of_the_full_size_is_sized() -> None:
    # Exposure binds at 15 units; a quarter of them are 3.75, worth 375.
    enough = sized(headroom=headroom(D(10_000), D(375)))
    assert isinstance(enough, Sized)
    assert (enough.quantity, enough.bound_by) == (D("3.7"), "notional_total")
    assert isinstance(sized(headroom=headroom(D(10_000), D("374.9"))), Denial)


@pytest.mark.parametrize(("stop", "bound_by"), [("97", "exposure"), ("60", "risk")])
def test_a_size_fraction_of_one_half_halves_a_size_whichever_cap_binds(
    stop: str, bound_by: str
) -> None:
    whole = sized(stop=D(stop))
    half = sized(stop=D(stop), fraction=D("0.5"))
    assert isinstance(whole, Sized)
    assert isinstance(half, Sized)
    assert (whole.bound_by, half.bound_by) == (bound_by, bound_by)
    assert half.contracts == whole.contracts // 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"entry": D(0)}, "entry"),
        ({"sizing_equity": D(0)}, "sizing_equity"),
        ({"gap": D("NaN")}, "gap"),
    ],
)
def test_the_denial_of_a_size_names_its_invalid_inputs(
    changes: dict[str, object], what: str
) -> None:
    refused = sized(**changes)
    assert isinstance(refused, Denial)
    assert refused.code == "DATA_INVALID"
    assert ("what", what) in {(f.name, f.value) for f in refused.figures}


@pytest.mark.parametrize(("least", "enough"), [("1500", True), ("1500.01", False)])
def test_the_minimum_notional_passes_and_a_smaller_one_is_denied(least: str, enough: bool) -> None:
    listed = instrument(contract_size=D("0.1"), notional_min=D(least))
    assert isinstance(sized(instrument=listed), Sized) is enough


@pytest.mark.parametrize(("least", "enough"), [("150", True), ("151", False)])
def test_the_minimum_contracts_pass_and_fewer_are_denied(least: str, enough: bool) -> None:
    listed = instrument(contract_size=D("0.1"), qty_min=D(least))
    made = sized(instrument=listed)
    assert isinstance(made, Sized) is enough
    if isinstance(made, Denial):
        assert str(made) == (
            "QUANTITY_BELOW_MINIMUM: contracts=150 minimum=151 notional=1500.00 notional_min=5"
            " bound_by=exposure"
        )


@pytest.mark.parametrize(("listed", "limit"), [(40, 10**9), (10**9, 40)])
def test_the_smaller_of_the_venues_and_the_settings_order_maximum_applies(
    listed: int, limit: int
) -> None:
    made = sized(
        instrument=instrument(contract_size=D("0.1"), qty_max=D(listed)),
        limits=RiskLimits(order_contracts_max=D(limit)),
    )
    assert isinstance(made, Sized)
    assert (made.contracts, made.bound_by) == (D(40), "quantity_max")


@pytest.mark.parametrize(("listed", "limit"), [(3, 5), (5, 3)])
def test_leverage_is_the_smaller_of_the_venues_and_the_settings_maximum(
    listed: int, limit: int
) -> None:
    made = sized(instrument=instrument(leverage_max=listed), limits=RiskLimits(leverage_max=limit))
    assert isinstance(made, Sized)
    assert (made.leverage, made.margin) == (3, made.notional / 3)
