"""The schema of the venue's file: numbered migrations. Append only: a released one never changes.

Each row's body is the JSON of one value. The indexes read the body, so that no column repeats it.
"""

from __future__ import annotations

import sqlite3

ENDED = "json_extract(body, '$.status') IN ('denied', 'filled', 'canceled', 'expired', 'rejected')"
"""SQL for ``OrderStatus.terminal``; ``test_venue_store`` holds the two equal."""

AT_MS = "json_extract(body, '$.at_ms')"

_FIRST = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    market_ms INTEGER NOT NULL, balance TEXT NOT NULL, next_id INTEGER NOT NULL
)""",
    "CREATE TABLE orders"
    " (venue_order_id TEXT PRIMARY KEY, client_order_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL)",
    "CREATE TABLE positions (symbol TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE fills (n INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE income (n INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE evidence (n INTEGER PRIMARY KEY, kind TEXT NOT NULL, body TEXT NOT NULL)",
)

_BOUNDED_START = (
    f"CREATE INDEX IF NOT EXISTS orders_live ON orders (venue_order_id) WHERE NOT {ENDED}",
    f"CREATE INDEX IF NOT EXISTS fills_at ON fills ({AT_MS})",
    f"CREATE INDEX IF NOT EXISTS income_at ON income ({AT_MS})",
    "DROP TABLE IF EXISTS generator_state",  # of somebody else: the first version had none
    """CREATE TABLE generator_state (
    day INTEGER PRIMARY KEY, version INTEGER NOT NULL, made_by TEXT NOT NULL,
    state BLOB NOT NULL, state_hash TEXT NOT NULL
)""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _BOUNDED_START)
"""Statements per version, from 1; ``user_version`` is how many were applied."""

SCHEMA_VERSION = len(MIGRATIONS)


def version_of(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(db: sqlite3.Connection, to_version: int = SCHEMA_VERSION) -> None:
    """Apply what is pending, in one transaction: ``run`` and ``flatten`` may both come first."""
    if version_of(db) >= to_version:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[version_of(db) : to_version]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {max(to_version, version_of(db))}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
