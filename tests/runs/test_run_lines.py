"""Tests of the lines of `kamou run` about its start, its states and its end."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal as D
from pathlib import Path

import httpx
import pytest
import trio

from kamou.core.book import events as e
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.strategy_events import StrategyDisabled
from kamou.core.codes import Deny, StateReason
from kamou.core.day import MINUTE_MS
from kamou.core.kinds import DriftKind
from kamou.core.model import Figure, OrderRole, OrderStatus, Side, TradingState
from kamou.core.risk.limits import RiskLimits
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.errors import StoreError
from kamou.runs.account_summary import (
    describe_carry_over,
    describe_remaining_positions,
    summarize_account,
)
from kamou.runs.last_line import LastLine
from kamou.runs.recorded_book import RecordedBook
from kamou.runs.state_lines import describe_event
from kamou.runtime.leveled_lines import Level, find_level
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.small_demo import NOW_MS, WITHIN_S, serving, settings, venue
from tests.store import story

LIMITS = RiskLimits()
AT_MS = story.DAY0_MS + 40_000_000


def test_a_run_announces_its_carry_over_its_fast_forward_its_readiness_and_its_end(
    tmp_path: Path,
) -> None:
    """The first run simulates days and is halted; the second carries that over."""

    async def both() -> tuple[list[str], list[str]]:
        async with serving(settings(tmp_path)) as first:
            await first.ready()
            await first.command("halt", "news")
        async with serving(settings(tmp_path), now_ms=NOW_MS + MINUTE_MS) as second:
            await second.ready()
        return first.said, second.said

    first, second = trio.run(both)
    held = len(venue(DataDirectory(tmp_path)).positions)
    assert first[2] == "the data directory is new: nothing is carried over"
    span = "2025-12-31 12:00 UTC to 2026-01-02 12:00 UTC"
    assert first[3] == f"fast-forward begins: simulated time from {span}"
    assert first[4].startswith("fast-forward ends at 2026-01-02 1")
    assert f"{held} position" in first[4]
    (ready,) = [line for line in first if line.startswith("ready: ")]
    assert f", trading state active, data directory {tmp_path}" in ready
    assert "pages at http://127.0.0.1:" in ready
    assert ", operator at port " in ready
    assert first[-1].startswith("stopped by its caller; left at the exchange: ")
    assert f": {held} position" in first[-1]
    carried = second[2]
    assert carried.startswith("carried over from run 2, which stopped at 2026-01-02 ")
    assert "trading state reduce_only (halted by the operator: news), " in carried
    assert carried.endswith(" decisions on record")
    halted = (
        "trading state reduce_only, no new trades, set before this start: halted by the operator"
    )
    assert halted in second


@pytest.fixture
def with_position(tmp_path: Path) -> DataDirectory:
    """Make a data directory with an open long position of ETHUSDT and its stop."""
    data_dir = DataDirectory(tmp_path / "kamou-data")
    data_dir.create()
    append_events(data_dir, *story.opening_events(), stop_confirmed(story.STOP, "0.50"))
    return data_dir


def stop_confirmed(client_order_id: str, quantity: str, symbol: str = "ETHUSDT") -> e.StopConfirmed:
    """Return the event that confirms a stop of the venue."""
    return e.StopConfirmed(
        at_ms=story.CYCLE_MS + 3_000,
        symbol=symbol,
        client_order_id=client_order_id,
        quantity=D(quantity),
        trigger_price=D(1970),
    )


def cancel_stop(filled: str) -> e.OrderClosed:
    """Return the event that the stop was canceled after ``filled`` contracts."""
    return e.OrderClosed(
        at_ms=AT_MS,
        client_order_id=story.STOP,
        status=OrderStatus.CANCELED,
        filled=D(filled),
        reason="venue",
    )


ADOPTED = e.PositionAdopted(
    at_ms=AT_MS,
    trade_id="a",
    symbol="SOLUSDT",
    side=Side.LONG,
    quantity=D(100),
    contract_size=D("0.1"),
    entry_price=D(100),
    stop_price=D(97),
)


def append_events(data_dir: DataDirectory, *events: e.Event) -> None:
    with closing(database.open_writer(data_dir.database, durable=False)) as writer:
        JournalWriter(writer, run_number=1).append(list(events))


def test_the_carry_over_has_the_days_loss_the_trading_state_and_the_decisions(
    with_position: DataDirectory,
) -> None:
    mark = e.EquityRecorded(
        at_ms=AT_MS,
        equity=D(9_900),
        wallet_balance=D(9_900),
        unrealized_pnl=D(0),
        margin_used=D(0),
        open_risk=D(0),
        net_deposits=D(0),
        exit_costs=D(7),
        day_equity=D(10_000),
        day_lost=D(107),
    )
    halt = state_changed(TradingState.REDUCE_ONLY, "OPERATOR_HALT", note="news")
    append_events(with_position, mark, halt)
    with closing(database.open_reader(with_position.database)) as reader:
        totals = dict(reader.execute("SELECT name, value FROM total").fetchall())
        words = summarize_account(reader, LIMITS)
        orders = reader.execute(
            "SELECT count(*) FROM order_ WHERE closed_at_ms IS NULL"
        ).fetchone()[0]
    decisions = totals["vetoed"] + totals["refused"] + totals["permits"]
    assert decisions == 2, "one veto and one permit"
    assert words == (
        f"1 position with its stop, {orders} open order{'' if orders == 1 else 's'}, day's loss"
        " 1.07% of 4.00%, trading state reduce_only (halted by the operator: news), 2 decisions on"
        " record"
    )
    carried = describe_carry_over(with_position, LIMITS)
    assert carried is not None
    assert carried.startswith("carried over from run 1, which ended without an orderly stop: ")


def test_the_carry_over_has_the_operators_actions_after_the_last_event(
    with_position: DataDirectory,
) -> None:
    """The journal still shows positions that the flatten has closed."""
    latch = HaltLatch(with_position.latch)
    latch.set("before", "operator", 1)  # the record has it
    latch.set("storm", "operator", 1_800_000_000_000)
    latch.clear("over", "operator", 1_800_000_060_000)
    carried = describe_carry_over(with_position, LIMITS)
    assert carried is not None
    assert carried.endswith(
        "; after the journal's last event: flattened at 2027-01-15 08:00 UTC, resumed at"
        " 2027-01-15 08:01 UTC; positions are read from the exchange now"
    )


def test_a_data_directory_without_a_run_carries_nothing_over(tmp_path: Path) -> None:
    data_dir = DataDirectory(tmp_path)
    database.open_writer(data_dir.database, durable=False).close()
    assert describe_carry_over(data_dir, LIMITS) is None


def test_a_position_whose_stop_was_canceled_is_not_counted_as_protected(
    with_position: DataDirectory,
) -> None:
    assert describe_remaining_positions(with_position) == "1 position with its stop"
    target = e.IntentRecorded(
        at_ms=AT_MS, intent=story.make_intent("km" + "c" * 26, OrderRole.TAKE_PROFIT)
    )
    append_events(with_position, cancel_stop("0"), target)  # a take-profit is open, and no stop
    assert (
        describe_remaining_positions(with_position) == "1 position, not covered by a confirmed stop"
    )


def test_an_adopted_position_is_counted_as_left_at_the_exchange(
    with_position: DataDirectory,
) -> None:
    append_events(with_position, ADOPTED)
    words = "2 positions, 1 of them not covered by a confirmed stop"
    assert describe_remaining_positions(with_position) == words
    carried = describe_carry_over(with_position, LIMITS)
    assert carried is not None
    assert words in carried
    append_events(with_position, stop_confirmed("", "100", "SOLUSDT"))
    assert describe_remaining_positions(with_position) == "2 positions with their stops"


def test_a_stop_that_is_not_confirmed_protects_no_position(tmp_path: Path) -> None:
    data_dir = DataDirectory(tmp_path / "kamou-data")
    data_dir.create()
    *before, acknowledged = story.opening_events()
    assert isinstance(acknowledged, e.OrderAccepted), "no acceptance of the stop"
    append_events(data_dir, *before)
    bare = "1 position, not covered by a confirmed stop"
    assert describe_remaining_positions(data_dir) == bare
    append_events(data_dir, acknowledged, stop_confirmed(story.STOP, "0.49"))
    assert describe_remaining_positions(data_dir) == bare, "0.01 has no stop"
    append_events(data_dir, stop_confirmed(story.STOP, "0.50"))
    assert describe_remaining_positions(data_dir) == "1 position with its stop"


async def test_a_run_whose_record_was_deleted_becomes_ready(tmp_path: Path) -> None:
    async with serving(settings(tmp_path), fast_forward=False) as demo:
        url = demo.url("/readyz", operator=True)
        demo.data_dir.run_record.unlink()
        while not (ready := [line for line in demo.said if line.startswith("ready: ")]):  # noqa: ASYNC110 - said by the run
            await trio.sleep(0.02)
        async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http:
            assert (await http.get(url)).status_code == 200
    port = url.removesuffix("/readyz").rpartition(":")[2]
    assert f", operator at port {port}, trading state active, " in ready[0]


def test_the_last_line_has_the_cause_and_the_positions_left(with_position: DataDirectory) -> None:
    last_line = LastLine((said := list[str]()).append, with_position)
    last_line.announce_end(None)
    assert said == [], "a run that did not start has no last line"
    last_line.start()
    last_line.announce_signal(15)
    last_line.announce_end(None)
    assert said == [
        "an orderly stop begins: SIGTERM",
        "stopped by SIGTERM; left at the exchange: 1 position with its stop; `kamou run` on the"
        " same data directory goes on from here",
    ]
    last_line.announce_end(BaseExceptionGroup("", [StoreError("the disk is gone")]))
    assert said[-1] == (
        "ended by an error: the disk is gone; left at the exchange: 1 position with its stop"
    )
    assert find_level(said[-1]) is Level.ERROR


def test_only_orders_that_rest_are_counted_as_left_without_a_position(
    with_position: DataDirectory,
) -> None:
    append_events(with_position, *story.closing_events())  # the stop is not canceled yet
    assert describe_remaining_positions(with_position) == "no positions, 1 order without a position"
    append_events(with_position, cancel_stop("0.10"))  # it ended, and its fill is not recorded
    assert describe_remaining_positions(with_position) == "no positions"


def test_the_last_line_over_a_damaged_database_has_the_error_that_ended_the_run(
    with_position: DataDirectory,
) -> None:
    last_line = LastLine((said := list[str]()).append, with_position)
    last_line.start()
    with_position.database.write_bytes(b"no database at all" * 100)
    last_line.announce_end(StoreError("the disk is gone"))
    assert said[0].startswith(
        "ended by an error: the disk is gone; left at the exchange: not known ("
    )


def test_the_last_line_over_a_journal_that_cannot_be_folded_has_the_error_that_ended_the_run(
    with_position: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(book: RecordedBook, reader: object) -> None:
        raise AssertionError

    monkeypatch.setattr(RecordedBook, "follow", follow)
    last_line = LastLine((said := list[str]()).append, with_position)
    last_line.start()
    last_line.announce_end(StoreError("the disk is gone"))
    ended = "ended by an error: the disk is gone"
    assert said == [f"{ended}; left at the exchange: not known (AssertionError)"]


def state_changed(after: TradingState, reason: str, **figures: str) -> e.StateChanged:
    return e.StateChanged(
        at_ms=AT_MS,
        before=TradingState.ACTIVE,
        after=after,
        reason=StateReason(reason),
        figures=tuple(Figure(name=name, value=value) for name, value in figures.items()),
    )


LINES = [
    (
        state_changed(TradingState.REDUCE_ONLY, "OPERATOR_HALT", note="news"),
        "halted by the operator: news; trading state reduce_only, no new trades; before active",
        Level.WARNING,
    ),
    (
        state_changed(
            TradingState.REDUCED_SIZE,
            "DAY_LOSS_HALF",
            day_pnl="-2.10%",
            limit="4.00%",
            equity="9790.1234567",
        ),
        "size reduced by the risk governor: the day's loss reached the limit for half size (the"
        " day's loss 2.10%, limit 4.00%, equity 9,790.12); trading state reduced_size, trading at"
        " reduced size; before active",
        Level.WARNING,
    ),
    (
        state_changed(TradingState.REDUCE_ONLY, "OPERATOR_RESUME", note="over"),
        "resumed once by the operator: over; entries need one more `kamou resume`; trading state"
        " reduce_only, no new trades; before active",
        Level.WARNING,
    ),
    (
        state_changed(TradingState.REDUCE_ONLY, "RESTART_STORM"),
        "halted by the supervisor: too many restarts; trading state reduce_only, no new trades;"
        " before active",
        Level.WARNING,
    ),
    (
        state_changed(TradingState.ACTIVE, "DAY_ROLLED"),
        "resumed by the risk governor: a new day began; trading state active; before active",
        Level.INFO,
    ),
    (
        CommandRecorded(at_ms=AT_MS, reason=StateReason.OPERATOR_HALT, note="again"),
        "halted by the operator: again; the trading state stays as it was",
        Level.INFO,
    ),
    (
        CommandRecorded(
            at_ms=AT_MS,
            reason=StateReason.OPERATOR_RESUME,
            note="over",
            refusal="the day has not opened yet",
        ),
        "the operator's resume was denied, because the day has not opened yet: over; the trading"
        " state stays as it was",
        Level.WARNING,
    ),
    (
        CommandRecorded(at_ms=AT_MS, reason=StateReason.OPERATOR_RESUME, note="over"),
        "the operator asked to resume: over; the trading state stays as it was",
        Level.INFO,
    ),
    (
        StrategyDisabled(
            at_ms=AT_MS,
            strategy="oi_momentum",
            code=Deny.RATE_ENTRIES_EXCEEDED,
            figures=(Figure(name="entries", value="7"),),
        ),
        "strategy OI momentum is disabled until the operator resumes it with `kamou resume`: the"
        " strategy's entries within an hour have reached their limit (entries 7)",
        Level.WARNING,
    ),
    (
        e.DriftFound(
            at_ms=AT_MS,
            symbol="ETHUSDT",
            kind=DriftKind.QUANTITY_DIFFERS,
            figures=(Figure(name="book", value="1"), Figure(name="venue", value="2")),
        ),
        "book and exchange differ on ETHUSDT (the quantities differ: the book has 1, the exchange"
        " has 2): no entry until the difference is explained",
        Level.WARNING,
    ),
    (
        e.DriftExplained(at_ms=AT_MS, reason="book and venue agree again"),
        "book and exchange agree again",
        Level.INFO,
    ),
    (
        e.DriftExplained(at_ms=AT_MS, reason="a late fill"),
        "book and exchange agree again: a late fill",
        Level.INFO,
    ),
]


@pytest.mark.parametrize(("event", "line", "level"), LINES)
def test_each_described_event_has_its_line_and_its_level(
    event: e.Event, line: str, level: Level
) -> None:
    shown = describe_event(event)
    assert shown == line
    assert shown is not None
    assert find_level(shown) is level
