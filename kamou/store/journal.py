"""Encoding, committing and reading of the journal's events, and its run numbers.

The writer commits events together with their projections. One ``append`` is one transaction: it
commits all of its events, or none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from kamou.core.book.events import Event
from kamou.errors import DuplicateEventError, StoreError, UnreadableRecordError
from kamou.messages.codec import EVENT_OF_KIND, KINDS, decode, encode
from kamou.store import snapshots
from kamou.store.database import storage_errors
from kamou.store.projections import project_events

DETAILS_KEPT = 60  # cycles whose per-symbol reasons `kamou why` can read: 5 h of 300 s each

_INSERT = (
    "INSERT INTO event (seq, run_number, at_ms, kind, key, cause_id, schema, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


class Committed(NamedTuple):
    """A committed event with its sequence number and run number.

    ``seq`` counts from 1 without gaps.
    """

    seq: int
    run_number: int
    event: Event


class Encoded(NamedTuple):
    """An event with its kind, its unique key (or None) and its canonical encoding."""

    event: Event
    kind: str
    key: str | None
    body: bytes


def encode_event(event: Event) -> Encoded:
    """Encode an event for the journal.

    The sender of the event calls this, so that an invalid event fails its sender.

    Raises:
        ValueError, TypeError: as ``codec.encode``: a number that is not finite, or a type without
            an encoding.
    """
    return Encoded(event, KINDS[type(event)], event.unique_key, encode(event))


def next_run_number(connection: sqlite3.Connection) -> int:
    """Return the number of the next run: one more than the highest in the database."""
    row = connection.execute(
        "SELECT max(coalesce((SELECT max(run_number) FROM run), 0),"
        " coalesce((SELECT run_number FROM event ORDER BY seq DESC LIMIT 1), 0))"
    ).fetchone()
    return int(row[0]) + 1


def read_events(
    connection: sqlite3.Connection, after_seq: int, limit: int | None = None
) -> list[Committed]:
    """Return the committed events with ``seq > after_seq``, oldest first, decoded.

    Raises:
        StoreError: this version cannot read the kind, the schema or the body of an event.
    """
    rows = connection.execute(
        "SELECT seq, run_number, kind, schema, body FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
        (after_seq, -1 if limit is None else limit),
    ).fetchall()
    found = []
    for seq, run_number, kind, schema, body in rows:
        cls = EVENT_OF_KIND.get(kind)
        if cls is None or cls.schema != schema:
            raise StoreError(
                f"event {seq} is {kind} of schema {schema}, which this Kamou cannot read; use the "
                "Kamou that wrote it, or another --data-dir"
            )
        try:
            event = decode(cls, body)
        except ValueError as error:
            raise UnreadableRecordError(f"event {seq} ({kind})", error) from error
        found.append(Committed(seq, run_number, event))
    return found


class JournalWriter:
    """The only writer of a database, over a connection of ``database.open_writer``.

    ``run_number`` is stored with each event. Only one thread at a time may use the writer.
    """

    def __init__(self, connection: sqlite3.Connection, *, run_number: int) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self.run_number = run_number
        row = connection.execute("PRAGMA database_list").fetchone()
        self._path = row[2] or ":memory:"
        self._head_seq = 0
        self.recover()

    @property
    def head_seq(self) -> int:
        """Return the sequence number of the newest committed event; 0 if there is none."""
        return self._head_seq

    def recover(self) -> None:
        """Roll back an open transaction and read the newest sequence number."""
        if self._connection.in_transaction:
            self._connection.rollback()
        row = self._connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
        self._head_seq = int(row[0])

    def append(self, events: Sequence[Event]) -> tuple[Committed, ...]:
        """Commit these events, in order, with their projections: all or none.

        Raises:
            DuplicateEventError: a (kind, key) is already committed, or occurs twice.
            DiskFullError: nothing was written; try again when there is space.
            StoreError: another error of the database.
            ValueError, TypeError: an event cannot be encoded.
        """
        return self.append_encoded([encode_event(event) for event in events])

    def append_encoded(
        self, batch: Sequence[Encoded], details: Sequence[tuple[int, bytes]] = ()
    ) -> tuple[Committed, ...]:
        """Commit encoded events as ``append`` does, with the same errors.

        ``details`` are ``(cycle_at_ms, body)`` for `kamou why`, written in the same transaction;
        the newest ``DETAILS_KEPT`` cycles are kept.
        """
        if not batch and not details:
            return ()
        run_number, first = self.run_number, self._head_seq + 1
        rows = [
            (seq, run_number, event.at_ms, kind, key, event.cause_id, event.schema, body)
            for seq, (event, kind, key, body) in enumerate(batch, first)
        ]
        with storage_errors(self._path, "write"):
            try:
                self._cursor.execute("BEGIN IMMEDIATE")
                self._insert(batch, rows)
                if details:
                    self._insert_details(details)
                self._cursor.execute("COMMIT")
            except BaseException:
                # After some errors, such as a full disk, SQLite has already rolled back.
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise
        self._head_seq += len(rows)
        return tuple(
            [Committed(seq, run_number, row.event) for seq, row in enumerate(batch, first)]
        )

    def _insert(self, batch: Sequence[Encoded], rows: Sequence[tuple[object, ...]]) -> None:
        cursor = self._cursor
        try:
            cursor.executemany(_INSERT, rows)
        except sqlite3.IntegrityError as error:
            self._connection.rollback()
            if duplicates := self._find_duplicates(batch):
                first = duplicates[0]
                raise DuplicateEventError(first.kind, first.key or "") from error
            raise
        project_events(cursor, self._head_seq + 1, [row.event for row in batch])

    def _insert_details(self, details: Sequence[tuple[int, bytes]]) -> None:
        self._cursor.executemany("INSERT OR REPLACE INTO detail VALUES (?, ?)", details)
        self._cursor.execute(
            "DELETE FROM detail WHERE cycle_at_ms <"
            " (SELECT cycle_at_ms FROM detail ORDER BY cycle_at_ms DESC LIMIT 1 OFFSET ?)",
            (DETAILS_KEPT - 1,),
        )

    def drop_duplicates(self, batch: Sequence[Encoded]) -> list[Encoded]:
        """Return the batch without events whose (kind, key) is known.

        A pair is known if it is committed, or if an earlier event of the batch has it.
        """
        duplicates = {id(row) for row in self._find_duplicates(batch)}
        return [row for row in batch if id(row) not in duplicates]

    def _find_duplicates(self, batch: Sequence[Encoded]) -> list[Encoded]:
        seen: set[tuple[str, str]] = set()
        found = []
        for row in batch:
            if row.key is None:
                continue
            identity = (row.kind, row.key)
            known = (
                identity in seen
                or self._connection.execute(
                    "SELECT 1 FROM event WHERE kind = ? AND key = ?", identity
                ).fetchone()
            )
            if known:
                found.append(row)
            seen.add(identity)
        return found

    def read(self, after_seq: int, limit: int | None = None) -> list[Committed]:
        """Return committed events as ``read_events`` does."""
        return read_events(self._connection, after_seq, limit)

    def save_snapshot(self, *, seq: int, at_ms: int, code: str, state: bytes) -> None:
        """Store the folded state of events 1 to ``seq`` as a snapshot.

        Args:
            seq: sequence number of the last folded event, which is committed.
            at_ms: the time of the snapshot.
            code: the digest of the code that folded (``snapshots.code_hash``).
            state: the folded state.

        Raises:
            DiskFullError, StoreError: as ``set_meta``.
        """
        assert seq <= self._head_seq, f"event {seq} of the snapshot is not committed"
        with storage_errors(self._path, "write"), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            snapshots.insert_snapshot(
                self._connection, seq=seq, at_ms=at_ms, code=code, state=state
            )

    def set_meta(self, key: str, value: str) -> None:
        """Write a value of the table ``meta``.

        Raises:
            DiskFullError, StoreError: the value cannot be written.
        """
        with storage_errors(self._path, "write"):
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
