"""Status of open positions, compared with figures computed from the fills."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction as F

from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.position_status import (
    MarkRead,
    PositionStatus,
    describe_positions,
    pending_entries,
)
from kamou.core.model import OrderRole, OrderSide, Side
from kamou.core.plain import to_plain
from tests.core.trading_cases import NOON, D, Story, income, intent, plan


def shown(story: Story, **marks: str) -> tuple[PositionStatus, ...]:
    read = {s: MarkRead(price=D(price), at_ms=NOON + 5_000) for s, price in marks.items()}
    return describe_positions(story.book, read)


def test_the_unrealized_pnl_of_a_long_position_is_its_base_units_times_the_move(
    story: Story,
) -> None:
    """A long of 10 base units was entered at 100.5 with a fee of 0.5; its stop is at 97.

    At the mark 103 its PnL is 10 x 2.5 = 25, net 24.5. 1 R is 10 base units x the planned distance
    of 3.
    """
    story.open(plan(), price="100.5")
    (row,) = shown(story, SOLUSDT="103")
    assert (row.symbol, row.side, row.strategy) == ("SOLUSDT", "long", "mean_reversion")
    assert (row.quantity, row.quantity_base, row.entry_price) == (D(100), D(10), D("100.5"))
    assert (row.mark_price, row.mark_at_ms, row.opened_at_ms) == (D(103), NOON + 5_000, NOON)
    assert (row.stop_price, row.stop_confirmed, row.stop_quantity) == (D(97), True, D(100))
    assert row.stop_distance == D(6) / D(103)
    assert (row.unrealized_pnl, row.net_pnl) == (D(25), D("24.5"))
    assert row.r == D("0.816666666667")
    assert row.unprotected_since_ms is None


def test_a_short_position_gains_as_its_mark_falls(story: Story) -> None:
    story.open(plan(side=Side.SHORT))
    (row,) = shown(story, SOLUSDT="98")
    assert (row.side, row.unrealized_pnl, row.net_pnl) == ("short", D(20), D("19.5"))
    assert (row.stop_price, row.stop_distance) == (D(103), D(5) / D(98))


def test_a_mark_beyond_the_stop_has_a_distance_below_zero(story: Story) -> None:
    story.open(plan())
    (row,) = shown(story, SOLUSDT="96")
    assert row.stop_distance == D(-1) / D(96)


def test_net_pnl_and_r_include_closed_contracts_fees_and_funding(story: Story) -> None:
    """40 of 100 contracts sold at 104 gained 16; 60 at 102 gain 12; fees are 1.

    Funding was -2. The net PnL is 16 + 12 - 1 - 2 = 25, and 1 R is 30.
    """
    story.open(plan())
    story.fill(None, "40", "104", side=OrderSide.SELL)
    paid = income("funding", "-2", at_ms=NOON + 1)
    story.say(e.IncomeRecorded(at_ms=NOON + 1, income=paid))
    (row,) = shown(story, SOLUSDT="102")
    assert (row.unrealized_pnl, row.net_pnl) == (D(12), D(25))
    assert row.r == (D(25) / D(30)).quantize(D("1e-12"))


def test_an_adopted_position_has_an_unrealized_pnl_and_no_r(story: Story) -> None:
    story.say(
        e.PositionAdopted(
            at_ms=NOON,
            trade_id="a",
            symbol="BTCUSDT",
            side=Side.SHORT,
            quantity=D(3),
            contract_size=D("0.1"),
            entry_price=D(200),
            stop_price=D(210),
        )
    )
    (row,) = shown(story, BTCUSDT="190")
    assert (row.unrealized_pnl, row.r) == (D(3), None)
    assert (row.stop_price, row.stop_status, row.stop_confirmed) == (None, None, False)
    assert row.unprotected_since_ms == NOON


def test_a_stop_that_was_not_read_back_is_not_confirmed(story: Story) -> None:
    of = plan()
    story.grant(of)
    entry = story.send(intent(OrderRole.ENTRY, of))
    story.send(intent(OrderRole.STOP_LOSS, of))
    story.fill(entry, "100", "100")
    (row,) = shown(story, SOLUSDT="100")
    assert (row.stop_price, row.stop_status, row.stop_confirmed) == (D(97), "submitted", False)
    assert (row.stop_quantity, row.unprotected_since_ms) == (None, NOON)


def test_a_stop_that_covers_a_part_is_not_confirmed_and_shows_its_quantity(story: Story) -> None:
    of = plan()
    _, stop = story.open(of)
    story.say(
        e.StopConfirmed(
            at_ms=NOON + 1,
            symbol=of.symbol,
            client_order_id=stop.client_order_id,
            quantity=D(30),
            trigger_price=D(97),
        )
    )
    (row,) = shown(story, SOLUSDT="100")
    assert (row.stop_confirmed, row.stop_quantity, row.quantity) == (False, D(30), D(100))


def test_the_pnl_and_the_stop_distance_of_a_position_without_a_mark_are_none(story: Story) -> None:
    story.open(plan())
    (row,) = shown(story)
    assert (row.mark_price, row.unrealized_pnl, row.net_pnl, row.r) == (None, None, None, None)
    assert (row.stop_price, row.stop_distance) == (D(97), None)


def test_unprotected_positions_come_first_then_those_nearest_to_their_stop(story: Story) -> None:
    for symbol in ("SOLUSDT", "BTCUSDT", "ETHUSDT"):
        story.open(plan(symbol))
    story.say(e.ProtectionLost(at_ms=NOON, symbol="ETHUSDT", reason="canceled"))
    rows = shown(story, SOLUSDT="100", BTCUSDT="98", ETHUSDT="105")
    assert [row.symbol for row in rows] == ["ETHUSDT", "BTCUSDT", "SOLUSDT"]


def test_a_pending_entry_is_listed_until_it_is_filled(story: Story) -> None:
    of = plan()
    story.grant(of)
    entry = story.send(intent(OrderRole.ENTRY, of))
    story.send(intent(OrderRole.STOP_LOSS, of))
    (pending,) = pending_entries(story.book)
    assert (pending.symbol, pending.side, pending.strategy) == ("SOLUSDT", "buy", of.strategy)
    assert (pending.quantity, pending.filled, pending.limit_price) == (D(100), D(0), D(100))
    story.fill(entry, "40", "100")
    assert pending_entries(story.book)[0].filled == 40
    story.fill(entry, "60", "100")
    assert pending_entries(story.book) == ()


def test_the_json_row_of_a_position_has_prices_and_pnl_as_texts(story: Story) -> None:
    story.open(plan(), price="100.5")
    (row,) = shown(story, SOLUSDT="103")
    reported = to_plain(row)
    assert (reported["entry_price"], reported["unrealized_pnl"], reported["net_pnl"]) == (
        "100.5",
        "25.00",
        "24.50",
    )
    assert reported["stop_confirmed"] is True


prices = st.decimals("0.5", "400", places=2)


@given(entry=prices, mark=prices, side=st.sampled_from(list(Side)), sold=st.integers(0, 99))
def test_the_figures_of_a_position_agree_with_arithmetic_on_fractions(
    entry: Decimal, mark: Decimal, side: Side, sold: int
) -> None:
    """The expected figures follow from the fills, their fees and the mark alone."""
    reported = Story()
    reported.ready()
    of = plan(side=side)
    reported.open(of, price=str(entry))
    fees = F(1, 2)
    if sold:
        out = OrderSide.SELL if side is Side.LONG else OrderSide.BUY
        reported.fill(None, str(sold), "101", side=out)
        fees += F(1, 2)
    (row,) = shown(reported, SOLUSDT=str(mark))
    sign, unit = (1 if side is Side.LONG else -1), F(1, 10)
    open_now = (100 - sold) * unit * (F(mark) - F(entry)) * sign
    net = open_now + sold * unit * (101 - F(entry)) * sign - fees
    stop = 97 if side is Side.LONG else 103
    assert row.unrealized_pnl is not None
    assert row.net_pnl is not None
    assert row.r is not None
    assert row.stop_distance is not None
    assert F(row.unrealized_pnl) == open_now
    assert F(row.net_pnl) == net
    assert abs(F(row.r) - net / 30) <= F(1, 10**12)
    assert abs(F(row.stop_distance) - (F(mark) - stop) * sign / F(mark)) < F(1, 10**20)
