"""Comparison of a database's schema with the one that Kamou's statements make.

A database may come from a backup or from another person. A trigger in it runs with Kamou's own
writes, and a changed table may store other values than Kamou writes. Indexes, views, additional
tables and SQLite's own names are allowed, because they do not change Kamou's statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import attrs

COMPARED = ("table", "trigger")
SHOWN = 5  # maximum number of changes in one message


@attrs.frozen
class SchemaPart:
    """One table or trigger."""

    kind: str
    name: str
    sql: str


def schema_of(connection: sqlite3.Connection) -> frozenset[SchemaPart]:
    """Return the tables and triggers of a database, without SQLite's own."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    return frozenset(
        SchemaPart(kind, name, sql or "")
        for kind, name, sql in rows
        if kind in COMPARED and not name.startswith("sqlite_")
    )


def find_schema_changes(
    connection: sqlite3.Connection, expected: frozenset[SchemaPart]
) -> tuple[str, ...]:
    """Return one phrase for each difference from the expected schema.

    The differences are added triggers, and changed and missing tables and triggers.
    """
    found = schema_of(connection)
    own = {(part.kind, part.name) for part in expected}
    present = {(part.kind, part.name) for part in found}
    return (
        *(f"the trigger {p.name} is not Kamou's" for p in _by_name(found - expected, "trigger")),
        *(
            f"the table {p.name} is not as Kamou made it"
            for p in _by_name(found - expected, "table")
            if ("table", p.name) in own
        ),
        *(
            f"the {part.kind} {part.name} is missing"
            for kind in COMPARED
            for part in _by_name(expected, kind)
            if (part.kind, part.name) not in present
        ),
    )


def describe_changes(path: Path | str, changes: Sequence[str]) -> str:
    """Return the error's text for a database whose schema was changed."""
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return (
        f"{path}: its schema was changed: {'; '.join(changes[:SHOWN])}{more}; restore the file "
        "from a backup, or look at it with sqlite3 and undo the change"
    )


def _by_name(parts: frozenset[SchemaPart], kind: str) -> list[SchemaPart]:
    return sorted((part for part in parts if part.kind == kind), key=lambda part: part.name)
