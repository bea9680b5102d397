"""Attribution of funding to the trade that was open when it settled."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from decimal import Decimal

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kamou.core.book import events as e
from kamou.core.book.late_events import ResultCorrected
from kamou.core.book.position_book import PositionBook
from kamou.core.book.retention import OVERLAP_MS
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.model import Income, Intent, OrderRole, OrderStatus, Plan
from kamou.data_directory.folder import MEMORY
from kamou.store import database, public_queries, queries
from kamou.store.journal import JournalWriter
from kamou.store.record_rows import StrategySums
from kamou.store.rows import TradeRow
from tests.core.trading_cases import (
    NOON,
    D,
    Story,
    closed_cycle,
    income,
    intent,
    mark,
    order_closed,
    plan,
)

HOUR_AFTER = NOON + HOUR_MS


def numbered(n: int) -> Plan:
    return plan(permit_id=f"p{n}", signal_id=f"t{n}")


def open_and_close(story: Story, n: int, opened_at_ms: int, closed_at_ms: int) -> None:
    """Record trade ``n`` of SOLUSDT, flat and without a published result."""
    _, stop = story.open(numbered(n), at_ms=opened_at_ms)
    story.fill(stop, "100", "97", at_ms=closed_at_ms)


def pay(story: Story, amount: str, at_ms: int, known_ms: int) -> Income:
    paid = income("funding", amount, at_ms)
    story.say(e.IncomeRecorded(at_ms=known_ms, income=paid))
    check_uncorrected(story)
    return paid


def publish(story: Story, at_ms: int) -> None:
    story.say(*story.book.pending_closures(at_ms))
    check_uncorrected(story)
    story.say(*story.book.trades.pending_corrections(at_ms))
    check_uncorrected(story)


def check_uncorrected(story: Story) -> None:
    """Check that the results without a late payment are found as when all are looked through."""
    trades = story.book.trades
    late = {key for key, each in trades.published.items() if each.funding != each.funding_published}
    assert set(trades.uncorrected) & set(trades.published) == late
    assert len(trades.pending_corrections(NOON)) == len(late)


def funding_of(story: Story) -> dict[str, Decimal]:
    """Return the published funding by result id, with all corrections."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for event in story.events:
        if isinstance(event, e.TradeClosed):
            found[event.trade_id] += event.funding
        elif isinstance(event, ResultCorrected):
            found[event.trade_id] += event.added
            assert found[event.trade_id] == event.funding
    return dict(found)


# --- single cases --------------------------------------------------------------------------


def test_funding_belongs_to_an_open_trade_at_once_however_long_ago_its_last_fill_was(
    story: Story,
) -> None:
    story.open(numbered(1), at_ms=NOON)
    pay(story, "-0.7", HOUR_AFTER, HOUR_AFTER)
    assert story.book.trades.open["SOLUSDT"].funding == D("-0.7")
    assert not story.book.trades.unattributed


def test_a_payment_of_the_insurance_fund_changes_the_balance_and_belongs_to_no_trade(
    story: Story,
) -> None:
    story.open(numbered(1), at_ms=NOON)
    story.say(e.IncomeRecorded(at_ms=HOUR_AFTER, income=income("insurance", "7", HOUR_AFTER)))
    assert story.book.trades.open["SOLUSDT"].funding == 0
    assert not story.book.trades.unattributed
    assert [each.amount for each in story.book.account.changes.values()] == [D("-0.5"), D(7)]


def test_funding_listed_late_belongs_to_the_trade_that_was_open_and_not_to_the_next(
    story: Story,
) -> None:
    open_and_close(story, 1, NOON, HOUR_AFTER + 500)
    story.open(numbered(2), at_ms=HOUR_AFTER + 1_000)
    pay(story, "-0.7", HOUR_AFTER, HOUR_AFTER + 60_000)
    assert story.book.trades.open["SOLUSDT"].funding == 0
    story.say(mark("10000", at_ms=HOUR_AFTER + 60_000))
    (first,) = story.book.pending_closures(HOUR_AFTER + 60_000)
    assert (first.trade_id, first.funding) == ("t1", D("-0.7"))


def test_funding_listed_after_the_result_was_published_corrects_the_result(story: Story) -> None:
    open_and_close(story, 1, NOON, HOUR_AFTER + 500)
    story.say(mark("10000", at_ms=HOUR_AFTER + 1_000))
    (first,) = story.book.pending_closures(HOUR_AFTER + 1_000)
    assert first.funding == 0
    story.say(first)
    story.open(numbered(2), at_ms=HOUR_AFTER + 2_000)
    pay(story, "-0.7", HOUR_AFTER, HOUR_AFTER + 60_000)
    (late,) = story.book.trades.pending_corrections(HOUR_AFTER + 60_001)
    assert (late.trade_id, late.added, late.funding) == ("t1", D("-0.7"), D("-0.7"))
    assert late.pnl_net == first.pnl_net - D("0.7")
    assert late.r_multiple == (late.pnl_net / 30).quantize(
        D("1e-12")
    )  # 1 R: a distance of 3 x 10 base units
    story.say(late)
    assert story.book.trades.pending_corrections(HOUR_AFTER + 60_002) == ()
    pay(story, "0.2", HOUR_AFTER, HOUR_AFTER + 90_000)
    (later,) = story.book.trades.pending_corrections(HOUR_AFTER + 90_001)
    assert later.unique_key != late.unique_key
    assert (later.added, later.funding) == (D("0.2"), D("-0.5"))
    assert story.book.trades.open["SOLUSDT"].funding == 0


def test_funding_committed_between_the_making_and_the_commit_of_a_result_corrects_it(
    story: Story,
) -> None:
    open_and_close(story, 1, NOON, NOON + 500)
    (result,) = story.book.pending_closures(NOON + 600)
    pay(story, "0.3", NOON + 400, NOON + 600)
    story.say(result)
    (correction,) = story.book.trades.pending_corrections(NOON + 700)
    assert (correction.added, correction.pnl_net) == (D("0.3"), result.pnl_net + D("0.3"))


def test_funding_listed_before_the_fill_of_its_trade_waits_for_that_fill(story: Story) -> None:
    of = numbered(1)
    story.grant(of)
    entry = story.send(intent(OrderRole.ENTRY, of))
    pay(story, "-0.7", HOUR_AFTER, HOUR_AFTER + 10)
    assert PositionBook.load(story.book.dump()) == story.book
    story.fill(entry, "100", "100", at_ms=HOUR_AFTER - 30)
    assert story.book.trades.open["SOLUSDT"].funding == D("-0.7")
    assert not story.book.trades.unattributed


def test_funding_of_an_external_position_belongs_to_no_trade_and_is_dropped(story: Story) -> None:
    pay(story, "-0.7", NOON - HOUR_MS, NOON)
    story.open(numbered(1), at_ms=NOON)
    assert story.book.trades.open["SOLUSDT"].funding == 0
    late_ms = NOON + OVERLAP_MS
    story.say(closed_cycle(late_ms), closed_cycle(late_ms + 1))
    assert not story.book.trades.unattributed


def test_each_part_of_a_reopened_trade_has_the_funding_of_its_own_time(story: Story) -> None:
    of = numbered(1)
    story.grant(of)
    entry: Intent = story.send(intent(OrderRole.ENTRY, of))
    stop = story.send(intent(OrderRole.STOP_LOSS, of))
    story.fill(entry, "40", "100", at_ms=NOON)
    story.say(order_closed(entry, OrderStatus.CANCELED, "40"))
    story.fill(stop, "40", "97", at_ms=NOON + MINUTE_MS)
    publish(story, NOON + MINUTE_MS)
    story.fill(entry, "60", "100", at_ms=NOON + 2 * MINUTE_MS)
    pay(story, "0.1", NOON + 1, NOON + 3 * MINUTE_MS)
    pay(story, "0.5", NOON + 2 * MINUTE_MS + 1, NOON + 3 * MINUTE_MS)
    story.fill(stop, "60", "97", at_ms=NOON + 4 * MINUTE_MS)
    publish(story, NOON + 4 * MINUTE_MS)
    assert funding_of(story) == {"t1": D("0.1"), "t1.2": D("0.5")}


# --- against a definition ------------------------------------------------------------------


@attrs.frozen
class Held:
    """Opening and closing time of a trade, in minutes after noon."""

    opened: int
    closed: int


@attrs.frozen
class Payment:
    amount: Decimal
    at: int  # minutes after noon
    late: int  # minutes from ``at`` until the venue lists it


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[Held], list[Payment]]:
    """Draw successive trades, some without a pause between them, and their payments."""
    held, payments, now = [], [], 0
    for _ in range(draw(st.integers(1, 5))):
        opened = now + draw(st.sampled_from([0, 1, 7]))
        now = opened + draw(st.integers(1, 30))
        held.append(Held(opened, now))
        for at in draw(st.lists(st.integers(opened + 1, now), max_size=3, unique=True)):
            amount = D(draw(st.integers(-50, 50))) / 10
            payments.append(Payment(amount, at, draw(st.sampled_from([0, 1, 5, 40, 200]))))
    return held, payments


@given(lives(), st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_the_published_funding_of_a_trade_is_the_sum_of_payments_while_it_was_open(
    history: tuple[list[Held], list[Payment]], looks: list[int]
) -> None:
    held, payments = history
    played = play(held, payments, looks)
    wanted = {f"t{n}": D(0) for n in range(len(held))}
    for payment in payments:
        (owner,) = [n for n, each in enumerate(held) if each.opened < payment.at <= each.closed]
        wanted[f"t{owner}"] += payment.amount
    assert funding_of(played) == wanted
    whole = PositionBook()
    whole.apply_all(enumerate(played.events, 1))
    assert whole.dump() == played.book.dump()
    assert PositionBook.load(whole.dump()) == played.book


@given(lives(), st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_stored_results_and_sums_of_late_payments_equal_those_of_payments_listed_at_once(
    history: tuple[list[Held], list[Payment]], looks: list[int]
) -> None:
    held, payments = history
    at_once = [attrs.evolve(payment, late=0) for payment in payments]
    assert stored(play(held, payments, looks)) == stored(play(held, at_once, [500]))


def play(held: list[Held], payments: list[Payment], looks: list[int]) -> Story:
    """Return the story of trades and payments, with results published at ``looks``.

    These are minutes after noon. All results are published at the end too.
    """
    story = Story()
    story.ready()
    steps: list[tuple[int, int, object]] = [
        *((each.opened, 3, (n, "open")) for n, each in enumerate(held)),
        *((each.closed, 1, (n, "close")) for n, each in enumerate(held)),
        *((payment.at + payment.late, 2, payment) for payment in payments),
        *((look, 0, None) for look in looks),
    ]
    stops: dict[int, Intent] = {}
    for minute, _, what in sorted(steps, key=lambda step: step[:2]):
        at_ms = NOON + minute * MINUTE_MS
        if isinstance(what, Payment):
            pay(story, str(what.amount), NOON + what.at * MINUTE_MS, at_ms)
        elif isinstance(what, tuple):
            n, happening = what
            if happening == "open":
                _, stops[n] = story.open(numbered(n), at_ms=at_ms)
            else:
                story.fill(stops[n], "100", "97", at_ms=at_ms)
        else:
            story.say(mark("10000", at_ms=at_ms))
            publish(story, at_ms)
    end_ms = NOON + 1_000 * MINUTE_MS
    story.say(mark("10000", at_ms=end_ms))
    publish(story, end_ms)
    return story


def stored(story: Story) -> object:
    with closing(database.open_writer(MEMORY)) as connection:
        JournalWriter(connection, run_number=1).append(story.events)
        return (
            [attrs.evolve(row, rowid=0) for row in by_id(connection)],
            [attrs.evolve(sums, r=round(sums.r, 9)) for sums in sums_of(connection)],
            connection.execute("SELECT * FROM trade_count ORDER BY 1, 2, 3").fetchall(),
            queries.query_totals(connection)["trades"],
        )


def by_id(connection: sqlite3.Connection) -> list[TradeRow]:
    return sorted(queries.query_trades(connection), key=lambda row: row.trade_id)


def sums_of(connection: sqlite3.Connection) -> tuple[StrategySums, ...]:
    return public_queries.strategy_sums(connection)
