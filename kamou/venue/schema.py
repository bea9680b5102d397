"""The schema of the venue's file, as numbered migrations, and its version.

A released migration never changes. ``ENDED`` and ``AT_MS`` are SQL expressions. Each row's body is
the JSON of one value. The indexes read the body, so no column repeats a part of it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kamou.errors import DatabaseNewerError, StoreError

ENDED = "json_extract(body, '$.status') IN ('filled', 'canceled', 'expired', 'rejected')"
"""SQL for ``OrderStatus.terminal``; ``tests/venue/test_venue_store.py`` compares the two."""

AT_MS = "json_extract(body, '$.at_ms')"
"""SQL for the time (ms UTC) of a fill or an income record."""

_NAMES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    market_ms INTEGER NOT NULL, wallet_balance TEXT NOT NULL, next_id INTEGER NOT NULL
)""",
    "CREATE TABLE orders"
    " (venue_order_id TEXT PRIMARY KEY, client_order_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL)",
    "CREATE TABLE positions (symbol TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE fills (n INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE income (n INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE audit_log (n INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL)",
    f"CREATE INDEX orders_live ON orders (venue_order_id) WHERE NOT {ENDED}",
    f"CREATE INDEX fills_at ON fills ({AT_MS})",
    f"CREATE INDEX income_at ON income ({AT_MS})",
    """CREATE TABLE generator_state (
    day INTEGER PRIMARY KEY, version INTEGER NOT NULL, made_by TEXT NOT NULL,
    state BLOB NOT NULL, state_hash TEXT NOT NULL
)""",
)

FIRST_VERSION = 3
VENUE_MIGRATIONS: tuple[tuple[str, ...], ...] = (_NAMES,)
"""Statements of each version, from ``FIRST_VERSION`` on.

``PRAGMA user_version`` is the newest version applied. No release has been made yet, so the first
version has the whole schema.
"""

SCHEMA_VERSION = FIRST_VERSION + len(VENUE_MIGRATIONS) - 1


def version_of(db: sqlite3.Connection) -> int:
    """Return the schema version of an open file; 0 if the file is new."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def known_version(db: sqlite3.Connection, path: Path | str) -> int:
    """Return the schema version of the venue's file, if this Kamou can read it.

    Raises:
        DatabaseNewerError: a newer Kamou wrote the file.
        StoreError: an older Kamou wrote the file, before ``FIRST_VERSION``.
    """
    version = version_of(db)
    if version > SCHEMA_VERSION:
        raise DatabaseNewerError(
            f"{path}: written by a newer Kamou (venue schema v{version}, this one"
            f" reads v{SCHEMA_VERSION}); upgrade Kamou, or use another --data-dir"
        )
    if 0 < version < FIRST_VERSION:
        raise StoreError(
            f"{path}: written by an older Kamou (venue schema v{version}); this version"
            f" reads v{FIRST_VERSION} and later; use the Kamou that wrote it, or another --data-dir"
        )
    return version


def migrate_venue(db: sqlite3.Connection, to_version: int = SCHEMA_VERSION) -> None:
    """Apply the pending migrations up to ``to_version`` in one transaction.

    Two processes may call it at the same time, ``run`` and ``flatten``.
    """
    if version_of(db) >= to_version:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        applied = max(0, version_of(db) - FIRST_VERSION + 1)
        for statements in VENUE_MIGRATIONS[applied : to_version - FIRST_VERSION + 1]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {max(to_version, version_of(db))}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
