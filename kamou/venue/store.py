"""The store of the embedded venue: an SQLite file of its own.

Actors never read the file; they read through the exchange port. Orders and positions are replaced;
fills, income and audit records are appended. ``load`` reads live orders and positions; all other
rows are read on demand by an index. Two processes may use the file (``run`` and ``flatten``). If a
writer gets ``StaleVenueError``, it loads the file again and repeats its operation.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from functools import cache
from pathlib import Path

from kamou.core.model import FillReport, Income
from kamou.data_directory.damage_check import check_damage, damage_error, is_damage
from kamou.data_directory.folder import MEMORY
from kamou.data_directory.private_files import create_file
from kamou.data_directory.schema_check import (
    SchemaPart,
    describe_changes,
    find_schema_changes,
    schema_of,
)
from kamou.errors import DiskFullError, StoreError
from kamou.messages.codec import decode, encode
from kamou.venue.schema import AT_MS, ENDED, known_version, migrate_venue, version_of
from kamou.venue.state import (
    AuditRecord,
    ContractAudit,
    FillAudit,
    HeldPosition,
    MoneyAudit,
    OrderAudit,
    VenueState,
    WorkingOrder,
)

WRITER_TIMEOUT_S = 5.0  # a writer's wait for the transaction of the other process
AUDIT_KINDS: dict[str, type[AuditRecord]] = {
    "order": OrderAudit,
    "fill": FillAudit,
    "money": MoneyAudit,
    "contract": ContractAudit,
}

_FROM = f"n >= (SELECT n FROM {{0}} WHERE {AT_MS} >= ? ORDER BY {AT_MS}, n LIMIT 1) ORDER BY n"
# Times rise with n, so the index finds the first row, and the later rows have higher numbers.
_FILLS_SINCE = f"SELECT body FROM fills WHERE {_FROM.format('fills')}"
_INCOME_SINCE = f"SELECT body FROM income WHERE {_FROM.format('income')}"
_LIVE_ORDERS = f"SELECT body FROM orders WHERE NOT {ENDED} ORDER BY venue_order_id"
_KEEP_STATE = "INSERT OR REPLACE INTO generator_state VALUES (?, ?, ?, ?, ?)"

StateRow = tuple[int, int, str, bytes, str]
"""A row of ``generator_state``, which ``kamou.venue.checkpoints`` writes and verifies."""


class StaleVenueError(Exception):
    """Another process wrote the venue's file since the last ``load``."""


class VenueStore:
    """The SQLite file of one venue. A durable write takes a few milliseconds."""

    def __init__(
        self,
        path: Path | str,
        *,
        durable: bool = True,
        on_changed_schema: Callable[[str], None] | None = None,
        read_only: bool = False,
    ) -> None:
        """Open the file; create it if it is missing.

        Args:
            path: the file, or ":memory:" for backtests.
            durable: each commit waits for the disk (synchronous=FULL).
            on_changed_schema: called with a message if another program changed the schema; the
                file is opened nevertheless.
            read_only: nothing is created, migrated or written; this works on a full disk too.

        Raises:
            DatabaseNewerError: a newer Kamou wrote the file; it is unchanged.
            DiskFullError, StoreError: it cannot be opened or written, or its schema is changed and
                ``on_changed_schema`` is None.
        """
        self.path = str(path)
        self._shared = self.path != MEMORY
        self._unstored_states: dict[int, StateRow] = {}  # by day; another thread may add to them
        self._schema_changed = False
        with self._storage_errors():
            if self._shared and not read_only:
                # SQLite would create the file and its WAL readable to other users.
                create_file(Path(path))
            self._db = _connect_reader(Path(path)) if read_only else _connect(self.path)
            try:
                self._check_schema(on_changed_schema)
                if not read_only:
                    self._prepare(durable=durable)
            except BaseException:
                self._db.close()
                raise
        self._seen = self._data_version()

    def _check_schema(self, on_changed: Callable[[str], None] | None) -> None:
        """Compare the file's schema with its version's; see ``on_changed_schema``."""
        version = known_version(self._db, self.path)
        changes = find_schema_changes(self._db, _expected_schema(version))
        self._schema_changed = bool(changes)
        if changes and on_changed is None:
            raise StoreError(describe_changes(self.path, changes))
        if changes and on_changed is not None:
            on_changed(describe_changes(self.path, changes))

    def check_whole(self) -> None:
        """Check every page of the file, and that its append-only tables are complete.

        Raises:
            StoreError: the file is damaged or incomplete, or cannot be read.
        """
        with self._storage_errors():
            check_damage(self._db, self.path)
            for table in ("fills", "income", "audit_log"):
                with suppress(sqlite3.OperationalError):  # a new file has no such table
                    query = f"SELECT count(*), coalesce(max(n) + 1, 0) FROM {table}"
                    count, after = self._db.execute(query).fetchone()
                    if count != after:
                        raise damage_error(
                            self.path,
                            f"{count} of {after} rows of {table}; the -wal may be of another copy",
                        )

    def _prepare(self, *, durable: bool) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self.set_durable(durable=durable)
        if not self._schema_changed:  # queries work without pending migrations
            migrate_venue(self._db)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Raise ``DiskFullError`` or ``StoreError`` for errors of SQLite and the system."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DiskFullError(f"{self.path}: the disk is full; free space") from error
            if is_damage(error):
                raise damage_error(self.path, error) from error
            raise StoreError(f"{self.path}: {error}; check its permissions and locks") from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFullError(f"{self.path}: the disk is full; free some space") from error
            raise StoreError(
                f"{self.path}: cannot be created or opened: {error.strerror}; check it and its"
                " directory, or choose another directory with --data-dir"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction that excludes other writers."""
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
        """Return True if another process wrote the file since the last ``load``."""
        return self._shared and self._data_version() != self._seen

    def set_durable(self, *, durable: bool) -> None:
        """Choose if commits wait for the disk; if not, a power cut may damage the file."""
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")

    # --- reads -----------------------------------------------------------------

    def load(self) -> VenueState | None:
        """Return the state as last saved; None if none was saved."""
        with self._storage_errors():
            self._db.execute("BEGIN")
            try:
                self._seen = self._data_version()
                return self._read()
            finally:
                self._db.execute("COMMIT")

    def _read(self) -> VenueState | None:
        row = self._db.execute("SELECT market_ms, wallet_balance, next_id FROM account").fetchone()
        if row is None:
            return None
        state = VenueState(
            market_ms=row[0],
            wallet_balance=Decimal(row[1]),
            next_id=row[2],
            fills_before=self._count("fills"),
            income_before=self._count("income"),
            audit_log_before=self._count("audit_log"),
        )
        for (body,) in self._db.execute(_LIVE_ORDERS):
            order = decode(WorkingOrder, body.encode())
            state.orders[order.request.client_order_id] = order
            state.live[order.request.client_order_id] = None
        for (body,) in self._db.execute("SELECT body FROM positions ORDER BY symbol"):
            held = decode(HeldPosition, body.encode())
            state.positions[held.symbol] = held
        return state

    def _count(self, table: str) -> int:
        """Return the row count of an append-only table, whose rows are numbered from 0."""
        return int(self._db.execute(f"SELECT coalesce(max(n) + 1, 0) FROM {table}").fetchone()[0])

    def market_ms(self) -> int | None:
        """Return the market time (ms) as last saved; None if none was saved."""
        with self._storage_errors():
            row = self._db.execute("SELECT market_ms FROM account").fetchone()
        return None if row is None else int(row[0])

    def order(self, client_order_id: str) -> WorkingOrder | None:
        """Return the stored order of this client order id, live or ended; None if none."""
        with self._storage_errors():
            row = self._db.execute(
                "SELECT body FROM orders WHERE client_order_id = ?", (client_order_id,)
            ).fetchone()
        return None if row is None else decode(WorkingOrder, row[0].encode())

    def fills(self, since_ms: int) -> Iterator[FillReport]:
        """Yield the stored fills with ``at_ms >= since_ms``, oldest first."""
        return (decode(FillReport, body) for body in self._bodies(_FILLS_SINCE, since_ms))

    def income(self, since_ms: int) -> Iterator[Income]:
        """Yield the stored income with ``at_ms >= since_ms``, oldest first."""
        return (decode(Income, body) for body in self._bodies(_INCOME_SINCE, since_ms))

    def _bodies(self, query: str, since_ms: int) -> list[bytes]:
        with self._storage_errors():
            return [body.encode() for (body,) in self._db.execute(query, (since_ms,))]

    def audit_log(self, before: int, since: int = 0) -> Iterator[AuditRecord]:
        """Yield the audit records ``since`` to ``before`` (excluded), by number."""
        with self._storage_errors():
            rows = self._db.execute(
                "SELECT kind, body FROM audit_log WHERE n >= ? AND n < ? ORDER BY n",
                (since, before),
            ).fetchall()
        for kind, body in rows:
            yield decode(AUDIT_KINDS[kind], body.encode())

    # --- writes ----------------------------------------------------------------

    def save(self, state: VenueState) -> None:
        """Store the state's changes and the queued states in one transaction.

        Raises:
            StaleVenueError: another process wrote the file since ``load``; nothing is stored.
            DiskFullError, StoreError: nothing is stored; ``state`` still has the changes.
        """
        changes = state.changes
        with self._transaction() as db:
            if self.changed_elsewhere():
                raise StaleVenueError(self.path)
            db.execute(
                "INSERT OR REPLACE INTO account VALUES (1, ?, ?, ?)",
                (state.market_ms, str(state.wallet_balance), state.next_id),
            )
            db.executemany(
                "INSERT OR REPLACE INTO orders VALUES (?, ?, ?)",
                [
                    (state.orders[c].venue_order_id, c, _json(state.orders[c]))
                    for c in changes.orders
                ],
            )
            for symbol in changes.positions:
                held = state.positions.get(symbol)
                if held is None:
                    db.execute("DELETE FROM positions WHERE symbol = ?", (symbol,))
                else:
                    db.execute(
                        "INSERT OR REPLACE INTO positions VALUES (?, ?)", (symbol, _json(held))
                    )
            _append(db, "fills", state.fills, state.fills_before)
            _append(db, "income", state.income, state.income_before)
            db.executemany(
                "INSERT INTO audit_log VALUES (?, ?, ?)",
                [
                    (n, _audit_kind(record), _json(record))
                    for n, record in enumerate(state.audit_log, state.audit_log_before)
                ],
            )
            states = self._write_states(db)
        self._drop_stored_states(states)

    def touch(self, market_ms: int) -> None:
        """Store queued states, and the market time if it is later than the saved one."""
        with self._transaction() as db:
            db.execute("UPDATE account SET market_ms = max(market_ms, ?)", (market_ms,))
            states = self._write_states(db)
        self._drop_stored_states(states)

    def queue_state(self, row: StateRow) -> None:
        """Queue a state of the market's generator for the next ``save`` or ``touch``.

        Any thread may call it, and it never blocks. With a changed schema the row is dropped.
        """
        if self._schema_changed:
            return
        self._unstored_states[row[0]] = row

    def unstored_states(self) -> tuple[StateRow, ...]:
        """Return the queued states that are not stored yet."""
        return tuple(self._unstored_states.copy().values())

    def _write_states(self, db: sqlite3.Connection) -> tuple[StateRow, ...]:
        states = self.unstored_states()
        if states:
            db.executemany(_KEEP_STATE, states)
        return states

    def _drop_stored_states(self, rows: Iterable[StateRow]) -> None:
        """Drop committed states from the queue."""
        for row in rows:
            self._unstored_states.pop(row[0], None)

    def meta(self, key: str) -> str | None:
        """Return the value stored under ``key``, such as the seed; None if there is none."""
        with self._storage_errors():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put_meta(self, key: str, value: str) -> None:
        """Store ``value`` under ``key`` in the table meta, such as the market's binding."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        self._db.close()


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        name,
        uri=uri,
        isolation_level=None,
        timeout=WRITER_TIMEOUT_S,
        check_same_thread=False,  # used by one thread at a time
    )


def _connect_reader(path: Path) -> sqlite3.Connection:
    """Open the file for reading, on a full disk too.

    Without a ``-shm`` file the connection locks exclusively, because it then needs none:
    https://www.sqlite.org/wal.html, section 8.
    """
    db = _connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        version_of(db)
    except sqlite3.OperationalError:
        db.close()
        db = _connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA query_only = ON")
    return db


@cache
def _expected_schema(version: int) -> frozenset[SchemaPart]:
    """Return the schema that Kamou's migrations make, up to ``version``."""
    with closing(sqlite3.connect(MEMORY, isolation_level=None)) as fresh:
        migrate_venue(fresh, version)
        return schema_of(fresh)


def _json(value: object) -> str:
    return encode(value).decode()


def _audit_kind(record: AuditRecord) -> str:
    return next(kind for kind, cls in AUDIT_KINDS.items() if type(record) is cls)


def _append(
    db: sqlite3.Connection, table: str, rows: Sequence[FillReport | Income], first: int
) -> None:
    db.executemany(
        f"INSERT INTO {table} VALUES (?, ?)",
        [(n, _json(row)) for n, row in enumerate(rows, first)],
    )
