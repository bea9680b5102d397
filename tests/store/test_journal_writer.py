"""The journal's writer: atomic batches, duplicates, order, snapshots, run numbers."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kamou.core import model as some_module
from kamou.core.book import events as e
from kamou.core.codes import StateReason
from kamou.core.model import TradingState
from kamou.errors import DiskFullError, DuplicateEventError, StoreError
from kamou.messages.codec import encode
from kamou.store import database, queries, snapshots
from kamou.store.journal import (
    DETAILS_KEPT,
    JournalWriter,
    encode_event,
    next_run_number,
    read_events,
)
from tests.store import story
from tests.store.story import day, lost


def test_appended_events_are_read_in_order_and_numbered_without_gaps(writer: JournalWriter) -> None:
    history = story.opening_events() + story.closing_events()
    first = writer.append(history[:5])
    rest = writer.append(history[5:])
    assert [c.seq for c in (*first, *rest)] == list(range(1, len(history) + 1))
    assert writer.head_seq == len(history)
    assert writer.read(0) == [*first, *rest]
    assert [c.event for c in writer.read(0)] == history
    assert [c.seq for c in writer.read(3, limit=2)] == [4, 5]


def test_an_empty_batch_writes_no_event(writer: JournalWriter) -> None:
    assert writer.append([]) == ()
    assert writer.head_seq == 0


@pytest.mark.parametrize("batch", [[lost(1), day(1)], [day(2), lost(1), day(2)]])
def test_a_duplicate_event_rolls_the_whole_batch_back(
    writer: JournalWriter, batch: list[e.Event]
) -> None:
    writer.append([day(1)])
    with pytest.raises(DuplicateEventError) as error:
        writer.append(batch)
    assert (error.value.kind, error.value.key[:8]) == ("day_opened", "2023-11-")
    assert [c.event for c in writer.read(0)] == [day(1)]
    assert writer.append([lost(9)])[0].seq == 2


def test_drop_duplicates_drops_events_with_a_committed_or_repeated_key(
    writer: JournalWriter,
) -> None:
    writer.append([day(1)])
    batch = [encode_event(event) for event in (day(1), day(2), lost(1), day(2), lost(1))]
    assert [row.event for row in writer.drop_duplicates(batch)] == [day(2), lost(1), lost(1)]


def test_a_writer_continues_after_a_full_disk_and_loses_no_committed_event(
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


def test_a_failed_projection_rolls_its_event_back(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    connection.execute("DROP TABLE equity")
    with pytest.raises(StoreError, match="equity"):
        writer.append([day(1), story.make_equity(1, "1")])
    assert writer.read(0) == []


def test_a_writer_fails_after_another_writer_has_appended_until_it_recovers(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    JournalWriter(connection, run_number=1).append([lost(1)])
    with pytest.raises(StoreError, match=r"event\.seq"):
        writer.append([lost(2)])
    writer.recover()
    assert writer.append([lost(2)])[0].seq == 2


def test_recovery_rolls_an_open_transaction_back(
    connection: sqlite3.Connection, writer: JournalWriter
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO event VALUES (1, 1, 0, 'x', NULL, '', 1, x'00')")
    writer.recover()
    assert writer.head_seq == 0
    assert writer.append([lost(1)])[0].seq == 1


def test_the_error_for_an_unreadable_event_names_its_kind_and_schema(
    connection: sqlite3.Connection,
) -> None:
    connection.execute("INSERT INTO event VALUES (1, 1, 0, 'odd', NULL, '', 1, x'7b7d')")
    with pytest.raises(StoreError, match="event 1 is odd of schema 1"):
        read_events(connection, 0)
    connection.execute("INSERT INTO event VALUES (2, 1, 0, 'day_opened', '', '', 9, x'7b7d')")
    with pytest.raises(StoreError, match="event 2 is day_opened of schema 9"):
        read_events(connection, 1)


def test_the_error_for_a_text_that_an_enum_does_not_have_names_the_event_and_what_to_do(
    connection: sqlite3.Connection,
) -> None:
    states = (TradingState.ACTIVE, TradingState.REDUCE_ONLY)
    halt = StateReason.OPERATOR_HALT
    event = e.StateChanged(at_ms=1, before=states[0], after=states[1], reason=halt)
    body = encode(event).replace(b"reduce_only", b"odd_state")
    connection.execute(
        "INSERT INTO event VALUES (1, 1, 0, 'state_changed', NULL, '', 1, ?)", (body,)
    )
    with pytest.raises(
        StoreError, match=r"^event 1 \(state_changed\): .*odd_state.*; use the Kamou"
    ):
        read_events(connection, 0)


def test_the_next_run_number_is_above_all_others(connection: sqlite3.Connection) -> None:
    assert next_run_number(connection) == 1
    JournalWriter(connection, run_number=4).append([lost(1)])  # a run without RunStarted
    assert next_run_number(connection) == 5
    JournalWriter(connection, run_number=5).append([story.make_run_start(7, 0)])
    assert next_run_number(connection) == 8


def test_a_snapshot_of_other_code_is_not_loaded_and_only_the_newest_two_are_kept(
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


def test_a_snapshot_with_a_wrong_hash_is_not_loaded(
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


def test_a_snapshot_of_uncommitted_events_is_an_assertion_error(writer: JournalWriter) -> None:
    with pytest.raises(AssertionError):
        writer.save_snapshot(seq=1, at_ms=1, code="a", state=b"")


def test_the_code_hash_is_repeatable_and_depends_on_the_modules() -> None:
    one = snapshots.code_hash([e])
    assert one == snapshots.code_hash([e]) != snapshots.code_hash([e, some_module])


def test_only_the_newest_cycles_keep_their_scan_details(
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


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), max_size=8))
def test_every_batch_is_committed_completely_or_not_at_all(batches: list[list[int]]) -> None:
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
