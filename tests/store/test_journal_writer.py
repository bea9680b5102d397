"""The writer: all or none, never twice, in order; snapshots, details, generations."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import story
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core import model as some_module
from kamou.core.book import events as e
from kamou.errors import DiskFullError, DuplicateEventError, StoreError
from kamou.store import database, queries, snapshots
from kamou.store.journal import (
    DETAILS_KEPT,
    JournalWriter,
    encode_event,
    next_run_number,
    read_events,
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = database.open_writer(tmp_path / "kamou.sqlite3")
    yield made
    made.close()


@pytest.fixture
def writer(connection: sqlite3.Connection) -> JournalWriter:
    return JournalWriter(connection, run_number=1)


def day(number: int) -> e.DayOpened:
    return e.DayOpened(at_ms=number, day=f"2023-11-{number:02}", equity=Decimal(number))


def lost(number: int) -> e.ProtectionLost:
    return e.ProtectionLost(at_ms=number, symbol="ETHUSDT", reason="test")


def test_what_was_appended_is_read_back_in_order_without_gaps(writer: JournalWriter) -> None:
    history = story.opening() + story.closing()
    first = writer.append(history[:5])
    rest = writer.append(history[5:])
    assert [c.seq for c in (*first, *rest)] == list(range(1, len(history) + 1))
    assert writer.head_seq == len(history)
    assert writer.read(0) == [*first, *rest]
    assert [c.event for c in writer.read(0)] == history
    assert [c.seq for c in writer.read(3, limit=2)] == [4, 5]


def test_nothing_appended_is_nothing_written(writer: JournalWriter) -> None:
    assert writer.append([]) == ()
    assert writer.head_seq == 0


@pytest.mark.parametrize("batch", [[lost(1), day(1)], [day(2), lost(1), day(2)]])
def test_a_deed_done_twice_rolls_the_whole_batch_back(
    writer: JournalWriter, batch: list[e.Event]
) -> None:
    writer.append([day(1)])
    with pytest.raises(DuplicateEventError) as refused:
        writer.append(batch)
    assert (refused.value.kind, refused.value.key[:8]) == ("day_opened", "2023-11-")
    assert [c.event for c in writer.read(0)] == [day(1)]
    assert writer.append([lost(9)])[0].seq == 2


def test_only_the_new_part_of_a_batch_is_told_apart(writer: JournalWriter) -> None:
    writer.append([day(1)])
    batch = [encode_event(event) for event in (day(1), day(2), lost(1), day(2), lost(1))]
    assert [row.event for row in writer.drop_duplicates(batch)] == [day(2), lost(1), lost(1)]


def test_a_full_disk_loses_nothing_and_the_same_writer_goes_on(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    writer.append([day(1)])
    connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the present size instead
    with pytest.raises(DiskFullError):
        writer.append([lost(n) for n in range(3_000)])
    assert not connection.in_transaction
    assert [c.event for c in writer.read(0)] == [day(1)]
    connection.execute("PRAGMA max_page_count = 1000000")
    assert writer.append([day(2)])[0].seq == 2


def test_a_projection_that_fails_takes_its_event_back(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    connection.execute("DROP TABLE equity")
    with pytest.raises(StoreError, match="equity"):
        writer.append([day(1), story.marked(1, "1")])
    assert writer.read(0) == []


def test_a_second_writer_of_the_same_journal_is_refused(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    JournalWriter(connection, run_number=1).append([lost(1)])
    with pytest.raises(StoreError, match=r"event\.seq"):
        writer.append([lost(2)])
    writer.recover()
    assert writer.append([lost(2)])[0].seq == 2


def test_recovery_drops_what_was_half_done(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO event VALUES (1, 1, 0, 'x', NULL, '', 1, x'00')")
    writer.recover()
    assert writer.head_seq == 0
    assert writer.append([lost(1)])[0].seq == 1


def test_an_event_that_this_version_cannot_read_is_named(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO event VALUES (1, 1, 0, 'odd', NULL, '', 1, x'7b7d')")
    with pytest.raises(StoreError, match="event 1 is odd of schema 1"):
        read_events(connection, 0)
    connection.execute("INSERT INTO event VALUES (2, 1, 0, 'day_opened', '', '', 9, x'7b7d')")
    with pytest.raises(StoreError, match="event 2 is day_opened of schema 9"):
        read_events(connection, 1)


def test_each_run_gets_a_number_that_no_run_had(connection: sqlite3.Connection) -> None:
    assert next_run_number(connection) == 1
    JournalWriter(connection, run_number=4).append([lost(1)])  # it never got to say RunStarted
    assert next_run_number(connection) == 5
    JournalWriter(connection, run_number=5).append([story.started(7, 0)])
    assert next_run_number(connection) == 8


def test_a_snapshot_is_loaded_by_the_code_that_made_it_only(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    writer.append([lost(1), lost(2), lost(3)])
    for seq in (1, 2, 3):
        writer.save_snapshot(seq=seq, at_ms=seq, code="a", state=b"%d" % seq)
    assert snapshots.load_snapshot(connection, code="b", seq_max=3) is None
    found = snapshots.load_snapshot(connection, code="a", seq_max=3)
    assert found == snapshots.BookSnapshot(seq=3, state=b"3")
    assert snapshots.load_snapshot(connection, code="a", seq_max=2) == snapshots.BookSnapshot(
        seq=2, state=b"2"
    )
    assert snapshots.load_snapshot(connection, code="a", seq_max=1) is None, (
        "only the newest two are kept"
    )


def test_a_snapshot_that_does_not_verify_is_passed_over(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    writer.append([lost(1), lost(2)])
    for seq in (1, 2):
        writer.save_snapshot(seq=seq, at_ms=seq, code="a", state=b"state")
    connection.execute("UPDATE snapshot SET state = x'00' WHERE seq = 2")
    found = snapshots.load_snapshot(connection, code="a", seq_max=9)
    assert found == snapshots.BookSnapshot(seq=1, state=b"state")
    connection.execute("DELETE FROM snapshot")
    assert snapshots.load_snapshot(connection, code="a", seq_max=9) is None


def test_a_snapshot_of_events_to_come_is_a_bug(writer: JournalWriter) -> None:
    with pytest.raises(AssertionError):
        writer.save_snapshot(seq=1, at_ms=1, code="a", state=b"")


def test_the_code_hash_follows_the_source() -> None:
    one = snapshots.code_hash([e])
    assert one == snapshots.code_hash([e]) != snapshots.code_hash([e, some_module])


def test_only_the_newest_cycles_keep_their_details(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    for cycle_at_ms in range(DETAILS_KEPT + 5):
        writer.append_encoded([], [(cycle_at_ms, b"%d" % cycle_at_ms)])
    kept = queries.query_scan_details(connection, limit=1_000)
    assert [cycle_at_ms for cycle_at_ms, _ in kept] == list(range(DETAILS_KEPT + 4, 4, -1))
    assert kept[0][1] == b"%d" % kept[0][0]


def test_a_meta_value_is_set_and_read(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    query = "SELECT value FROM meta WHERE key = 'mode'"
    assert connection.execute(query).fetchall() == []
    writer.set_meta("mode", "paper")
    writer.set_meta("mode", "demo")
    assert connection.execute(query).fetchall() == [("demo",)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), max_size=8))
def test_every_batch_is_wholly_in_or_wholly_out(batches: list[list[int]]) -> None:
    connection = database.open_writer(":memory:")
    writer = JournalWriter(connection, run_number=1)
    expected: list[int] = []
    for batch in batches:
        fresh = len(set(batch)) == len(batch) and not set(batch) & set(expected)
        try:
            writer.append([day(n) for n in batch])
        except DuplicateEventError:
            assert not fresh
        else:
            assert fresh
            expected += batch
    assert [c.event for c in writer.read(0)] == [day(n) for n in expected]
    assert [c.seq for c in writer.read(0)] == list(range(1, len(expected) + 1))
    connection.close()
