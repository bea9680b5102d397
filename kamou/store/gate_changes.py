"""The table of the gate's changes: its row class and its query."""

from __future__ import annotations

import sqlite3
from typing import ClassVar

import attrs

from kamou.core.kinds import GateReason, GateState
from kamou.core.model import Figure
from kamou.store.table_rows import select


@attrs.frozen(kw_only=True)
class GateChangeRow:
    """A change of a strategy at the gate, from ``core.book.gate_events.GateChanged``."""

    table: ClassVar[str] = "gate_change"
    strategy: str
    number: int
    at_ms: int
    from_state: GateState
    to_state: GateState
    half_size: bool
    attempt: int
    reason: GateReason
    figures: tuple[Figure, ...]
    from_ms: int
    until_ms: int
    counted: int
    data_hash: str
    not_before_ms: int


def query_gate_changes(reader: sqlite3.Connection, strategy: str) -> tuple[GateChangeRow, ...]:
    """Return a strategy's changes at the gate, oldest first."""
    return tuple(select(reader, GateChangeRow, "WHERE strategy = ? ORDER BY number", strategy))
