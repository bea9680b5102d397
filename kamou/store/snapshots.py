"""Snapshots of the folded journal, and the hash of the code that folds it.

A snapshot shortens a start, and its hash is checked before use.
"""

from __future__ import annotations

import hashlib
import inspect
import sqlite3
from collections.abc import Iterable
from types import ModuleType

import attrs

KEPT = 2  # the newest, and one more in case its hash is wrong


@attrs.frozen(kw_only=True)
class BookSnapshot:
    """The folded state of events 1 to ``seq``."""

    seq: int
    state: bytes


def code_hash(modules: Iterable[ModuleType]) -> str:
    """Return the SHA-256, in hex, of the sources that fold the events.

    A snapshot of other code is not used.
    """
    digest = hashlib.sha256()
    for module in modules:
        source = inspect.getsource(module).encode()
        digest.update(f"{module.__name__}:{len(source)}:".encode() + source)
    return digest.hexdigest()


def insert_snapshot(
    connection: sqlite3.Connection, *, seq: int, at_ms: int, code: str, state: bytes
) -> None:
    """Insert a snapshot and delete all but the newest ``KEPT``.

    The caller commits.
    """
    connection.execute(
        "INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, ?)",
        (seq, at_ms, code, state, _state_hash(seq, state)),
    )
    connection.execute(
        "DELETE FROM snapshot WHERE seq NOT IN"
        " (SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?)",
        (KEPT,),
    )


def load_snapshot(
    connection: sqlite3.Connection, *, code: str, seq_max: int
) -> BookSnapshot | None:
    """Return the newest valid snapshot of this code up to event ``seq_max``.

    Return None if there is none.
    """
    rows = connection.execute(
        "SELECT seq, state, state_hash FROM snapshot WHERE code_hash = ? AND seq <= ?"
        " ORDER BY seq DESC",
        (code, seq_max),
    ).fetchall()
    for seq, state, state_hash in rows:
        if _state_hash(seq, state) == state_hash:
            return BookSnapshot(seq=seq, state=state)
    return None


def _state_hash(seq: int, state: bytes) -> str:
    return hashlib.sha256(f"{seq}:".encode() + state).hexdigest()
