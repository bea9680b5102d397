"""Queries of the journal on a small known history."""

from __future__ import annotations

import sqlite3
from decimal import Decimal as D
from pathlib import Path

import attrs
import pytest

from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesRefined
from kamou.core.kinds import RefinerVerdict, Tier
from kamou.core.model import Denial, Figure, OrderRole, OrderSide, OrderStatus
from kamou.store import as_of, database, public_queries, queries
from kamou.store.journal import JournalWriter
from kamou.store.projections import READ_KEPT_MS
from kamou.store.state_history import PeriodKind, query_periods
from kamou.store.trade_chains import trade_chain
from tests.store import story

AT = story.CYCLE_MS + 2_000


@pytest.fixture
def reader(connection: sqlite3.Connection, writer: JournalWriter) -> sqlite3.Connection:
    """Return a connection to a journal with the whole story."""
    writer.append(story.opening_events())
    writer.append(story.closing_events())
    return connection


def test_a_trade_chain_has_fills_orders_permit_signal_and_cycle(
    reader: sqlite3.Connection,
) -> None:
    chain = trade_chain(reader, story.SIGNAL)
    assert chain is not None
    assert chain.trade is not None
    assert (chain.trade.pnl_net, chain.trade.exit_reason) == (D("21.85"), "take_profit")
    assert chain.trade.r_multiple == pytest.approx(1.4567)
    assert [f.key for f in chain.fills] == ["ETHUSDT:1", "ETHUSDT:2", "ETHUSDT:3"]
    assert [o.role for o in chain.orders] == ["entry", "stop_loss"]
    assert chain.permit is not None
    assert chain.permit.client_order_id == story.ENTRY
    assert (chain.permit.consumed_at_ms, chain.permit.release_reason) == (AT + 20, "trade closed")
    assert chain.signal is not None
    assert chain.signal.features == (("z", -2.5), ("rsi2", 3.0))
    assert chain.cycle is not None
    assert chain.cycle.cycle_at_ms == chain.signal.cycle_at_ms == story.CYCLE_MS
    bar = (chain.signal.bar_opened_at_ms, chain.signal.bar_closed_at_ms)
    assert bar == (story.CYCLE_MS - 900_000, story.CYCLE_MS)
    assert trade_chain(reader, "nonsense") is None


def test_a_fill_without_a_client_order_id_belongs_to_the_open_trade_of_its_symbol(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    writer.append(story.opening_events())
    writer.append(story.closing_events()[:1])
    before = connection.execute("SELECT trade_id FROM fill WHERE key = 'ETHUSDT:3'").fetchone()
    assert before == (story.SIGNAL,)
    writer.append(story.closing_events()[1:])
    after = connection.execute("SELECT trade_id FROM fill WHERE key = 'ETHUSDT:3'").fetchone()
    assert after == (story.SIGNAL,)


def test_an_order_has_the_state_of_the_venues_last_report(reader: sqlite3.Connection) -> None:
    chain = trade_chain(reader, story.SIGNAL)
    assert chain is not None
    entry, stop = chain.orders
    assert (entry.status, entry.filled, entry.closed_at_ms) == ("filled", D("0.50"), AT + 220)
    assert (entry.accepted_at_ms, entry.venue_order_id) == (AT + 170, "v1")
    assert (stop.status, stop.limit_price, stop.trigger_price) == ("accepted", None, D("1970"))
    assert queries.query_open_orders(reader) == (stop,)


def open_order(connection: sqlite3.Connection) -> tuple[str, D, str]:
    (order,) = queries.query_open_orders(connection)
    return order.status, order.filled, order.reason


def test_an_order_row_has_the_state_of_its_order_and_late_events_do_not_reopen_it(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    def commit(*events: e.Event) -> tuple[str, D, str]:
        writer.append(events)
        return open_order(connection)

    entry = story.ENTRY
    planned = e.IntentRecorded(at_ms=1, intent=story.make_intent(entry, OrderRole.ENTRY))
    assert commit(planned) == ("submitted", D(0), "")
    assert commit(e.OrderUnknown(at_ms=2, client_order_id=entry, reason="time-out"))[0] == "unknown"
    assert (
        commit(e.OrderAccepted(at_ms=3, client_order_id=entry, venue_order_id="v"))[0] == "accepted"
    )
    part = story.make_fill_event(1, entry, OrderSide.BUY, "0.1", 4)
    assert commit(part)[:2] == ("partially_filled", D("0.1"))
    late = e.OrderAccepted(at_ms=5, client_order_id=entry, venue_order_id="v")
    assert commit(late)[0] == "partially_filled", "a late acceptance keeps the fill"
    assert commit(e.CancelRequested(at_ms=6, client_order_id=entry, reason="sweep"))[::2] == (
        "pending_cancel",
        "sweep",
    )
    writer.append([e.OrderRejected(at_ms=7, client_order_id=entry, code="X", reason="no")])
    assert queries.query_open_orders(connection) == ()
    writer.append([story.make_fill_event(2, entry, OrderSide.BUY, "0.4", 8)])
    writer.append([e.OrderUnknown(at_ms=9, client_order_id=entry, reason="late")])
    row = connection.execute("SELECT status, filled, reason, closed_at_ms FROM order_").fetchone()
    assert row == ("rejected", "0.1", "X: no", 7), "later events do not change a closed order"
    writer.append(
        [
            e.OrderClosed(
                at_ms=10,
                client_order_id=entry,
                status=OrderStatus.CANCELED,
                filled=D("0.5"),
                reason="ioc",
            )
        ]
    )
    row = connection.execute("SELECT status, filled, reason, closed_at_ms FROM order_").fetchone()
    assert row == ("canceled", "0.5", "ioc", 10)


def test_a_cycle_counts_the_refusals_of_each_tier(
    reader: sqlite3.Connection, writer: JournalWriter
) -> None:
    refused = CandidatesRefined(
        at_ms=AT,
        candidates=(
            story.make_refined("s2", verdict=RefinerVerdict.REFUSE, reason_code="NEWS_RISK"),
        ),
    )
    denied = e.PermitDenied(
        at_ms=9,
        permit_id="p",
        signal_id="s3",
        strategy="oi_momentum",
        symbol="ETHUSDT",
        role=OrderRole.ENTRY,
        denials=(Denial(code="TRADING_HALTED"),),
    )
    writer.append([refused, denied])
    (cycle,) = queries.query_cycles(reader)
    assert (cycle.abstained, cycle.candidates, cycle.vetoed, cycle.refused) == (218, 2, 1, 2)
    assert (cycle.positions, cycle.open_orders, cycle.drift) == (0, 1, 0)
    assert [r.tier for r in queries.query_refusals(reader)] == ["governor", "T3", "T2"]
    assert [r.tier for r in queries.query_refusals(reader, limit=1)] == ["governor"]
    (vetoed,) = queries.query_refusals(reader, symbol="BTCUSDT")
    assert vetoed.denials == (
        Denial(code="REWARD_TO_RISK_LOW", figures=(Figure(name="b", value="1.1"),)),
        Denial(code="SYMBOL_HELD"),
    )
    (refined,) = queries.query_refusals(reader, tier=Tier.REFINER, symbol="ETHUSDT")
    assert refined.denials == (Denial(code="NEWS_RISK"),)
    assert queries.query_refusals(reader, since_ms=AT + 1) == ()


def test_a_cycle_that_closes_before_it_is_ranked_is_one_row(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    ranked, closed = story.opening_events()[3], story.closing_events()[4]
    writer.append([closed])
    (alone,) = queries.query_cycles(connection)
    assert (alone.symbols, alone.open_orders) == (0, 1)
    writer.append([ranked])
    (whole,) = queries.query_cycles(connection)
    assert (whole.symbols, whole.open_orders) == (220, 1)


def test_signals_are_found_by_symbol(reader: sqlite3.Connection) -> None:
    (signal,) = queries.query_signals(reader)
    assert queries.query_signals(reader, symbol="ETHUSDT") == (signal,)
    assert queries.query_signals(reader, symbol="BTCUSDT") == ()
    assert (signal.verdict, signal.size_multiplier, signal.side) == ("off", D(1), "long")


def test_a_signal_without_a_known_cycle_has_cycle_zero(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    writer.append([story.opening_events()[5]])
    (signal,) = queries.query_signals(connection)
    assert signal.cycle_at_ms == 0


def test_a_deposit_is_no_profit_of_its_day(
    reader: sqlite3.Connection, writer: JournalWriter
) -> None:
    (first,) = public_queries.all_days(reader)
    assert (first.day, first.complete) == ("2023-11-15", True)
    assert (first.equity_start, first.equity_end) == (D("10000"), D("10521.85"))
    assert (first.net_deposits, first.change) == (D("500"), D("21.85"))
    assert first.return_ == pytest.approx(10021.85 / 10000 - 1)
    assert (first.trades, first.fees, first.funding, first.pnl) == (
        1,
        D("0.9"),
        D("-0.05"),
        D("21.85"),
    )


def test_a_trade_before_the_record_is_in_no_day_and_a_day_without_equity_has_no_return(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    writer.append([story.make_trade_close()])
    assert public_queries.all_days(connection) == ()
    for i, day in enumerate(("2023-11-16", "2023-11-17")):
        at_ms = story.DAY0_MS + (i + 1) * 86_400_000
        writer.append([e.DayOpened(at_ms=at_ms, day=day, equity=D(0))])
    (row,) = public_queries.all_days(connection)
    assert (row.return_, row.trades) == (None, 0)


def test_an_open_trade_has_the_net_quantity_of_its_fills(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    writer.append(story.opening_events())
    (trade,) = queries.query_open_trades(connection)
    assert (trade.symbol, trade.side, trade.quantity) == ("ETHUSDT", "long", D("0.50"))
    assert (trade.entry_price, trade.stop_price) == (D("2000"), D("1970"))
    assert (trade.target_price, trade.strategy) == (D("2045"), "mean_reversion")
    writer.append([story.make_fill_event(8, story.STOP, OrderSide.SELL, "0.50", AT + 300)])
    assert queries.query_open_trades(connection) == (), "its fills net to zero"


def test_a_trade_that_closed_later_is_open_as_of_an_earlier_time(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    writer.append(story.opening_events())
    (now_open,) = queries.query_open_trades(connection)
    writer.append(story.closing_events())
    assert queries.query_open_trades(connection) == ()
    close = story.make_trade_close()
    assert queries.query_open_trades(connection, as_of_ms=close.at_ms) == ()
    (trade,) = queries.query_open_trades(connection, as_of_ms=now_open.opened_at_ms + 1_000)
    assert (trade.trade_id, trade.side) == (now_open.trade_id, now_open.side)
    assert queries.query_open_trades(connection, as_of_ms=now_open.opened_at_ms - 1) == ()


def test_a_sell_fill_of_a_stop_without_a_permit_is_listed_as_an_open_short_without_a_signal(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    adopted = attrs.evolve(
        story.make_intent(story.STOP, OrderRole.STOP_LOSS), trade_id="adopted.1", quantity=D(1)
    )
    writer.append([e.IntentRecorded(at_ms=1, intent=adopted)])
    writer.append([story.make_fill_event(1, story.STOP, OrderSide.SELL, "0.50", 2)])
    (trade,) = queries.query_open_trades(connection)
    assert (trade.side, trade.stop_price, trade.strategy) == ("short", None, "")
    chain = trade_chain(connection, "adopted.1")
    assert chain is not None
    assert (chain.trade, chain.permit, chain.signal, chain.cycle) == (None, None, None, None)


def test_a_halt_has_a_start_a_reason_and_an_end(reader: sqlite3.Connection) -> None:
    (halt,) = query_periods(reader, PeriodKind.HALT, limit=9)
    at = story.CYCLE_MS + 50_006
    assert (halt.from_ms, halt.until_ms, halt.reason) == (at, at + 1_000, "OPERATOR_HALT")
    assert queries.query_state_spans(reader)[0].figures == (Figure(name="by", value="operator"),)
    newest = queries.query_state_spans(reader)[-1]
    assert (newest.state, newest.until_ms) == ("active", None)


def test_a_return_to_an_earlier_configuration_is_a_change(
    reader: sqlite3.Connection, writer: JournalWriter
) -> None:
    def run(run_number: int, digest: str, reason: str) -> e.Event:
        started = story.make_run_start(run_number, story.DAY0_MS + run_number * 86_500_000)
        return attrs.evolve(started, config_digest=digest, change_reason=reason)

    runs = [run(2, "c0ffee", ""), run(3, "b", "tried"), run(4, "b", ""), run(5, "c0ffee", "")]
    writer.append(runs)
    newest = attrs.evolve(as_of.NOW, at_ms=runs[-1].at_ms)
    found = as_of.config_changes(reader, newest, limit=9)
    listed = [(row.run_number, row.config_digest, row.change_reason) for row in found]
    assert listed == [(1, "c0ffee", "first"), (3, "b", "tried"), (5, "c0ffee", "")]
    assert queries.query_totals(reader)["configs"] == 3
    before = attrs.evolve(newest, at_ms=runs[-1].at_ms - 1)
    assert as_of.count_later_spans(reader, before)["configs"] == 1


def test_runs_are_stored_and_only_changed_configurations_are_listed(
    reader: sqlite3.Connection, writer: JournalWriter
) -> None:
    end = story.DAY0_MS + 86_500_000
    writer.append([story.make_run_start(2, end + 60_000), story.make_equity(end + 61_000, "1")])
    writer.append([story.make_run_start(3, end + 90_000)])
    runs = reader.execute("SELECT run_number, stop_reason FROM run ORDER BY run_number").fetchall()
    assert runs == [(1, "stopped"), (2, None), (3, None)]
    (first,) = as_of.config_changes(reader, as_of.NOW, limit=9)
    assert (first.config_digest, first.started_at_ms) == ("c0ffee", story.DAY0_MS)
    assert first.change_reason == "first"


def test_query_latest_returns_the_newest_of_each_kind(reader: sqlite3.Connection) -> None:
    now = queries.query_latest(reader)
    assert (
        now.head_seq
        == queries.head_seq(reader)
        == len(story.opening_events() + story.closing_events())
    )
    assert (now.mode, now.at_ms) == ("demo", story.DAY0_MS + 86_500_000)
    assert now.run is not None
    assert now.state is not None
    assert now.equity is not None
    assert now.equity.net_deposits == D("500")
    assert now.cycle is not None


def test_queries_of_an_empty_journal_return_no_rows(connection: sqlite3.Connection) -> None:
    now = queries.query_latest(connection)
    assert (now.head_seq, now.at_ms, now.mode, now.run, now.state) == (0, None, None, None, None)
    assert queries.query_equity(connection) == ()
    assert queries.query_equity(connection, points_max=5) == ()
    assert queries.query_counts(connection).events == 0


def test_query_counts_returns_the_totals_of_the_story(reader: sqlite3.Connection) -> None:
    assert attrs.asdict(queries.query_counts(reader)) == {
        "events": 27,
        "cycles": 1,
        "candidates": 2,
        "abstained": 218,
        "vetoed": 1,
        "refused": 0,
        "permits": 1,
        "orders": 2,
        "fills": 3,
        "trades": 1,
    }


@pytest.mark.parametrize("points_max", [1, 2, 7, 99, 100, 500])
def test_a_thinned_curve_keeps_the_newest_snapshot_and_at_most_points_max(
    connection: sqlite3.Connection, writer: JournalWriter, points_max: int
) -> None:
    writer.append([story.make_equity(1_000 + n * n, str(n)) for n in range(100)])
    whole = queries.query_equity(connection)
    thin = queries.query_equity(connection, points_max=points_max)
    assert len(whole) == 100
    assert 1 <= len(thin) <= points_max
    assert thin[-1] == whole[-1]
    assert [p for p in whole if p in thin] == list(thin)
    assert len(queries.query_equity(connection, since_ms=1_000, until_ms=1_016)) == 5


def test_equal_histories_have_equal_digests_and_changed_ones_have_others(tmp_path: Path) -> None:
    def digest(name: str, run_number: int, history: list[e.Event]) -> str:
        made = database.open_writer(tmp_path / name)
        JournalWriter(made, run_number=run_number).append(history)
        found = queries.journal_digest(made)
        made.close()
        return found

    one = digest("a", 1, story.opening_events())
    assert one == digest("b", 2, story.opening_events())
    assert one != digest("c", 1, story.opening_events()[:-1])
    swapped = [*story.opening_events()[1:], story.opening_events()[0]]
    assert one != digest("d", 1, swapped)


def test_after_a_week_only_signals_with_a_permit_are_kept(
    reader: sqlite3.Connection, writer: JournalWriter
) -> None:
    (kept,) = queries.query_signals(reader)
    writer.append(
        [CandidatesRefined(at_ms=AT, candidates=(story.make_refined("lone", symbol="BTCUSDT"),))]
    )
    assert {s.signal_id for s in queries.query_signals(reader)} == {kept.signal_id, "lone"}
    assert queries.query_refusals(reader)
    counted = queries.query_counts(reader)
    week_later_ms = AT + READ_KEPT_MS + 900_000
    writer.append([e.DayOpened(at_ms=week_later_ms, day="2030-01-01", equity=D(1))])
    assert queries.query_signals(reader) == (kept,)
    assert queries.query_refusals(reader) == ()
    assert queries.query_counts(reader).refused == counted.refused
    assert reader.execute(
        "SELECT count(*) FROM event WHERE kind = 'candidates_refined'"
    ).fetchone()[0]
