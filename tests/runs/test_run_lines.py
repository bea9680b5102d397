"""What `kamou run` says: ready, what it carried over, fast-forward, halts, goodbye."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal as D
from pathlib import Path

import httpx
import pytest
import trio
from small_demo import NOW_MS, WITHIN_S, serving, settings, venue
from store import story

from kamou.core.book import events as e
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.book.strategy_events import StrategyDisabled
from kamou.core.day import MINUTE_MS
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
from kamou.runtime.leveled_lines import Level, level_of
from kamou.store import database
from kamou.store.journal import JournalWriter

LIMITS = RiskLimits()
AT_MS = story.DAY0_MS + 40_000_000


def test_a_run_says_what_it_does_from_its_start_to_its_goodbye(tmp_path: Path) -> None:
    """Two runs: the first makes history and is halted, the second carries it over."""

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
def told(tmp_path: Path) -> DataDirectory:
    """A folder in which one long of ETHUSDT is open with its stop."""
    folder = DataDirectory(tmp_path / "kamou-data")
    folder.create()
    append(folder, *story.opening_events(), read_back(story.STOP, "0.50"))
    return folder


def read_back(client_order_id: str, quantity: str, symbol: str = "ETHUSDT") -> e.StopConfirmed:
    """A stop as the venue has it."""
    return e.StopConfirmed(
        at_ms=story.CYCLE_MS + 3_000,
        symbol=symbol,
        client_order_id=client_order_id,
        quantity=D(quantity),
        trigger_price=D(1970),
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


def append(folder: DataDirectory, *events: e.Event) -> None:
    with closing(database.open_writer(folder.database, durable=False)) as writer:
        JournalWriter(writer, run_number=1).append(list(events))


def test_what_is_carried_over_has_the_days_loss_the_state_and_the_decisions(
    told: DataDirectory,
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
    halt = e.StateChanged(
        at_ms=AT_MS,
        before=TradingState.ACTIVE,
        after=TradingState.REDUCE_ONLY,
        reason="OPERATOR_HALT",
        figures=(Figure(name="note", value="news"),),
    )
    append(told, mark, halt)
    with closing(database.open_reader(told.database)) as reader:
        totals = dict(reader.execute("SELECT name, value FROM total").fetchall())
        words = summarize_account(reader, LIMITS)
        orders = reader.execute(
            "SELECT count(*) FROM order_ WHERE closed_at_ms IS NULL"
        ).fetchone()[0]
    decisions = totals["vetoed"] + totals["refused"] + totals["permits"]
    assert decisions == 2, "the story has a veto and a permit"
    assert words == (
        f"1 position with its stop, {orders} open order{'' if orders == 1 else 's'}, day's loss"
        " 1.07% of 4.00%, trading state reduce_only (halted by the operator: news), 2 decisions on"
        " record"
    )
    carried = describe_carry_over(told, LIMITS)
    assert carried is not None
    assert carried.startswith("carried over from run 1, which ended without an orderly stop: ")


def test_what_the_operator_did_while_nothing_ran_stands_beside_what_is_carried_over(
    told: DataDirectory,
) -> None:
    """The record still shows as open what a flatten has closed."""
    latch = HaltLatch(told.latch)
    latch.set("before", "operator", 1)  # the record has it
    latch.set("storm", "operator", 1_800_000_000_000)
    latch.clear("over", "operator", 1_800_000_060_000)
    carried = describe_carry_over(told, LIMITS)
    assert carried is not None
    assert carried.endswith(
        "; since then, while nothing ran: flattened at 2027-01-15 08:00 UTC, resumed at"
        " 2027-01-15 08:01 UTC; what is open is read from the exchange now"
    )


def test_nothing_is_carried_over_from_no_run(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path)
    database.open_writer(folder.database, durable=False).close()
    assert describe_carry_over(folder, LIMITS) is None


def test_a_position_whose_stop_is_gone_is_not_counted_among_those_with_stops(
    told: DataDirectory,
) -> None:
    assert describe_remaining_positions(told) == "1 position with its stop"
    gone = e.OrderClosed(
        at_ms=AT_MS,
        client_order_id=story.STOP,
        status=OrderStatus.CANCELED,
        filled=D(0),
        reason="venue",
    )
    target = e.IntentRecorded(
        at_ms=AT_MS, intent=story.make_intent("km" + "c" * 26, OrderRole.TAKE_PROFIT)
    )
    append(told, gone, target)  # a target is open, and no stop
    assert describe_remaining_positions(told) == "1 position, not covered by a confirmed stop"


def test_an_adopted_position_is_left_at_the_exchange_as_status_shows_it(
    told: DataDirectory,
) -> None:
    append(told, ADOPTED)
    words = "2 positions, 1 of them not covered by a confirmed stop"
    assert describe_remaining_positions(told) == words
    carried = describe_carry_over(told, LIMITS)
    assert carried is not None
    assert words in carried
    append(told, read_back("", "100", "SOLUSDT"))
    assert describe_remaining_positions(told) == "2 positions with their stops"


def test_a_stop_that_was_only_intended_covers_nothing(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "kamou-data")
    folder.create()
    *before, acknowledged = story.opening_events()
    assert isinstance(acknowledged, e.OrderAccepted), "of the stop"
    append(folder, *before)
    bare = "1 position, not covered by a confirmed stop"
    assert describe_remaining_positions(folder) == bare
    append(folder, acknowledged, read_back(story.STOP, "0.49"))
    assert describe_remaining_positions(folder) == bare, "0.50 is open"
    append(folder, read_back(story.STOP, "0.50"))
    assert describe_remaining_positions(folder) == "1 position with its stop"


async def test_a_run_whose_record_is_gone_is_ready_and_goes_on(tmp_path: Path) -> None:
    async with serving(settings(tmp_path), fast_forward=False) as demo:
        url = demo.url("/readyz", operator=True)
        demo.folder.run_record.unlink()
        while not (ready := [line for line in demo.said if line.startswith("ready: ")]):  # noqa: ASYNC110 - said by the run
            await trio.sleep(0.02)
        async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as http:
            assert (await http.get(url)).status_code == 200
    port = url.removesuffix("/readyz").rpartition(":")[2]
    assert f", operator at port {port}, trading state active, " in ready[0]


def test_a_goodbye_says_why_and_what_is_left(told: DataDirectory) -> None:
    said: list[str] = []
    farewell = LastLine(said.append, told)
    farewell.announce_end(None)
    assert said == [], "a run that never listened leaves its error alone"
    farewell.start()
    farewell.announce_signal(15)
    farewell.announce_end(None)
    assert said == [
        "stopping in order: SIGTERM",
        "stopped by SIGTERM; left at the exchange: 1 position with its stop; `kamou run` on the"
        " same data directory goes on from here",
    ]
    farewell.announce_end(BaseExceptionGroup("", [StoreError("the disk is gone")]))
    assert said[-1] == (
        "ended by an error: the disk is gone; left at the exchange: 1 position with its stop"
    )
    assert level_of(said[-1]) is Level.ERROR


def test_a_goodbye_over_a_damaged_database_keeps_the_error_that_ended_the_run(
    told: DataDirectory,
) -> None:
    said: list[str] = []
    farewell = LastLine(said.append, told)
    farewell.start()
    told.database.write_bytes(b"no database at all" * 100)
    farewell.announce_end(StoreError("the disk is gone"))
    assert said[0].startswith(
        "ended by an error: the disk is gone; left at the exchange: not known ("
    )


def test_a_goodbye_over_a_journal_that_cannot_be_folded_keeps_the_error_that_ended_the_run(
    told: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(book: RecordedBook, reader: object) -> None:
        raise AssertionError

    monkeypatch.setattr(RecordedBook, "follow", follow)
    said: list[str] = []
    farewell = LastLine(said.append, told)
    farewell.start()
    farewell.announce_end(StoreError("the disk is gone"))
    assert said == [
        "ended by an error: the disk is gone; left at the exchange: not known (AssertionError)"
    ]


def changed(after: TradingState, reason: str, **figures: str) -> e.StateChanged:
    return e.StateChanged(
        at_ms=AT_MS,
        before=TradingState.ACTIVE,
        after=after,
        reason=reason,
        figures=tuple(Figure(name=name, value=value) for name, value in figures.items()),
    )


LINES = [
    (
        changed(TradingState.REDUCE_ONLY, "OPERATOR_HALT", note="news"),
        "halted by the operator: news; trading state reduce_only, no new trades; before active",
        Level.WARNING,
    ),
    (
        changed(
            TradingState.REDUCED_SIZE,
            "DAY_LOSS_HALF",
            day_pnl="-2.10%",
            limit="4.00%",
            equity="9790.1234567",
        ),
        "size reduced by the risk governor: the day's loss reached half of its limit (the day's"
        " loss 2.10%, limit 4.00%, equity 9,790.12); trading state reduced_size, trading at reduced"
        " size; before active",
        Level.WARNING,
    ),
    (
        changed(TradingState.REDUCE_ONLY, "OPERATOR_RESUME", note="over"),
        "resumed once by the operator: over; one more `kamou resume` lets it trade; trading state"
        " reduce_only, no new trades; before active",
        Level.WARNING,
    ),
    (
        changed(TradingState.REDUCE_ONLY, "RESTART_STORM"),
        "halted by the supervisor: too many restarts; trading state reduce_only, no new trades;"
        " before active",
        Level.WARNING,
    ),
    (
        changed(TradingState.ACTIVE, "DAY_ROLLED"),
        "resumed by the risk governor: a new day began; trading state active; before active",
        Level.INFO,
    ),
    (
        CommandRecorded(at_ms=AT_MS, reason="OPERATOR_HALT", note="again"),
        "halted by the operator: again; the trading state stays as it was",
        Level.INFO,
    ),
    (
        CommandRecorded(
            at_ms=AT_MS, reason="OPERATOR_RESUME", note="over", refusal="the day has not opened yet"
        ),
        "the operator's resume was refused, because the day has not opened yet: over; the trading"
        " state stays as it was",
        Level.WARNING,
    ),
    (
        CommandRecorded(at_ms=AT_MS, reason="OPERATOR_RESUME", note="over"),
        "the operator asked to resume: over; the trading state stays as it was",
        Level.INFO,
    ),
    (
        StrategyDisabled(
            at_ms=AT_MS,
            strategy="oi_momentum",
            code="RATE_ENTRIES_EXCEEDED",
            figures=(Figure(name="entries", value="7"),),
        ),
        "strategy OI momentum is disabled until the operator resumes it with `kamou resume`: the"
        " strategy entered too often within an hour (entries 7)",
        Level.WARNING,
    ),
    (
        e.DriftFound(
            at_ms=AT_MS,
            symbol="ETHUSDT",
            kind="QUANTITY_DIFFERS",
            figures=(Figure(name="book", value="1"), Figure(name="venue", value="2")),
        ),
        "book and exchange differ on ETHUSDT (the quantities differ: the book has 1, the exchange"
        " has 2): no entry until that is explained",
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
def test_each_change_of_what_may_trade_has_its_line(
    event: e.Event, line: str, level: Level
) -> None:
    told = describe_event(event)
    assert told == line
    assert told is not None
    assert level_of(told) is level
