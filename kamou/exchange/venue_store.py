"""The embedded venue's own durable file. Never read by the core, only through the port.

SQLite, raw on purpose: one hot writer, each row the JSON of one value. Orders and positions are
replaced, fills, income and evidence only appended. Two processes may hold the file (``run`` and
``flatten``): a writer that finds it changed must load it and decide anew.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path

from kamou.core.model import Fill, Income
from kamou.errors import DatabaseNewerError, DiskFullError, StoreError
from kamou.exchange.venue_state import (
    ContractNoted,
    Evidence,
    FillNoted,
    HeldPosition,
    MoneyNoted,
    OrderNoted,
    VenueState,
    WorkingOrder,
)
from kamou.messages.codec import decode, encode
from kamou.private_files import create_file
from kamou.schema_check import Part, refusal, schema_changes, schema_of

MEMORY = ":memory:"
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0  # how long a writer waits for the other process's transaction
EVIDENCE_KINDS: dict[str, type[Evidence]] = {
    "order": OrderNoted,
    "fill": FillNoted,
    "money": MoneyNoted,
    "contract": ContractNoted,
}

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    market_ms INTEGER NOT NULL, balance TEXT NOT NULL, next_id INTEGER NOT NULL
);
CREATE TABLE orders (venue_id TEXT PRIMARY KEY, client_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE positions (symbol TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE fills (n INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE income (n INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE evidence (n INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


class StaleVenueError(Exception):
    """Another process wrote the venue's file since it was last read: load again, then redo."""


class VenueStore:
    """SQLite file of one venue. One transaction per operation; ``durable``: synchronous=FULL.

    ``path`` ":memory:" for backtests. Writes run inline in the caller, a few milliseconds each
    when durable: the venue books a few things an hour.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        durable: bool = True,
        on_changed_schema: Callable[[str], None] | None = None,
    ) -> None:
        """Open the file, made if need be.

        Args:
            path: the file, or ":memory:".
            durable: each commit waits for the disk.
            on_changed_schema: is told that the schema is not ours, and the file is opened all the
                same: ``kamou flatten`` closes positions whatever somebody planted.

        Raises:
            DatabaseNewerError: a newer Kamou wrote it; nothing was changed.
            DiskFullError, StoreError: it cannot be opened or written, or its schema was changed.
        """
        self.path = str(path)
        self._shared = self.path != MEMORY
        with self._storage_errors():
            if self._shared:
                create_file(Path(path))  # SQLite would make it readable to others, and so its WAL
            self._db = sqlite3.connect(
                self.path,
                isolation_level=None,
                timeout=BUSY_TIMEOUT_S,
                check_same_thread=False,  # used by one thread at a time
            )
            try:
                self._prepare(durable, on_changed_schema)
            except BaseException:
                self._db.close()
                raise
        self._seen = self._data_version()

    def _prepare(self, durable: bool, on_changed: Callable[[str], None] | None) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise DatabaseNewerError(f"{self.path}: written by a newer Kamou (venue v{version})")
        changes = schema_changes(self._db, _expected_schema(version))
        if changes and on_changed is None:
            raise StoreError(refusal(self.path, changes))
        if changes and on_changed is not None:
            on_changed(refusal(self.path, changes))
        self._db.execute("PRAGMA journal_mode = WAL")
        self.set_durable(durable)
        if version == 0:
            self._db.executescript(_SCHEMA)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DiskFullError(f"{self.path}: the disk is full") from error
            raise StoreError(f"{self.path}: {error}") from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFullError(f"{self.path}: the disk is full") from error
            raise StoreError(f"{self.path}: cannot be made: {error.strerror}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and no other writer meanwhile."""
        with self._storage_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _data_version(self) -> int:
        version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        return version

    def changed_elsewhere(self) -> bool:
        """Whether another process (``kamou flatten``) wrote the file since the last ``load``."""
        return self._shared and self._data_version() != self._seen

    def set_durable(self, durable: bool) -> None:
        """Whether each commit waits for the disk; off while simulated time fast-forwards.

        A killed process loses nothing either way; a power cut may, while it is off.
        """
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")

    def load(self) -> VenueState | None:
        """The state as last saved; None when nothing was."""
        with self._storage_errors():
            self._db.execute("BEGIN")
            try:
                self._seen = self._data_version()
                return self._read()
            finally:
                self._db.execute("COMMIT")

    def _read(self) -> VenueState | None:
        row = self._db.execute("SELECT market_ms, balance, next_id FROM account").fetchone()
        if row is None:
            return None
        state = VenueState(market_ms=row[0], balance=Decimal(row[1]), next_id=row[2])
        for body in self._bodies("orders", "venue_id"):
            order = decode(WorkingOrder, body)
            state.orders[order.request.client_id] = order
            if not order.status.terminal:
                state.live[order.request.client_id] = None
        for body in self._bodies("positions", "symbol"):
            held = decode(HeldPosition, body)
            state.positions[held.symbol] = held
        state.fills.extend(decode(Fill, body) for body in self._bodies("fills", "n"))
        state.income.extend(decode(Income, body) for body in self._bodies("income", "n"))
        count = self._db.execute("SELECT count(*) FROM evidence").fetchone()
        state.evidence_before = int(count[0])
        state.saved()
        return state

    def evidence(self, before: int) -> Iterator[Evidence]:
        """The first ``before`` pieces of evidence, oldest first."""
        with self._storage_errors():
            rows = self._db.execute(
                "SELECT kind, body FROM evidence WHERE n < ? ORDER BY n", (before,)
            ).fetchall()
        for kind, body in rows:
            yield decode(EVIDENCE_KINDS[kind], body.encode())

    def _bodies(self, table: str, order_by: str) -> Iterator[bytes]:
        for (body,) in self._db.execute(f"SELECT body FROM {table} ORDER BY {order_by}"):
            yield body.encode()

    def save(self, state: VenueState) -> None:
        """Store the state's changes in one transaction.

        Raises:
            StaleVenueError: another process wrote meanwhile; nothing was stored.
            DiskFullError, StoreError: nothing was stored; the changes stay pending in ``state``.
        """
        changes = state.changes
        with self._transaction() as db:
            if self.changed_elsewhere():
                raise StaleVenueError(self.path)
            db.execute(
                "INSERT OR REPLACE INTO account VALUES (1, ?, ?, ?)",
                (state.market_ms, str(state.balance), state.next_id),
            )
            db.executemany(
                "INSERT OR REPLACE INTO orders VALUES (?, ?, ?)",
                [(o.venue_id, c, _json(o)) for c in changes.orders for o in (state.orders[c],)],
            )
            for symbol in changes.positions:
                held = state.positions.get(symbol)
                if held is None:
                    db.execute("DELETE FROM positions WHERE symbol = ?", (symbol,))
                else:
                    db.execute(
                        "INSERT OR REPLACE INTO positions VALUES (?, ?)", (symbol, _json(held))
                    )
            _append(db, "fills", state.fills, changes.fills_from)
            _append(db, "income", state.income, changes.income_from)
            db.executemany(
                "INSERT INTO evidence VALUES (?, ?, ?)",
                [
                    (n, _evidence_kind(noted), _json(noted))
                    for n, noted in enumerate(
                        state.evidence[changes.evidence_from :],
                        state.evidence_before + changes.evidence_from,
                    )
                ],
            )

    def touch(self, market_ms: int) -> None:
        """Store how far market time went. Never backwards; nothing before the first ``save``."""
        with self._transaction() as db:
            db.execute("UPDATE account SET market_ms = max(market_ms, ?)", (market_ms,))

    def meta(self, key: str) -> str | None:
        """A note of the composition root: seed, start, genesis."""
        with self._storage_errors():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put_meta(self, key: str, value: str) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file. Closing twice is no error."""
        self._db.close()


@cache
def _expected_schema(version: int) -> frozenset[Part]:
    """Return the schema of our own statements, as far as this version has them."""
    with closing(sqlite3.connect(MEMORY, isolation_level=None)) as fresh:
        if version:
            fresh.executescript(_SCHEMA)
        return schema_of(fresh)


def _json(value: object) -> str:
    return encode(value).decode()


def _evidence_kind(noted: Evidence) -> str:
    return next(kind for kind, cls in EVIDENCE_KINDS.items() if type(noted) is cls)


def _append(db: sqlite3.Connection, table: str, rows: Sequence[Fill | Income], first: int) -> None:
    db.executemany(
        f"INSERT INTO {table} VALUES (?, ?)",
        [(n, _json(row)) for n, row in enumerate(rows[first:], first)],
    )
