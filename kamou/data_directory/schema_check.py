"""Compares a database's schema with the one that our own statements make.

A database may come from a backup or from a stranger. A trigger in it runs with our own writes, and
a changed table may keep what we did not write. Indexes, views, tables of others and SQLite's own
names are allowed: they change nothing that our statements do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import attrs

COMPARED = ("table", "trigger")
SHOWN = 5  # changes in one message


@attrs.frozen
class SchemaPart:
    """One table or trigger: its kind, its name, its SQL."""

    kind: str
    name: str
    sql: str


def schema_of(connection: sqlite3.Connection) -> frozenset[SchemaPart]:
    """Return the tables and triggers of a database."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    return frozenset(
        SchemaPart(kind, name, sql or "")
        for kind, name, sql in rows
        if kind in COMPARED and not name.startswith("sqlite_")
    )


def schema_changes(
    connection: sqlite3.Connection, expected: frozenset[SchemaPart]
) -> tuple[str, ...]:
    """Return what differs from the expected schema, a phrase each; nothing when they agree."""
    found = schema_of(connection)
    ours = {(part.kind, part.name) for part in expected}
    present = {(part.kind, part.name) for part in found}
    return (
        *(f"the trigger {p.name} is not Kamou's" for p in _by_name(found - expected, "trigger")),
        *(
            f"the table {p.name} is not as Kamou made it"
            for p in _by_name(found - expected, "table")
            if ("table", p.name) in ours
        ),
        *(
            f"the {part.kind} {part.name} is missing"
            for kind in COMPARED
            for part in _by_name(expected, kind)
            if (part.kind, part.name) not in present
        ),
    )


def refusal(path: Path | str, changes: Sequence[str]) -> str:
    """Return the one wording for a database whose schema somebody changed."""
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return (
        f"{path}: its schema was changed: {'; '.join(changes[:SHOWN])}{more}; restore the file "
        "from a backup, or look at it with sqlite3 and undo the change"
    )


def _by_name(parts: frozenset[SchemaPart], kind: str) -> list[SchemaPart]:
    return sorted((part for part in parts if part.kind == kind), key=lambda part: part.name)
