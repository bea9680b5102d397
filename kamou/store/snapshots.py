"""Snapshots of a fold over the journal: a shortcut for start-up, never a source of truth."""

from __future__ import annotations

import hashlib
import inspect
import sqlite3
from collections.abc import Iterable
from types import ModuleType

import attrs

KEPT = 2  # the newest, and one to fall back on when it does not verify


@attrs.frozen(kw_only=True)
class BookSnapshot:
    """``state`` is the fold of events 1 to ``seq``."""

    seq: int
    state: bytes


def code_hash(modules: Iterable[ModuleType]) -> str:
    """SHA-256, hex, of the sources that compute the fold: other code, other snapshot."""
    digest = hashlib.sha256()
    for module in modules:
        source = inspect.getsource(module).encode()
        digest.update(f"{module.__name__}:{len(source)}:".encode() + source)
    return digest.hexdigest()


def insert_snapshot(
    connection: sqlite3.Connection, *, seq: int, at_ms: int, code: str, state: bytes
) -> None:
    """Store a snapshot; the oldest beyond ``KEPT`` go. Part of the caller's transaction, if any."""
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
    """The newest snapshot of this code up to ``seq_max`` whose state has its hash, or None."""
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
