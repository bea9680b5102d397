"""Daily rows, months, totals and the curve equal their definitions."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal as D
from functools import cache
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings

from kamou.core.book import events as e
from kamou.data_directory.folder import MEMORY
from kamou.store import database, day_rows, public_queries, queries
from kamou.store.journal import JournalWriter
from kamou.store.projected_curve import POINTS_MAX
from kamou.store.record_rows import DayRow
from tests.store import random_record as by_definition
from tests.store import story

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
examples = settings(
    max_examples=2_000 if LONG else 150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@cache
def empty_database() -> sqlite3.Connection:
    return database.open_writer(MEMORY)


@contextmanager
def journal_of(*parts: Sequence[e.Event]) -> Iterator[sqlite3.Connection]:
    """Yield a database with these events, committed part by part."""
    with closing(sqlite3.connect(MEMORY, isolation_level=None)) as connection:
        empty_database().backup(connection)
        writer = JournalWriter(connection, run_number=1)
        for part in parts:
            writer.append(part)
        yield connection


def comparable_fields(row: DayRow) -> dict[str, Any]:
    values = attrs.asdict(row)
    values.pop("start_ms"), values.pop("end_ms")
    return values


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    found, expected = dict(found), dict(expected)
    returned, wanted = found.pop("return_"), expected.pop("return_")
    assert found == expected
    assert (returned is None) == (wanted is None)
    if wanted is not None:
        assert returned == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(by_definition.histories())
@examples
def test_every_daily_row_is_the_sum_of_the_events_of_its_days(events: list[e.Event]) -> None:
    with journal_of(events) as connection:
        found = [comparable_fields(row) for row in public_queries.all_days(connection)]
        expected = by_definition.rows(events)
        assert [row["day"] for row in found] == [row["day"] for row in expected]
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


@given(by_definition.histories())
@examples
def test_the_open_row_ends_at_the_newest_equity_and_all_rows_add_up_to_the_record(
    events: list[e.Event],
) -> None:
    with journal_of(events) as connection:
        now = day_rows.add_up_open_row(connection)
        ended = public_queries.all_days(connection)
        assert now is not None
        boundary = by_definition.boundaries(events)[-1]
        marks = by_definition.marks(events)
        at = max(marks)
        raw = next(
            x.equity
            for x in reversed(events)
            if isinstance(x, e.EquityRecorded | e.DayOpened) and x.at_ms == boundary.read
        )
        read, equity = (at, marks[at]) if at >= boundary.read else (boundary.read, raw)
        if boundary.exact:  # the newest snapshot, or midnight if there is none since
            read, equity = (at, marks[at]) if at >= boundary.at else (boundary.at, boundary.equity)
        first = boundary.at if boundary.exact and at < boundary.at else read + 1
        end = by_definition.Boundary(read, first, read, equity, False)
        expected = by_definition.row(events, boundary, end) | {"complete": False}
        # The read that ends a day comes some seconds after midnight; until then the day is open.
        expected["last_day"] = by_definition.day_of(
            max(boundary.at, read - by_definition.IN_TIME - 1)
        )
        assert_same(comparable_fields(now), expected)
        rows = (*ended, now)
        change = sum((row.change for row in rows), D(0))
        net_deposits = sum((row.net_deposits for row in rows), D(0))
        assert change == now.equity_end - rows[0].equity_start - net_deposits
        for one, other in itertools.pairwise(rows):
            assert (one.equity_end, one.end_ms) == (other.equity_start, other.start_ms)


@given(by_definition.histories())
@examples
def test_a_month_is_the_sum_of_the_rows_that_ended_in_it(events: list[e.Event]) -> None:
    with journal_of(events) as connection:
        rows = by_definition.rows(events)
        months: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            months[row["last_day"][:7]].append(row)
        found = {month.month: month for month in public_queries.query_months(connection, limit=99)}
        assert set(found) == set(months)
        for name, inside in months.items():
            month = found[name]
            for field in ("net_deposits", "trades", "fees", "funding"):
                assert getattr(month, field) == sum(row[field] for row in inside)
            growth: float | None = 1.0
            for row in inside:
                own = row["return_"]
                growth = None if growth is None or own is None else growth * (1 + own)
            if growth is None:
                assert month.return_ is None
            else:
                assert month.return_ == pytest.approx(growth - 1, rel=1e-9, abs=1e-9)
            assert month.change == inside[-1]["equity_end"] - inside[0]["equity_start"] - sum(
                row["net_deposits"] for row in inside
            )
            whole = [row["return_"] for row in inside if row["complete"]]
            assert month.complete == len(whole)
            assert month.gaining == sum(1 for own in whole if own is not None and own > 0)
            assert month.losing == sum(1 for own in whole if own is not None and own < 0)


@given(by_definition.histories())
@examples
def test_totals_and_sums_by_strategy_count_all_trades(events: list[e.Event]) -> None:
    with journal_of(events) as connection:
        trades = [x for x in events if isinstance(x, e.TradeClosed)]
        counts = queries.query_counts(connection)
        assert (counts.trades, counts.events) == (len(trades), len(events))
        assert counts.fills == sum(isinstance(x, e.FillRecorded) for x in events)
        found = {sums.strategy: sums for sums in public_queries.strategy_sums(connection)}
        assert set(found) == {trade.strategy for trade in trades}
        for name, sums in found.items():
            own = [trade for trade in trades if trade.strategy == name]
            won = [trade for trade in own if trade.pnl_net > 0]
            assert (sums.trades, sums.wins) == (len(own), len(won))
            assert sums.pnl_net == sum(trade.pnl_net for trade in own)
            assert sums.profit == sum((trade.pnl_net for trade in won), D(0))
            assert sums.loss == sums.profit - sums.pnl_net
            planned = [trade.r_multiple for trade in own if trade.r_multiple is not None]
            assert sums.r == pytest.approx(float(sum(planned)))
            assert sums.with_r == len(planned)
            lost = [trade for trade in own if trade not in won]
            of = queries.TradeOutcome
            for outcome, kept in ((of.WIN, won), (of.LOSS, lost)):
                assert queries.count_trades(
                    connection, queries.TradeFilter(strategy=name, outcome=outcome)
                ) == len(kept)
        daily = public_queries.complete_strategy_days(connection)
        whole = {row["day"] for row in by_definition.rows(events) if row["complete"]}
        by_day = {(day, name): (n, r, with_r) for day, name, n, _, r, with_r, _, _ in daily}
        wanted: dict[tuple[str, str], list[e.TradeClosed]] = {}
        for trade in trades:
            day = by_definition.day_of(trade.closed_at_ms)
            if day in whole:
                wanted.setdefault((day, trade.strategy), []).append(trade)
        assert set(by_day) == set(wanted)
        for key, closed in wanted.items():
            planned = [trade.r_multiple for trade in closed if trade.r_multiple is not None]
            number, r, with_r = by_day[key]
            assert (number, with_r) == (len(closed), len(planned))
            assert r == pytest.approx(float(sum(planned)))


@given(by_definition.histories())
@examples
def test_the_curve_keeps_last_lowest_and_highest_equity_of_intervals_and_sums_transfers(
    events: list[e.Event],
) -> None:
    with journal_of(events) as connection:
        curve = public_queries.query_curve(connection)
        marks = by_definition.marks(events)
        stretches: dict[int, list[int]] = {}
        for at in sorted(marks):
            stretches.setdefault(at // curve.width_ms, []).append(at)
        assert len(curve.points) == len(stretches) <= POINTS_MAX
        for point, inside in zip(curve.points, stretches.values(), strict=True):
            assert (point.at_ms, point.equity) == (inside[-1], marks[inside[-1]])
            assert point.low == min(marks[at] for at in inside)
            assert point.high == max(marks[at] for at in inside)
        net_deposits = [mark for mark in curve.marks if mark.kind == "transfer"]
        first = next(event.at_ms for event in events if isinstance(event, e.EquityRecorded))
        moved = [
            amount
            for at, amount in by_definition.incomes(events, "transfer")
            if at > first or (at == first and at % by_definition.DAY == 0)
        ]
        assert sum((mark.amount for mark in net_deposits), D(0)) == sum(moved, D(0))
        assert curve.points[0].at_ms >= min(marks)


@given(by_definition.histories())
@examples
def test_the_order_of_late_fills_payments_and_closed_trades_changes_no_daily_row(
    events: list[e.Event],
) -> None:
    entries = (e.IncomeRecorded, e.FillRecorded, e.TradeClosed)
    late = [x for x in events if isinstance(x, entries)]
    reads = [x for x in events if not isinstance(x, entries)]
    with (
        journal_of(events) as one,
        journal_of(reads, late) as other,
        journal_of(reads, late[::-1]) as third,
    ):
        found = [public_queries.all_days(each) for each in (one, other, third)]
        assert found[0] == found[1] == found[2]
        assert (
            len({str(public_queries.query_months(each, limit=9)) for each in (one, other, third)})
            == 1
        )


# --- single days -----------------------------------------------------------------------------


def make_day_opened(day: int, equity: str, after_ms: int = 6_000) -> e.DayOpened:
    at_ms = story.DAY0_MS + day * by_definition.DAY + after_ms
    return e.DayOpened(at_ms=at_ms, day=by_definition.day_of(at_ms), equity=D(equity))


def test_a_transfer_at_midnight_belongs_to_the_day_that_begins() -> None:
    midnight = story.DAY0_MS + by_definition.DAY
    history = [
        story.make_equity(story.DAY0_MS, "10000"),
        make_day_opened(0, "10000"),
        story.make_transfer(midnight, "1000"),
        make_day_opened(1, "11000"),
        make_day_opened(2, "11110"),
    ]
    with journal_of(history) as connection:
        first, second = public_queries.all_days(connection)
    assert (first.equity_end, first.net_deposits, first.return_) == (D("10000"), D(0), 0.0)
    assert (second.equity_start, second.net_deposits, second.change) == (
        D("10000"),
        D(1000),
        D(110),
    )


def test_the_return_of_a_day_counts_a_deposit_of_its_first_millisecond_from_the_start() -> None:
    """10,900 grew by 100 to 11,000, which is 0.92 %; of 9,900 it would be 1.01 %."""
    midnight = story.DAY0_MS + by_definition.DAY
    start = attrs.evolve(make_day_opened(1, "10900"), opening=D(9_900), midnight_at_ms=midnight)
    history = [
        story.make_equity(story.DAY0_MS, "10000"),
        make_day_opened(0, "10000"),
        story.make_transfer(midnight, "1000"),
        start,
        story.make_equity(midnight + 300_000, "11000"),
        make_day_opened(2, "11000"),
    ]
    with journal_of(history) as connection:
        _, second = public_queries.all_days(connection)
    assert (second.equity_start, second.net_deposits, second.change) == (D(9_900), D(1000), D(100))
    assert second.return_ == pytest.approx(11_000 / 10_900 - 1)


def test_the_first_equity_includes_a_transfer_of_the_same_time() -> None:
    begin = story.DAY0_MS + 3_600_000
    history = [
        story.make_equity(begin, "10000"),
        story.make_transfer(begin, "10000"),
        story.make_transfer(begin + 1, "500"),
        make_day_opened(1, "10500"),
    ]
    with journal_of(history) as connection:
        (part,) = public_queries.all_days(connection)
    assert (part.complete, part.net_deposits, part.change) == (False, D(500), D(0))


def test_a_day_whose_midnight_was_missed_is_one_row_with_the_day_before() -> None:
    history = [
        story.make_equity(story.DAY0_MS, "10000"),
        make_day_opened(0, "10000"),
        make_day_opened(1, "9900", after_ms=21_900_000),  # started at 06:05
        make_day_opened(2, "9850"),
        make_day_opened(3, "9860"),
    ]
    with journal_of(history) as connection:
        gap, whole = public_queries.all_days(connection)
    assert (gap.day, gap.last_day, gap.complete) == ("2023-11-15", "2023-11-16", False)
    assert (gap.separable, gap.change) == (False, D(-150))
    assert (whole.day, whole.complete) == ("2023-11-17", True)


def test_a_late_transfer_corrects_its_day_and_raises_the_day_revision() -> None:
    history = [
        story.make_equity(story.DAY0_MS, "10000"),
        *(make_day_opened(n, "10000") for n in range(4)),
    ]
    with journal_of(history) as connection:
        before = public_queries.all_days(connection)
        revision = queries.query_totals(connection)["day_revision"]
        transfer_at_ms = story.DAY0_MS + by_definition.DAY + 5_000_000
        JournalWriter(connection, run_number=1).append([story.make_transfer(transfer_at_ms, "-40")])
        after = public_queries.all_days(connection)
        assert queries.query_totals(connection)["day_revision"] == revision + 1
    assert (after[0], after[2]) == (before[0], before[2])
    assert (after[1].net_deposits, after[1].change) == (D(-40), D(40))


def test_a_day_without_events_is_complete_with_a_return_of_zero() -> None:
    history = [
        story.make_equity(story.DAY0_MS, "10000"),
        *(make_day_opened(n, "10000") for n in range(3)),
    ]
    with journal_of(history) as connection:
        for row in public_queries.all_days(connection):
            assert (row.complete, row.return_, row.trades, row.change) == (True, 0.0, 0, D(0))
