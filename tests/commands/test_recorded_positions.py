"""The positions of ``kamou status`` without a run, which come from the journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal as D
from pathlib import Path

import attrs

from kamou.actors.followers import fold_hash
from kamou.core.book.events import Event, PositionAdopted, StopConfirmed
from kamou.core.book.position_book import PositionBook
from kamou.core.codes import StateReason
from kamou.core.model import Figure, Side
from kamou.data_directory.folder import DataDirectory
from kamou.runs.recorded_book import RecordedBook
from kamou.store import database, snapshots
from kamou.store.journal import JournalWriter
from tests.store import story

ONLY_THE_SNAPSHOT = StateReason.DAY_LOSS_SEVERE
Cli = Callable[..., tuple[int, str, str]]


def append(directory: DataDirectory, *events: Event) -> None:
    with closing(database.open_writer(directory.database, durable=False)) as writer:
        JournalWriter(writer, run_number=1).append(list(events))


def test_status_values_positions_at_the_marks_of_the_newest_equity_snapshot(
    cli: Cli, journalled: DataDirectory
) -> None:
    """By hand: 0.50 bought at 2,000 for fees of 0.6, with a stop at 1,970.

    At 2,024 the unrealized PnL is +12 and the net PnL 11.4; 1 R is 30 x 0.50 = 15. The position
    opened at 00:15:02.2, and the snapshot is of 02:29:02.2 of the same day.
    """
    read_at_ms = story.CYCLE_MS + 2_200 + (2 * 60 + 14) * 60_000
    mark = Figure(name="ETHUSDT", value="2024")
    confirmed = StopConfirmed(
        at_ms=story.CYCLE_MS + 3_000,
        symbol="ETHUSDT",
        client_order_id=story.STOP,
        quantity=D("0.50"),
        trigger_price=D("1970"),
    )
    read = attrs.evolve(
        story.make_equity(read_at_ms, "10011.4"), wallet_balance=D("9999.4"), marks=(mark,)
    )
    append(journalled, confirmed, read)
    book = json.loads(cli("status", "--json")[1])["book"]
    assert (book["as_of_ms"], book["equity_at_ms"]) == (read_at_ms, read_at_ms)
    assert (book["wallet_balance"], book["currency"]) == ("9999.4", "USDT")
    [held] = book["positions"]
    assert D(held["unrealized_pnl"]) == 12
    assert D(held["net_pnl"]) == D("11.4")
    assert D(held["r"]) == D("0.76")
    assert D(held["stop_distance"]) == D(54) / D(2024)
    assert (held["mark_price"], held["mark_at_ms"]) == ("2024", read_at_ms)
    assert (held["stop_confirmed"], held["unprotected_since_ms"]) == (True, None)
    (row,) = [line for line in cli("status")[1].splitlines() if "ETHUSDT" in line]
    prices = "ETHUSDT long 0.5 2,000 2,024 1,970 2.67%"
    assert " ".join(row.split()) == f"{prices} +12.00 +0.76 2 h 14 min mean reversion"


def test_status_shows_an_adopted_position_as_not_protected(
    cli: Cli, journalled: DataDirectory
) -> None:
    """No fill in the journal opened the position; only the adoption did."""
    adopted = PositionAdopted(
        at_ms=story.CYCLE_MS + 60_000,
        trade_id="a",
        symbol="BTCUSDT",
        side=Side.SHORT,
        quantity=D("3"),
        contract_size=D("1"),
        entry_price=D("40000"),
        stop_price=D("41000"),
    )
    append(journalled, adopted)
    seen = json.loads(cli("status", "--json")[1])
    held = {row["symbol"]: row for row in seen["book"]["positions"]}
    assert (held["BTCUSDT"]["quantity"], held["BTCUSDT"]["stop_price"]) == ("3", None)
    assert any("BTCUSDT short is NOT PROTECTED" in each for each in seen["troubles"])
    assert "! BTCUSDT short is NOT PROTECTED for 0 s: there is no stop" in cli("status")[1]


def test_the_recorded_book_follows_the_journal_and_starts_again_at_another_database(
    journalled: DataDirectory, tmp_path: Path
) -> None:
    recorded = RecordedBook()
    with closing(database.open_reader(journalled.database)) as reader:
        assert set(recorded.follow(reader).trades.open) == {"ETHUSDT"}
        append(journalled, *story.closing_events())
        assert not recorded.follow(reader).trades.open
    other = DataDirectory(tmp_path / "other")
    other.create()
    append(other, *story.opening_events()[:3])
    with closing(database.open_reader(other.database)) as reader:
        assert recorded.follow(reader).seq == 3


def test_the_recorded_book_starts_at_the_newest_snapshot_of_this_code(
    journalled: DataDirectory,
) -> None:
    with closing(database.open_reader(journalled.database)) as reader:
        whole = RecordedBook().follow(reader)
    marked = PositionBook.load(whole.dump())
    assert whole.trading.reason is not ONLY_THE_SNAPSHOT
    marked.trading.reason = ONLY_THE_SNAPSHOT
    with closing(database.open_writer(journalled.database, durable=False)) as writer:
        snapshots.insert_snapshot(
            writer, seq=whole.seq, at_ms=0, code=fold_hash(), state=marked.dump()
        )
    with closing(database.open_reader(journalled.database)) as reader:
        assert RecordedBook().follow(reader).trading.reason == ONLY_THE_SNAPSHOT
