"""Daily budget, whose equity includes every realized loss."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.trades import apply_fill, open_trade, realized_gain
from kamou.core.kinds import RiskPart
from kamou.core.model import Figure, OrderSide, Quote, Side
from kamou.core.risk.exposure import day_budget
from kamou.core.risk.governor import review_entry
from kamou.core.risk.verdict import Approved, Denied
from tests.core.trading_cases import (
    DAY,
    INSTRUMENTS,
    NOON,
    D,
    Story,
    account,
    closed_cycle,
    fill,
    income,
    mark,
    plan,
    quote,
    review,
)

SIX = sorted(INSTRUMENTS)


def codes(story: Story, **changes: Any) -> set[str]:
    """Return the codes of the denials of one more trade; none if it is approved."""
    wish = plan("BTCUSDT", permit_id="wish", signal_id="wish", strategy="oi_momentum")
    verdict, _ = review_entry(review(story.book, wish, **changes))
    if isinstance(verdict, Approved):
        return set()
    assert isinstance(verdict, Denied)
    return {denial.code for denial in verdict.denials}


def stopped_out(story: Story, number: int) -> None:
    """Open trades after the account read and lose 71 on each: 70, and 1 in fees."""
    for n, symbol in enumerate([s for s in SIX if s != "BTCUSDT"][:number]):
        wish = plan(symbol, permit_id=f"p{n}", signal_id=f"s{n}", stop_price=D(93))
        _, stop = story.open(wish, at_ms=NOON + 100)
        story.fill(stop, "100", "93", at_ms=NOON + 200)  # 10 units, 7 below the entry
        assert symbol not in story.book.trades.open


def paid(story: Story, amount: str, at_ms: int) -> None:
    story.say(e.IncomeRecorded(at_ms=at_ms, income=income("funding", amount, at_ms)))


BUDGET = "RISK_DAY_BUDGET_EXCEEDED"


def test_stops_in_one_bar_count_against_the_day_before_the_account_is_read_again(
    story: Story,
) -> None:
    assert codes(story) == set()
    stopped_out(story, 5)  # 355 of the day's 400 are lost; 41 is new
    assert BUDGET not in codes(story)
    assert review(story.book, plan("BTCUSDT")).day_loss == 355


def test_a_loss_realized_since_the_account_read_counts_at_once(story: Story) -> None:
    stopped_out(story, 5)
    paid(story, "-5", NOON + 300)
    assert BUDGET in codes(story)
    # After a newer account read the budget is the same: no loss counts twice.
    assert BUDGET in codes(story, account=account("9640", NOON + 400))
    assert BUDGET not in codes(story, account=account("9645", NOON + 400))


def test_a_loss_at_the_very_instant_of_the_read_counts_and_a_profit_does_not(story: Story) -> None:
    paid(story, "-10", NOON)
    paid(story, "7", NOON)
    now = review(story.book, plan()).now
    assert (now.equity, now.wallet_balance) == (D(9990), D(9990))


def test_the_loss_of_a_stop_moves_from_open_risk_to_the_day_at_its_fill(
    story: Story,
) -> None:
    _, stop = story.open(plan(), at_ms=NOON + 100)
    marks = {"SOLUSDT": quote(mid="97", at_ms=NOON + 900)}
    held = review(story.book, plan("BTCUSDT"), marks=marks)
    before = held.day_loss + held.exposure.open_risk
    assert held.exposure.open_risk > 0
    story.fill(stop, "100", "97", at_ms=NOON + 1_000)
    after = review(story.book, plan("BTCUSDT"))
    assert after.exposure.open_risk == 0
    assert after.day_loss == 31  # 30 at the stop, 1 in fees
    assert before > after.day_loss


def test_current_equity_values_open_positions_at_the_marks_of_the_review(story: Story) -> None:
    story.open(plan(), at_ms=NOON + 100)
    marks = {"SOLUSDT": quote(mid="90", at_ms=NOON + 900)}
    now = review(story.book, plan("BTCUSDT"), marks=marks).now
    assert (now.wallet_balance, now.equity) == (D("9999.5"), D("9899.5"))
    assert now.exit_costs == D("0.72")  # 8 bps of 900
    assert (now.account_at_ms, now.marks_at_ms) == (NOON, NOON + 900)


@pytest.mark.parametrize(
    ("marks", "figure"),
    [
        ({}, "none"),
        ({"SOLUSDT": quote(at_ms=NOON - 20_000)}, "21000"),
        ({"SOLUSDT": quote(at_ms=NOON, mark=D("NaN"))}, "none"),
    ],
)
def test_an_entry_is_denied_without_a_fresh_mark_of_an_open_position(
    story: Story, marks: dict[str, Quote], figure: str
) -> None:
    story.open(plan(), at_ms=NOON + 100)
    wish = plan("BTCUSDT")
    verdict, _ = review_entry(review(story.book, wish, marks=marks))
    assert isinstance(verdict, Denied)
    (stale,) = [d for d in verdict.denials if d.code == "MARK_STALE"]
    assert ("age_ms", figure) in {(f.name, f.value) for f in stale.figures}
    fresh = {"SOLUSDT": quote(at_ms=NOON + 500)}
    assert isinstance(review_entry(review(story.book, wish, marks=fresh))[0], Approved)


def test_entries_are_denied_after_a_fill_without_a_trade_until_the_next_account_read(
    story: Story,
) -> None:
    story.fill(None, "10", "100", symbol="DOTUSDT", at_ms=NOON + 300)  # of no trade
    assert codes(story) == {"ACCOUNT_STALE"}
    assert codes(story, account=account(at_ms=NOON + 400)) == set()


def test_an_entry_after_a_full_hour_needs_an_account_read_with_its_funding(story: Story) -> None:
    story.open(plan(), at_ms=NOON + 100)
    hour_ms = NOON + 3_600_000
    story.say(closed_cycle(hour_ms - 1_000))
    wish = plan("BTCUSDT", expires_at_ms=hour_ms + 20_000)
    marks = {"SOLUSDT": quote(at_ms=hour_ms)}
    inputs: dict[str, Any] = {"marks": marks, "quote": quote("BTCUSDT", at_ms=hour_ms)}
    before = account(at_ms=hour_ms - 1_000)
    verdict, _ = review_entry(
        review(story.book, wish, account=before, now_ms=hour_ms + 1_000, **inputs)
    )
    assert isinstance(verdict, Denied)
    assert [d.code for d in verdict.denials] == ["ACCOUNT_STALE"]
    after = account(at_ms=hour_ms + 500)
    verdict, _ = review_entry(
        review(story.book, wish, account=after, now_ms=hour_ms + 1_000, **inputs)
    )
    assert isinstance(verdict, Approved)


def test_a_trade_that_ended_after_a_full_hour_may_owe_the_funding_of_that_hour(
    story: Story,
) -> None:
    """It was open at the hour, and the account read is from before the hour."""
    hour_ms = NOON + 3_600_000
    _, stop = story.open(plan(), at_ms=NOON + 100)
    story.fill(stop, "100", "97", at_ms=hour_ms + 500)
    assert not story.book.trades.open
    before, at_ms = account(at_ms=hour_ms - 1_000), hour_ms + 1_000
    now = review(story.book, plan("BTCUSDT"), account=before, now_ms=at_ms).now
    assert now.unknown == "funding of the last full hour on SOLUSDT"
    after = account(at_ms=hour_ms + 700)
    assert review(story.book, plan("BTCUSDT"), account=after, now_ms=at_ms).now.unknown is None


def test_the_margin_of_trades_opened_since_the_account_read_counts_as_used(story: Story) -> None:
    story.open(plan(), at_ms=NOON + 100)
    c = review(story.book, plan("BTCUSDT"), marks={"SOLUSDT": quote()})
    assert c.margin_used == 200  # 1,000 at leverage 5
    later = review(story.book, plan("BTCUSDT"), account=account(at_ms=NOON + 200))
    assert later.margin_used == 0


def test_the_margin_of_a_trade_counts_if_the_snapshot_is_newer_than_the_account_read(
    story: Story,
) -> None:
    """The trade opened between the governor's account read and the newest equity snapshot."""
    story.open(plan(), at_ms=NOON + 100)
    story.say(attrs.evolve(mark("10000", NOON + 200), margin_used=D(200)))
    c = review(story.book, plan("BTCUSDT"), marks={"SOLUSDT": quote()}, account=account())
    assert c.margin_used == 200


def test_a_known_funding_rate_is_part_of_the_risk(story: Story) -> None:
    plain = review(story.book, plan())
    dear = review(story.book, plan(), funding_rate=D("0.001"))  # 10 bps per interval, not 1
    assert dict(dear.risk_parts)[RiskPart.COSTS] - dict(plain.risk_parts)[RiskPart.COSTS] == D(
        "2.7"
    )


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(1, 50), st.integers(50, 150)), min_size=1, max_size=12
    ),
    st.integers(50, 150),
)
def test_realized_and_unrealized_pnl_equal_cash_and_position_value_in_any_order_of_fills(
    steps: list[tuple[bool, int, int]], mark: int
) -> None:
    """Cash is the money of all sells less that of all buys, before fees."""
    trade = open_trade(plan(), "t", NOON)
    made = cash = held = D(0)
    for n, (buys, quantity, price) in enumerate(steps):
        order_side = OrderSide.BUY if buys or not n else OrderSide.SELL
        done = fill(None, str(quantity), str(price), side=order_side)
        made += realized_gain(trade, done)
        trade = apply_fill(trade, done, None)
        cash -= order_side.sign * done.quantity * done.price
        held += order_side.sign * done.quantity
    worth = (cash + held * mark) * trade.contract_size
    assert abs(made + trade.unrealized_pnl(D(mark)) - worth) < D("1e-15")


def test_a_deposit_is_a_net_deposit_of_the_day_of_its_own_time(story: Story) -> None:
    opened_at_ms = story.book.day.opened_at_ms
    story.say(e.IncomeRecorded(at_ms=NOON, income=income("transfer", "500")))
    # Stamped 00:00 and listed late: the read that opened the day had counted it.
    first = income("transfer", "70", at_ms=opened_at_ms)
    story.say(e.IncomeRecorded(at_ms=NOON, income=first))
    assert (story.book.transfers.net_deposits, story.book.day.net_deposits) == (D(570), D(570))
    assert story.book.day.equity == 9930
    yesterdays = income("transfer", "30", at_ms=opened_at_ms - 1)
    story.say(e.IncomeRecorded(at_ms=NOON, income=yesterdays))
    assert (
        story.book.transfers.net_deposits,
        story.book.day.net_deposits,
        story.book.day.equity,
    ) == (
        D(600),
        D(570),
        D(9930),
    )
    story.say(e.DayOpened(at_ms=opened_at_ms + DAY, day="2024-01-02", equity=D(10600)))
    assert (story.book.transfers.net_deposits, story.book.day.net_deposits) == (D(600), D(0))
    assert story.book.day.equity == 10600


@pytest.mark.parametrize("listed_first", [True, False])
def test_a_deposit_between_the_midnight_and_its_read_is_a_net_deposit(
    story: Story, listed_first: bool
) -> None:
    midnight = story.book.day.opened_at_ms + DAY
    paid = e.IncomeRecorded(
        at_ms=midnight, income=income("transfer", "150", at_ms=midnight + 3_000)
    )
    if listed_first:
        story.say(paid)
    read_at_ms = midnight + 6_000
    story.say(e.DayOpened(at_ms=read_at_ms, day="2024-01-02", equity=D(10150)))
    if not listed_first:
        story.say(paid)
    assert (story.book.day.equity, story.book.day.net_deposits) == (D(10000), D(150))


@pytest.mark.parametrize("listed_first", [True, False])
def test_the_loss_of_a_stop_that_fills_at_midnight_counts_from_the_mark_of_midnight(
    story: Story, listed_first: bool
) -> None:
    """The fill belongs to the new day, so the position counts at the mark of 00:00."""
    midnight = story.book.day.opened_at_ms + DAY
    _, stop = story.open(plan(), at_ms=NOON + 100)  # 10 units at 100: 0.5 in fees
    marks = (Figure(name="SOLUSDT", value="98"),)
    opened = e.DayOpened(at_ms=midnight + 6_000, day="2024-01-02", equity=D("9969.0"), marks=marks)
    if not listed_first:
        story.say(opened)
    story.fill(stop, "100", "97", at_ms=midnight)  # 30 lost since the entry, 0.5 in fees
    if listed_first:
        story.say(opened)
    # By the definition: balance 9,999.5 before midnight, and 10 units at 98 that cost 100.
    assert story.book.day.equity == D("9979.5")
    # The day has lost 10 between the mark and the fill, and the fee.
    lost = review(story.book, plan("BTCUSDT"), account=account("9969", midnight + 6_000)).day_loss
    assert lost == D("10.5")


def test_an_entry_that_fills_at_midnight_belongs_to_the_day_that_begins(story: Story) -> None:
    midnight = story.book.day.opened_at_ms + DAY
    story.open(plan(side=Side.SHORT, stop_price=D(103)), at_ms=midnight)
    marks = (Figure(name="SOLUSDT", value="101"),)
    story.say(
        e.DayOpened(at_ms=midnight + 6_000, day="2024-01-02", equity=D("9989.5"), marks=marks)
    )
    assert story.book.day.equity == 10_000


@pytest.mark.parametrize(
    ("paid_in", "equity", "lost"), [("500", "10100", 400), ("-500", "9400", 100)]
)
def test_deposits_and_withdrawals_do_not_change_the_day_loss(
    story: Story, paid_in: str, equity: str, lost: int
) -> None:
    moved = income("transfer", paid_in, NOON + 100)
    story.say(e.IncomeRecorded(at_ms=NOON + 100, income=moved))
    read = account(equity, NOON + 200)
    context = review(story.book, plan("BTCUSDT"), account=read)
    assert context.day_loss == lost  # of 10,000 at the day's opening
    assert day_budget(story.book, context.now, context.limits) == 400 - lost
    assert (BUDGET in codes(story, account=read)) is (lost == 400)


@pytest.mark.parametrize(("moved_ms", "net_deposits"), [(-1, 500), (0, 500), (1, 0)])
def test_a_transfer_stamped_after_a_read_is_no_net_deposit_at_that_read(
    story: Story, moved_ms: int, net_deposits: int
) -> None:
    """The equity of the read lacks it, so it would count as a loss of 500."""
    moved = income("transfer", "500", NOON + moved_ms)
    story.say(e.IncomeRecorded(at_ms=NOON + 100, income=moved))
    equity = D(10_000 + net_deposits)
    day = story.book.measure_day(equity, at_ms=NOON)
    assert (day.net_deposits, day.money_lost) == (D(net_deposits), D(0))
    assert story.book.measure_day(equity).net_deposits == 500


def test_the_day_loss_is_zero_after_a_profit(story: Story) -> None:
    """A profit adds no headroom: the budget is at most the daily loss limit."""
    context = review(story.book, plan("BTCUSDT"), account=account("10500"))
    assert context.day_loss == 0
    assert day_budget(story.book, context.now, context.limits) == 400


def test_current_equity_without_an_account_read_names_the_account_as_unknown() -> None:
    now = review(Story().book, plan(), account=None).now
    assert now.unknown == "the account was never read"
